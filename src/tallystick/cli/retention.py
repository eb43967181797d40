"""`tallystick retention`: for how long logs are kept, what would go next, and removing it now."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import typer

from tallystick.access_log.model import Deed
from tallystick.cli.acting import acting, operator
from tallystick.cli.jobs import as_document, broken_off, job_service, watch
from tallystick.cli.reading import load_settings
from tallystick.cli.tables import print_table
from tallystick.database.pools import Database
from tallystick.errors import ConfigurationError, InvalidError
from tallystick.jobs.model import Job, JobState
from tallystick.jobs.service import JobService
from tallystick.query.timestamps import format_moment
from tallystick.retention.model import MinimumRetention
from tallystick.retention.overview import MOST_COUNTED, Outlook, last_run, look, run_now
from tallystick.settings import Settings
from tallystick.tenants.model import Tenant, state_of
from tallystick.tenants.service import Changes

app = typer.Typer(name="retention", help="See, set and apply for how long logs are kept.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
OneTenant = Annotated[str | None, typer.Argument(help="The tenant's id; all of them when absent.")]
LogName = Literal["events", "access"]


@dataclass(frozen=True, slots=True)
class _Means:
    settings: Settings
    database: Database
    jobs: JobService
    minimum: MinimumRetention

    async def look(self, tenant_id: str | None) -> list[Outlook]:
        return await look(self.database, self.minimum, self.settings.retention.platform_days, tenant_id)


@asynccontextmanager
async def _means() -> AsyncGenerator[_Means]:
    settings = load_settings()
    minimum = MinimumRetention.of(settings.retention)
    async with Database.from_settings(settings.database) as database, job_service(settings, database) as jobs:
        yield _Means(settings, database, jobs, minimum)


@app.command("show")
def show(tenant: OneTenant = None, *, as_json: AsJson = False) -> None:
    """Show for how long logs are kept, what the next run would remove, and when the last one was."""

    async def work() -> tuple[list[Outlook], Job | None]:
        async with _means() as means:
            return await means.look(tenant), await last_run(means.jobs, tenant)

    shown, last = asyncio.run(work())
    if as_json:
        run = None if last is None else as_document(last)
        typer.echo(json.dumps({"logs": [_as_json(each) for each in shown], "last_run": run}))
        return
    print_table(
        ("tenant", "log", "policy", "minimum", "kept for", "goes before", "#would go"),
        (
            (
                each.policy.tenant_id,
                each.policy.name,
                _days(each.policy.days),
                _days(each.minimum),
                _days(each.held),
                "" if each.goes_before is None else f"{each.goes_before:%Y-%m-%d}",
                "" if each.goes_before is None else _count(each.events),
            )
            for each in shown
        ),
    )
    if last is None:
        typer.echo("retention was never applied: a worker does it once a day when a tenant has a policy")
    else:
        error = f": {last.error}" if last.error else ""
        typer.echo(f"applied last by job {last.id}, {last.created_at:%Y-%m-%d %H:%M} UTC, {last.state}{error}")


@app.command("run")
def run(
    tenant: OneTenant = None,
    *,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Start the job, and do not watch it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove what no policy keeps now, without waiting for the next day. A worker does it, as a job.

    The exit status is 1 unless it succeeded.
    """

    async def work() -> Job:
        async with _means() as means:
            await means.look(tenant)
            by = operator()
            deed = Deed("tallystick retention run", "retention.run", "log", None, {"tenant": tenant})
            named = () if tenant is None else (tenant,)
            async with acting(means.settings, means.database, deed, *named) as told:
                job = await run_now(means.database, means.jobs, tenant, {"issuer": by.issuer, "subject": by.subject})
                told["job"] = job.id
            return job if no_wait else (await watch(means.jobs, [job], quiet=as_json))[0]

    try:
        job = asyncio.run(work())
    except KeyboardInterrupt:
        raise broken_off("tallystick retention show") from None
    if as_json:
        typer.echo(json.dumps(as_document(job)))
    else:
        error = f": {job.error}" if job.error else ""
        typer.echo(f"job {job.id} {job.state}, {job.done:,} events removed{error}")
    if not no_wait and job.state is not JobState.SUCCEEDED:
        raise typer.Exit(1)


@app.command("set")
def set_command(
    tenant: Annotated[str, typer.Argument(help="The tenant's id.")],
    log: Annotated[LogName, typer.Argument(help="Which of its logs.")],
    days: Annotated[str, typer.Argument(help="Days for which it is kept, or `none` for ever.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Set for how long a log is kept, no shorter than the installation's minimum. The next run applies it."""
    wanted = _read_days(days)

    async def work() -> Outlook:
        async with _means() as means:
            name = f"{log}_days"
            deed = Deed("tallystick retention set", "tenants.update", "tenant", tenant, {name: wanted})
            async with acting(means.settings, means.database, deed, tenant) as told:
                await _set(means, tenant, {"settings": {"retention": {name: wanted}}}, told)
            return next(each for each in await means.look(tenant) if each.policy.name == log)

    try:
        outlook = asyncio.run(work())
    except InvalidError as error:
        flaws = "; ".join(flaw.detail for flaw in error.flaws)
        raise ConfigurationError(f"{error.detail}: {flaws}") from None
    if as_json:
        typer.echo(json.dumps(_as_json(outlook)))
    elif outlook.held is None:
        typer.echo(f"{tenant} {log} is kept for ever")
    else:
        typer.echo(
            f"{tenant} {log} is kept for {outlook.held} days; the next run removes {_count(outlook.events)} events"
        )


async def _set(means: _Means, tenant_id: str, patch: Any, told: dict[str, object]) -> None:  # noqa: ANN401  # a merge patch
    # Loaded where they are used alone: the web framework takes a while.
    from tallystick.auth.keyring import open_keyring  # noqa: PLC0415
    from tallystick.query.cursor import CursorCodec  # noqa: PLC0415
    from tallystick.tenants.directory import TenantDirectory  # noqa: PLC0415
    from tallystick.tenants.routes import changes  # noqa: PLC0415
    from tallystick.tenants.service import TenantService  # noqa: PLC0415

    cursors = CursorCodec(open_keyring(means.settings).cursor_signing)
    directory = TenantDirectory(means.database, means.settings.auth.freshness)

    def change(tenant: Tenant) -> Changes:
        told["before"] = state_of(tenant)
        return changes(tenant, patch, means.settings.retention)

    tenant = await TenantService(means.database, directory, cursors).update(tenant_id, change)
    told["after"] = state_of(tenant)


def _read_days(text: str) -> int | None:
    if text == "none":
        return None
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= 36_500:  # of the setting
        raise ConfigurationError("DAYS is a whole number from 1 to 36500, or `none` to keep the log for ever")
    return int(text)


def _days(days: int | None) -> str:
    return "for ever" if days is None else f"{days} days"


def _count(events: int) -> str:
    return f"over {MOST_COUNTED:,}" if events > MOST_COUNTED else f"{events:,}"


def _as_json(outlook: Outlook) -> dict[str, Any]:
    return {
        "tenant_id": outlook.policy.tenant_id,
        "log": outlook.policy.name,
        "policy_days": outlook.policy.days,
        "minimum_days": outlook.minimum,
        "kept_days": outlook.held,
        "goes_before": outlook.goes_before and format_moment(outlook.goes_before),
        "would_go": min(outlook.events, MOST_COUNTED),
        "would_go_more": outlook.events > MOST_COUNTED,
    }
