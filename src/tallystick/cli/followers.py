"""`tallystick followers`: how far they are behind the logs, and what to do when what they keep is not right."""

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Final, TypeAlias

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from tallystick.cli.acting import account
from tallystick.cli.jobs import as_document, broken_off, job_service, watch
from tallystick.cli.reading import load_settings
from tallystick.cli.tables import print_table
from tallystick.database.pools import Database
from tallystick.errors import ConfigurationError, UnavailableError
from tallystick.followers import queries
from tallystick.followers.queries import Lag, LogHead, Quarantined, Standing
from tallystick.jobs.model import Job, JobState
from tallystick.log.source import LogSource
from tallystick.ports import CorruptIndexError, IndexState, SearchIndex
from tallystick.query.timestamps import format_moment
from tallystick.search.follower import NAME
from tallystick.search.jobs import REBUILD_INDEX
from tallystick.search.verifying import Findings, Seqs, verify

app = typer.Typer(name="followers", help="See what follows the logs, and mend it.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
OneTenant = Annotated[str | None, typer.Option(help="Only this tenant's logs.")]
LogName = Annotated[str, typer.Option(help="Which of its logs: events or access.")]

_FAULTS: Final = (
    ("missing", "not in the index"),
    ("altered", "with other times than in the log"),
    ("doubled", "in the index more than once"),
    ("unfindable", "not found by what is in them"),
)

_INDEX_COLUMNS: Final = ("#indexed", "#MB", "#through")

IndexTold: TypeAlias = IndexState | str | None
"""How far an index is, or what is wrong with it; None for a follower that keeps none."""


@dataclass(frozen=True, slots=True)
class Following:
    """What these commands look at: the logs' followers, and the index."""

    database: Database
    index: SearchIndex
    followers: Sequence[str]

    async def logs(self, tenant_id: str | None, name: str | None = None) -> list[LogHead]:
        """All logs, or those of a tenant or name.

        Raises:
            ConfigurationError: The tenant has no such log.
        """
        async with self.database.worker_session() as connection:
            found = await queries.find_logs(connection, tenant_id, name)
        if tenant_id is not None and not found:
            raise ConfigurationError(f"there is no tenant {tenant_id}" + (f" with a log {name}" if name else ""))
        return found


@asynccontextmanager
async def _following() -> AsyncGenerator[Following]:
    # Search engines take a while to load, which other commands need not wait for.
    from tallystick.bootstrap.adapters import FOLLOWERS, search_index  # noqa: PLC0415

    settings = load_settings()
    async with Database.from_settings(settings.database) as database, search_index(settings) as index:
        yield Following(database, index, FOLLOWERS)


@app.command("status")
def status(
    *,
    tenant: OneTenant = None,
    every: Annotated[bool, typer.Option("--all", help="Show those that are not behind, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show how far each follower is: all logs of a tenant, or those it is behind in or has quarantined events of."""
    standings, rows = asyncio.run(_status(tenant, every=every or tenant is not None))
    if as_json:
        logs = [{**asdict(lag), "behind": lag.events, "index": _index_json(index)} for lag, index in rows]
        typer.echo(json.dumps({"followers": [asdict(standing) for standing in standings], "logs": logs}))
        return
    if rows:
        columns = ("tenant", "log", "follower", "#head", "#cursor", "#behind", "#for", "#quarantined", *_INDEX_COLUMNS)
        print_table(columns, (_row(lag, index) for lag, index in rows))
    for standing in standings:
        typer.echo(standing.summary)


async def _status(tenant: str | None, *, every: bool) -> tuple[list[Standing], list[tuple[Lag, IndexTold]]]:
    async with _following() as following:
        await following.logs(tenant)
        async with following.database.worker_session() as connection:
            standings = await queries.find_standings(connection, following.followers)
            lags = await queries.find_lags(connection, following.followers, tenant)
        shown = [lag for lag in lags if every or lag.events or lag.quarantined]
        return standings, [(lag, await _index_of(following.index, lag)) for lag in shown]


async def _index_of(index: SearchIndex, lag: Lag) -> IndexTold:
    if lag.follower != NAME:
        return None
    try:
        return await index.state(lag.log_id)
    except CorruptIndexError:
        return "damaged"
    except UnavailableError:
        return "does not answer"


def _index_json(index: IndexTold) -> object:
    return asdict(index) if isinstance(index, IndexState) else index


def _row(lag: Lag, index: IndexTold) -> tuple[str, ...]:
    cells = (lag.tenant_id, lag.log, lag.follower, str(lag.size - 1), str(lag.seq), f"{lag.events:,}")
    indexed = ("", "", "")
    if isinstance(index, IndexState):
        indexed = (f"{index.documents:,}", f"{index.bytes / 1_000_000:,.1f}", str(index.through))
    elif index is not None:
        indexed = (index, "", "")
    return (*cells, f"{lag.seconds:,.0f} s", f"{lag.quarantined:,}", *indexed)


@app.command("reset")
def reset(
    follower: Annotated[str, typer.Argument(help="Its name, as in `status`.")],
    *,
    tenant: Annotated[str, typer.Option(help="Whose log.")],
    log: LogName = "events",
    as_json: AsJson = False,
) -> None:
    """Send a follower back to the start of a log, and forget which events it could not handle.

    The search index passes over everything up to where it is already, quarantined events too. To make it anew, or to
    try those again, use `rebuild`.
    """

    async def work() -> bool:
        async with _following() as following:
            if follower not in following.followers:
                raise ConfigurationError(f"there is no follower {follower}, only {', '.join(following.followers)}")
            (head,) = await following.logs(tenant, log)
            async with following.database.worker_session() as connection:
                return await queries.reset(connection, follower, head.id)

    moved = asyncio.run(work())
    if as_json:
        typer.echo(json.dumps({"follower": follower, "tenant_id": tenant, "log": log, "moved": moved}))
    else:
        typer.echo(f"{follower} reads {tenant} {log} from the start" if moved else "it has not begun with that log yet")


@app.command("rebuild")
def rebuild(
    *,
    tenant: Annotated[str | None, typer.Option(help="Whose log.")] = None,
    log: LogName = "events",
    all_tenants: Annotated[bool, typer.Option("--all-tenants", help="That log of every tenant.")] = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Start the jobs, and do not watch them.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make the search index of a log anew, beside the one that answers meanwhile. A worker does it, as a job."""
    if (tenant is None) is not all_tenants:
        raise ConfigurationError("name one of: --tenant, --all-tenants")

    async def work() -> list[Job]:
        settings = load_settings()
        async with (
            _following() as following,
            job_service(settings, following.database) as service,
        ):
            by = {"issuer": "cli", "subject": account()}
            jobs = [
                await service.create(head.tenant_id, head.id, REBUILD_INDEX, {}, by)
                for head in await following.logs(tenant, log)
                if head.size or not all_tenants
            ]
            return jobs if no_wait else await watch(service, jobs, quiet=as_json)

    try:
        jobs = asyncio.run(work())
    except KeyboardInterrupt:
        raise broken_off("tallystick jobs list") from None
    if as_json:
        typer.echo(json.dumps({"jobs": [as_document(job) for job in jobs]}))
    else:
        for job in jobs:
            left = f": {job.error}" if job.error else ""
            typer.echo(f"{job.tenant_id} {job.log}: {job.state}{left} (job {job.id})")
    if any(job.state in (JobState.FAILED, JobState.CANCELLED) for job in jobs):
        raise typer.Exit(1)


@app.command("quarantine")
def quarantine(*, tenant: OneTenant = None, as_json: AsJson = False) -> None:
    """List the events that a follower could not handle. `rebuild` tries those of the search index again."""

    async def work() -> list[Quarantined]:
        async with _following() as following, following.database.worker_session() as connection:
            return await queries.list_quarantined(connection, following.followers, tenant)

    found = asyncio.run(work())
    if as_json:
        typer.echo(
            json.dumps(
                {"events": [{**asdict(each), "quarantined_at": format_moment(each.quarantined_at)} for each in found]}
            )
        )
        return
    if not found:
        typer.echo("nothing is quarantined")
        return
    print_table(
        ("tenant", "log", "follower", "#seq", "error", "since"),
        (
            (each.tenant_id, each.log, each.follower, str(each.seq), each.error, format_moment(each.quarantined_at))
            for each in found
        ),
    )


@app.command("verify")
def verify_command(*, tenant: OneTenant = None, as_json: AsJson = False) -> None:
    """Compare the search index with the logs, event by event. The exit status is 1 where they do not agree."""
    compared = asyncio.run(_verify(tenant, quiet=as_json))
    if as_json:
        typer.echo(json.dumps({"logs": [_comparison_json(head, findings) for head, findings in compared]}))
    else:
        for head, findings in compared:
            for line in _comparison_text(head, findings):
                typer.echo(line)
    if not all(findings is not None and findings.agree for _, findings in compared):
        raise typer.Exit(1)


async def _verify(tenant: str | None, *, quiet: bool) -> list[tuple[LogHead, Findings | None]]:
    """What was found of each log that has events; None where its index is damaged."""
    compared: list[tuple[LogHead, Findings | None]] = []
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    console = Console(stderr=True, highlight=False)
    async with _following() as following:
        async with following.database.worker_session() as connection:
            quarantined = await queries.list_quarantined(connection, [NAME], tenant)
        logs = [head for head in await following.logs(tenant) if head.size]
        with Progress(*columns, console=console, disable=quiet) as shown:
            whole = shown.add_task("all logs", total=sum(head.size for head in logs))
            for head in logs:
                bar = shown.add_task(f"{head.tenant_id} {head.name}", total=None)
                seqs = {each.seq for each in quarantined if each.log_id == head.id}
                try:
                    findings = await verify(
                        following.index,
                        LogSource(following.database),
                        head.id,
                        seqs,
                        lambda done, total, bar=bar: shown.update(bar, completed=done, total=total),
                    )
                except CorruptIndexError:
                    findings = None
                compared.append((head, findings))
                shown.remove_task(bar)
                shown.advance(whole, head.size)
    return compared


def _comparison_json(head: LogHead, findings: Findings | None) -> dict[str, Any]:
    found = {"damaged": True} if findings is None else {**asdict(findings), "agree": findings.agree}
    return {"tenant_id": head.tenant_id, "log": head.name, "size": head.size, **found}


def _comparison_text(head: LogHead, findings: Findings | None) -> list[str]:
    name = f"{head.tenant_id} {head.name}"
    mending = f"  to mend it: tallystick followers rebuild --tenant {head.tenant_id} --log {head.name}"
    if findings is None:
        return [f"{name}: the index is damaged", mending]
    notes = [
        f", {count:,} {what}"
        for count, what in (
            (head.size - 1 - findings.through, "not indexed yet"),
            (findings.quarantined, "quarantined"),
            (findings.removed, "removed from the log and still in the index"),
        )
        if count > 0
    ]
    if findings.agree:
        return [f"{name}: {findings.events:,} events agree, {findings.sampled:,} looked up{''.join(notes)}"]
    faults = [_fault(what, getattr(findings, attribute)) for attribute, what in _FAULTS]
    if findings.beyond:
        faults.append(f"  the index goes {findings.beyond:,} beyond the end of the log, which is an older copy")
    return [f"{name}: the index does not agree with {findings.events:,} events", *filter(None, faults), mending]


def _fault(what: str, seqs: Seqs) -> str:
    if not seqs.count:
        return ""
    more = ", …" if seqs.count > len(seqs.first) else ""
    return f"  {seqs.count:,} {what}: seq {', '.join(map(str, seqs.first))}{more}"
