"""`tallystick jobs`: what takes long, whosever it is, and watching it."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from tallystick.access_log.model import Deed
from tallystick.auth.keyring import open_keyring
from tallystick.cli.acting import acting
from tallystick.cli.reading import load_settings
from tallystick.cli.tables import print_table
from tallystick.database.pools import Database
from tallystick.errors import NotFoundError
from tallystick.jobs.model import Job, JobState
from tallystick.jobs.queries import JobFilter
from tallystick.jobs.schemas import JobDocument, fraction
from tallystick.jobs.service import JobService
from tallystick.query.cursor import CursorCodec
from tallystick.settings import Settings

app = typer.Typer(name="jobs", help="List, watch and cancel what takes long.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
JobId = Annotated[str, typer.Argument(help="The job's id.")]

_LOOK_SECONDS: Final = 0.5
_BROKEN_OFF: Final = 130

Result = TypeVar("Result")


@asynccontextmanager
async def job_service(settings: Settings, database: Database) -> AsyncGenerator[JobService]:
    """Jobs, with the queue that the settings name."""
    # Search engines take a while to load, which commands that run none need not wait for.
    from tallystick.bootstrap.adapters import work_queue  # noqa: PLC0415
    from tallystick.retention.offboarding import NOT_CANCELLED  # noqa: PLC0415

    async with work_queue(settings, database) as queue:
        cursors = CursorCodec(open_keyring(settings).cursor_signing)
        yield JobService(database, queue, cursors, NOT_CANCELLED)


async def _cancelled(job_id: str) -> Job:
    settings = load_settings()
    async with Database.from_settings(settings.database) as database, job_service(settings, database) as service:
        job = await _find(service, job_id)
        deed = Deed("tallystick jobs cancel", "jobs.cancel", "job", job_id)
        async with acting(settings, database, deed, job.tenant_id):
            return await service.cancel(job.tenant_id, job_id)


def _with_service(work: Callable[[JobService], Awaitable[Result]]) -> Result:
    settings = load_settings()

    async def run() -> Result:
        async with Database.from_settings(settings.database) as database, job_service(settings, database) as service:
            return await work(service)

    return asyncio.run(run())


@app.command("list")
def list_command(
    *,
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's.")] = None,
    state: Annotated[JobState | None, typer.Option(help="Only those in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Most of them.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List jobs, the newest first."""
    jobs = _with_service(lambda service: service.newest(JobFilter(tenant, state), limit))
    if as_json:
        typer.echo(json.dumps({"jobs": [as_document(job) for job in jobs]}))
        return
    print_table(
        ("id", "tenant", "log", "kind", "state", "#done", "made"),
        (
            (
                job.id,
                job.tenant_id,
                job.log or "",
                job.kind,
                job.state,
                _share(job),
                f"{job.created_at:%Y-%m-%d %H:%M:%S}",
            )
            for job in jobs
        ),
    )


def _share(job: Job) -> str:
    done = fraction(job)
    return "" if done is None else f"{done:.0%}"


@app.command("show")
def show(job_id: JobId, *, as_json: AsJson = False) -> None:
    """Show one job."""
    _say(_with_service(lambda service: _find(service, job_id)), as_json=as_json)


@app.command("cancel")
def cancel(job_id: JobId, *, as_json: AsJson = False) -> None:
    """Ask a job to end. What it made so far is removed."""
    _say(asyncio.run(_cancelled(job_id)), as_json=as_json)


@app.command("watch")
def watch_command(job_id: JobId, *, as_json: AsJson = False) -> None:
    """Show how far a job is until it ends. The exit status is 1 unless it succeeded."""

    async def work(service: JobService) -> Job:
        (ended,) = await watch(service, [await _find(service, job_id)], quiet=as_json)
        return ended

    try:
        job = _with_service(work)
    except KeyboardInterrupt:
        raise broken_off("tallystick jobs watch " + job_id) from None
    _say(job, as_json=as_json)
    if job.state is not JobState.SUCCEEDED:
        raise typer.Exit(1)


async def watch(service: JobService, jobs: Sequence[Job], *, quiet: bool) -> list[Job]:
    """Show how far jobs are until all have ended; returns them as they are then."""
    known = {job.id: job for job in jobs}
    bars: dict[str, TaskID] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True, highlight=False), disable=quiet) as shown:
        whole = shown.add_task("jobs that ended", total=len(jobs), visible=len(jobs) > 1)
        while True:
            for job in known.values():
                _show(shown, bars, job, alone=len(known) == 1)
            left = [job.id for job in known.values() if not job.state.ended]
            shown.update(whole, completed=len(known) - len(left))
            if not left:
                return list(known.values())
            await asyncio.sleep(_LOOK_SECONDS)
            known |= {job.id: job for job in await service.find(left)}


def _show(shown: Progress, bars: dict[str, TaskID], job: Job, *, alone: bool) -> None:
    """Give a job a line while a worker has it; one that is alone has it all the time."""
    described = f"{job.tenant_id} {job.log or job.kind}: "
    described += "waits for a worker" if job.state is JobState.QUEUED else job.state
    if alone or job.state is JobState.RUNNING:
        if job.id not in bars:
            bars[job.id] = shown.add_task(described, total=None)
        shown.update(bars[job.id], description=described, completed=job.done, total=job.total)
    elif job.id in bars:
        shown.remove_task(bars.pop(job.id))


def broken_off(command: str) -> typer.Exit:
    """What to raise when somebody watches no longer: the work goes on."""
    typer.echo(f"the worker goes on; to see how far it is: {command}", err=True)
    return typer.Exit(_BROKEN_OFF)


def as_document(job: Job) -> dict[str, Any]:
    """A job as the API shows it, and whose it is."""
    return {"tenant_id": job.tenant_id, **JobDocument.of(job).model_dump(mode="json")}


async def _find(service: JobService, job_id: str) -> Job:
    for job in await service.find([job_id]):
        return job
    raise NotFoundError(f"there is no job {job_id}")


def _say(job: Job, *, as_json: bool) -> None:
    document = as_document(job)
    if as_json:
        typer.echo(json.dumps(document))
        return
    progress, author = document.pop("progress"), document.pop("created_by")
    done, total = progress["done"], progress["total"]
    document["done"] = f"{done:,}" if total is None else f"{done:,} of {total:,}"
    document["created_by"] = f"{author['subject']} ({author['issuer']})"
    for name, value in document.items():
        if value not in (None, False):
            typer.echo(f"{name.replace('_', ' ') + ':':<18}{'yes' if value is True else value}")
