"""`tallystick tenants remove` and `restore`: the end of a tenant, and taking that back while it can be."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from tallystick.access_log.model import Deed
from tallystick.auth.keyring import open_keyring
from tallystick.cli.acting import account, acting, operator
from tallystick.cli.jobs import as_document, job_service
from tallystick.cli.reading import load_settings
from tallystick.database.pools import Database
from tallystick.errors import ConfigurationError
from tallystick.jobs.model import Job
from tallystick.query.cursor import CursorCodec
from tallystick.query.timestamps import format_moment
from tallystick.retention.model import MinimumRetention
from tallystick.settings import Settings
from tallystick.tenants.directory import TenantDirectory
from tallystick.tenants.model import Tenant, state_of
from tallystick.tenants.service import TenantService

if TYPE_CHECKING:
    from tallystick.retention.offboarding_service import OffboardingService, Outlook

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
TenantId = Annotated[str, typer.Argument(help="The tenant's id.")]


@dataclass(frozen=True, slots=True)
class _Means:
    settings: Settings
    database: Database
    directory: TenantDirectory
    tenants: TenantService
    offboardings: "OffboardingService"


@asynccontextmanager
async def _means() -> AsyncGenerator[_Means]:
    # Loaded where it is used alone: it brings all that exports need.
    from tallystick.retention.offboarding_service import OffboardingService  # noqa: PLC0415

    settings = load_settings()
    async with Database.from_settings(settings.database) as database, job_service(settings, database) as jobs:
        directory = TenantDirectory(database, settings.auth.freshness)
        await directory.refresh()
        tenants = TenantService(database, directory, CursorCodec(open_keyring(settings).cursor_signing))
        minimum = MinimumRetention.of(settings.retention)
        offboardings = OffboardingService(database, jobs, tenants, minimum, settings.retention)
        yield _Means(settings, database, directory, tenants, offboardings)


def remove(
    tenant_id: TenantId,
    *,
    reason: Annotated[str, typer.Option(help="Why. It is told to whoever asks for the tenant later.")],
    wait_days: Annotated[
        int | None, typer.Option(help="Days in which it can be restored; the installation's least when absent.")
    ] = None,
    recipient: Annotated[
        str | None,
        typer.Option(
            "--for", help="`sub` of the platform admin's token that fetches the last exports; your account when absent."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go and when, and change nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Suspend a tenant now, and remove it with all that it holds after some days. A worker does it, as a job."""
    why = _reason(reason)
    whom = recipient or account()

    async def work() -> "Outlook | tuple[Tenant, Job]":
        async with _means() as means:
            service, issuer = means.offboardings, means.settings.auth.issuer
            _check_wait(wait_days, service.least_wait)
            if dry_run:
                return await service.look(tenant_id, wait_days)
            by = operator()
            asked = {"reason": why, "wait_days": wait_days, "for": whom}
            deed = Deed("tallystick tenants remove", "tenants.remove", "tenant", tenant_id, asked)
            async with acting(means.settings, means.database, deed, tenant_id, directory=means.directory) as told:
                author = {"issuer": by.issuer, "subject": by.subject}
                job = await service.ask(tenant_id, why, wait_days, author, (issuer, whom))
                told["job"] = job.id
            return await means.tenants.get(tenant_id), job

    done = asyncio.run(work())
    if isinstance(done, tuple):
        _say_removal(*done, whom, as_json=as_json)
    else:
        _say_outlook(done, as_json=as_json)


def _say_removal(tenant: Tenant, job: Job, whom: str, *, as_json: bool) -> None:
    closing = tenant.offboarding
    removal_at = None if closing is None else format_moment(closing.removal_at)
    if as_json:
        document = {"tenant_id": tenant.id, "removal_at": removal_at, "exports_for": whom, "job": as_document(job)}
        typer.echo(json.dumps(document))
        return
    typer.echo(f"tenant {tenant.id} is suspended, and is removed after {removal_at} by job {job.id}")
    typer.echo(f"until then: tallystick tenants restore {tenant.id}")
    typer.echo(f"its exports: GET /api/v1/exports?tenant_id={tenant.id} with a platform admin's token of {whom}")


def _say_outlook(outlook: "Outlook", *, as_json: bool) -> None:
    moments = {name: format_moment(getattr(outlook, name)) for name in ("removal_at", "exports_until", "gone_at")}
    if as_json:
        logs = [{"log": log.name, "events": log.size} for log in outlook.logs]
        typer.echo(json.dumps({"tenant_id": outlook.tenant_id, "logs": logs, **moments}))
        return
    for log in outlook.logs:
        typer.echo(f"{log.name + ':':<16}{log.size:,} events")
    typer.echo(f"{'removed after:':<16}{moments['removal_at']}; until then it could be restored")
    typer.echo(f"{'exports until:':<16}{moments['exports_until']}; then its keys are erased")
    typer.echo(f"{'gone by:':<16}{moments['gone_at']} at the earliest: minimum retentions are waited for")


def restore(tenant_id: TenantId, *, as_json: AsJson = False) -> None:
    """Let a tenant in again that was to be removed, until its removal begins."""

    async def work() -> Tenant:
        async with _means() as means:
            deed = Deed("tallystick tenants restore", "tenants.restore", "tenant", tenant_id)
            async with acting(means.settings, means.database, deed, tenant_id, directory=means.directory) as told:
                tenant = await means.offboardings.restore(tenant_id)
                told["after"] = state_of(tenant)
            return tenant

    tenant = asyncio.run(work())
    if as_json:
        typer.echo(json.dumps({"id": tenant.id, "suspended": tenant.suspended, "closing": None}))
    else:
        left = "; it is suspended, as it was before: tallystick tenants resume" if tenant.suspended else ""
        typer.echo(f"tenant {tenant.id} is not removed{left}")


def _reason(text: str) -> str:
    from tallystick.retention.schemas import reason_of  # noqa: PLC0415  # the web framework takes a while

    try:
        return reason_of(text)
    except ValueError as error:
        raise ConfigurationError(f"--reason {error}") from None


def _check_wait(days: int | None, least: int) -> None:
    from tallystick.retention.offboarding_service import LONGEST_WAIT  # noqa: PLC0415  # likewise

    if days is not None and not least <= days <= LONGEST_WAIT:
        raise ConfigurationError(
            f"--wait-days must be from {least}, the least of this installation"
            f" (TALLYSTICK_RETENTION__OFFBOARDING_DAYS), to {LONGEST_WAIT}"
        )
