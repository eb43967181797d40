"""The commands that run processes: `up`, `serve`, `worker`, `migrate`."""

import asyncio
import json
from typing import Annotated, Literal

import typer
import uvloop
from rich.console import Console

from tallystick.cli.acting import acting
from tallystick.cli.reading import load_settings
from tallystick.cli.terminal import announcer, fetch_display, reporter
from tallystick.database.migrate import Migration, migrate
from tallystick.database.outage import as_database_down
from tallystick.runtime.courtesy import stand_back
from tallystick.runtime.logging import configure_logging
from tallystick.runtime.servers.standins import StandIn
from tallystick.runtime.serving import open_socket, serve
from tallystick.runtime.supervisor import Supervisor
from tallystick.runtime.worker import run_worker
from tallystick.settings import Settings

AsJson = Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")]
Watch = Annotated[int | None, typer.Option("--watch", hidden=True, help="Pipe whose end means that nobody supervises.")]
Search = Annotated[
    Literal["tantivy", "opensearch"] | None,
    typer.Option(help="Search engine; a local OpenSearch is run unless TALLYSTICK_SEARCH__URL names one."),
]
Queue = Annotated[
    Literal["embedded", "sqs"] | None,
    typer.Option(
        help="Queue; a local ElasticMQ, which speaks SQS, is run unless TALLYSTICK_QUEUE__ENDPOINT names one."
    ),
]
Socket = Annotated[int | None, typer.Option("--socket", hidden=True, help="Listening socket that was inherited.")]


def up(*, search: Search = None, queue: Queue = None, as_json: AsJson = False) -> None:
    """Run everything: PostgreSQL, worker and API, in one state directory."""
    settings = load_settings()
    stand_ins: list[StandIn] = []
    if search is not None:
        settings = settings.model_copy(update={"search": settings.search.model_copy(update={"engine": search})})
        if search == "opensearch" and settings.search.url is None:
            stand_ins.append("opensearch")
    if queue is not None:
        settings = settings.model_copy(update={"queue": settings.queue.model_copy(update={"kind": queue})})
        if queue == "sqs" and settings.queue.endpoint is None:
            stand_ins.append("elasticmq")
    console = Console(highlight=False)
    supervisor = Supervisor(
        settings,
        acting,
        reporter(console, quiet=as_json),
        announcer(console, as_json=as_json),
        stand_ins,
        fetch_display(console, quiet=as_json),
    )
    asyncio.run(supervisor.run())


def serve_command(*, socket: Socket = None, watch: Watch = None, as_json: AsJson = False) -> None:
    """Run one API process on a database that is already there."""
    settings = _with_logs(load_settings(), as_json=as_json)
    uvloop.run(_serve(settings, socket, watch))


async def _serve(settings: Settings, socket: int | None, watch: int | None) -> None:
    # Loaded by the processes that serve alone: the web framework costs the others 40 MB and a quarter of a second.
    from tallystick.api.app import create_app  # noqa: PLC0415
    from tallystick.bootstrap.services import services  # noqa: PLC0415

    listener = open_socket(settings, socket)
    async with services(settings) as made:
        await serve(create_app(made), settings, listener, watch, made.lifecycle.drain)


def worker_command(*, watch: Watch = None, as_json: AsJson = False) -> None:
    """Run the worker: it keeps the search index and the partitions, and runs jobs."""
    settings = _with_logs(load_settings(), as_json=as_json)
    if watch is not None:
        stand_back()
    uvloop.run(_work(settings, watch))


async def _work(settings: Settings, watch: int | None) -> None:
    # Search engines take a while to load, which commands that run none need not wait for.
    from tallystick.bootstrap.worker import worker_loops  # noqa: PLC0415

    async with worker_loops(settings) as loops:
        await run_worker(loops, watch)


def migrate_command(*, as_json: AsJson = False) -> None:
    """Bring the database's schema to this release's state."""
    settings = load_settings()
    report = reporter(Console(highlight=False), quiet=as_json)

    async def work() -> list[Migration]:
        async with as_database_down():
            return await migrate(settings.database, report)

    applied = asyncio.run(work())
    if as_json:
        typer.echo(json.dumps({"applied": [{"version": each.version, "name": each.name} for each in applied]}))
    elif not applied:
        report("nothing to do: the schema is up to date")


def _with_logs(settings: Settings, *, as_json: bool) -> Settings:
    logging = settings.logging.model_copy(update={"format": "json"}) if as_json else settings.logging
    configure_logging(logging)
    return settings.model_copy(update={"logging": logging})
