"""`tallystick up`: servers, API processes and worker under one supervisor, in one state directory."""

import asyncio
import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from prometheus_client.multiprocess import mark_process_dead  # pyright: ignore[reportUnknownVariableType] - not annotated
from pydantic import SecretStr

from tallystick import __version__
from tallystick.errors import ConfigurationError
from tallystick.runtime.child import Child, ChildSpec, Process
from tallystick.runtime.firstrun import FIRST_TENANT, Acting, ensure_admin_token, prepare_database
from tallystick.runtime.listener import listen, url_of
from tallystick.runtime.logfiles import keep_bounded
from tallystick.runtime.metrics import MULTIPROCESS_VARIABLE
from tallystick.runtime.postgres import EmbeddedPostgres, server_settings, socket_directory
from tallystick.runtime.readiness import until_it_answers
from tallystick.runtime.servers.artifacts import Fetching, untold
from tallystick.runtime.servers.standins import StandIn, prepare_stand_in
from tallystick.runtime.state import Run, StateDirectory
from tallystick.runtime.stopping import stop_event
from tallystick.runtime.tls import server_context
from tallystick.settings import Settings

_RECOVERY_SECONDS = 900.0
_PROBE_PAUSE = 0.05
_ORPHANS_SECONDS = 10.0
_OWN_FLOORS = 2
"""Below them stand servers that are not ours."""

Report = Callable[[str], None]


def connections_needed(settings: Settings) -> int:
    """The most connections that the pools of all processes hold together, and some for commands."""
    database = settings.database
    pools = database.writer_connections + database.reader_connections + 2 * database.control_connections
    return (settings.api.processes + 1) * pools + 10


@dataclass(frozen=True, slots=True)
class Supervisor:
    """Starts everything, keeps it running, and ends it in order.

    Attributes:
        acting: Records what the first start makes.
        report: Told, in words for a person, of each step and of every death.
        announce: Given the running instance once it answers.
        stand_ins: Local servers to run besides PostgreSQL.
        fetching: Told how far the first fetch of one is.
    """

    settings: Settings
    acting: Acting
    report: Report
    announce: Callable[[Run], None]
    stand_ins: Sequence[StandIn] = ()
    fetching: Fetching = untold

    async def run(self) -> None:
        """Run until SIGINT or SIGTERM; a second one hurries the end.

        Raises:
            ConfigurationError: Something in the way of the start that a person must mend.
        """
        secure = server_context(self.settings.api) is not None
        state = StateDirectory.from_settings(self.settings)
        floors: list[list[Child]] = []

        def hurry() -> None:
            for child in (child for floor in floors[_OWN_FLOORS:] for child in floor):
                child.send(signal.SIGINT)

        stop = stop_event(None, hurry)
        with state.lock(), await self._listen(state) as listener, _pipe() as watched:
            state.prepare()
            bounding = asyncio.create_task(keep_bounded(state.logs, self.report))
            try:
                await _unless(stop, self._start(state, listener, watched, floors, secure=secure))
                await stop.wait()
                self.report("stopping")
            finally:
                state.run_file.unlink(missing_ok=True)
                for floor in reversed(floors):
                    await asyncio.gather(*(child.stop() for child in floor))
                bounding.cancel()
                await asyncio.wait([bounding])
                shutil.rmtree(state.metrics, ignore_errors=True)
        self.report("stopped")

    async def _listen(self, state: StateDirectory) -> socket.socket:
        """Listen; after a run that was killed (it left `run.json`) its API processes may take a moment to let go."""
        loop = asyncio.get_running_loop()
        patience = self.settings.api.drain_notice + _ORPHANS_SECONDS
        end = loop.time() + (patience if state.run_file.exists() else 0)
        while True:
            try:
                return listen(self.settings.host, self.settings.port)
            except ConfigurationError:
                if loop.time() >= end:
                    raise
            await asyncio.sleep(_PROBE_PAUSE)

    async def _start(
        self, state: StateDirectory, listener: socket.socket, watched: int, floors: list[list[Child]], *, secure: bool
    ) -> None:
        """Start floor by floor; whoever stands higher needs those below."""
        settings = self.settings
        if settings.database.url is None:
            postgres = self._postgres(state)
            await asyncio.to_thread(postgres.initialise)
            child = Child(self._postgres_spec(postgres), self.report)
            floors.append([child])
            await child.start()
            settings = settings.model_copy(
                update={"database": settings.database.model_copy(update={"url": SecretStr(postgres.url())})}
            )
            self.report("PostgreSQL answers")
        else:
            floors.append([])
        found_by = await self._start_stand_ins(state, floors)
        await prepare_database(settings, self.acting, self.report)
        await ensure_admin_token(settings, self.acting, state.admin_token, self.report)
        specs = self._own_specs(settings, state, listener, watched, found_by)
        workers = [Child(specs[0], self.report)]
        doors = [Child(spec, self.report) for spec in specs[1:]]
        floors.extend((workers, doors))
        for child in (*workers, *doors):
            await child.start()
        await until_it_answers(listener, doors, secure=secure)
        url = url_of(listener, secure=secure)
        run = Run(
            url=url,
            docs_url=f"{url}/docs",
            tenant_id=FIRST_TENANT,
            token_file=str(state.admin_token),
            database_url=_embedded_url(self.settings, settings),
            pid=os.getpid(),
            version=__version__,
            environment=found_by,
        )
        state.write_run(run)
        self.announce(run)

    async def _start_stand_ins(self, state: StateDirectory, floors: list[list[Child]]) -> dict[str, str]:
        """Start the local servers; returns the settings by which others find them."""
        floor: list[Child] = []
        floors.append(floor)
        found_by: dict[str, str] = {}
        for kind in self.stand_ins:
            prepared = await prepare_stand_in(kind, state, self.report, self.fetching)
            child = Child(prepared.spec, self.report)
            floor.append(child)
            await child.start()
            found_by |= prepared.environment
            self.report(f"{prepared.spec.name} answers")
        return found_by

    def _postgres(self, state: StateDirectory) -> EmbeddedPostgres:
        return EmbeddedPostgres(
            data_dir=state.data,
            socket_dir=socket_directory(state.home),
            log_file=state.logs / "postgres.log",
            settings=server_settings(connections_needed(self.settings)),
            report=self.report,
        )

    def _postgres_spec(self, postgres: EmbeddedPostgres) -> ChildSpec:
        async def ready(process: Process, log_since: int) -> None:
            abandoned = False
            try:
                await asyncio.to_thread(
                    postgres.wait_ready,
                    _RECOVERY_SECONDS,
                    lambda: process.returncode is None and not abandoned,
                    log_since,
                )
            except asyncio.CancelledError:
                abandoned = True
                raise

        return ChildSpec(
            name="PostgreSQL",
            command=postgres.command,
            log_file=postgres.log_file,
            environment=postgres.environment(),
            identity=postgres.identity,
            folder="/",
            stop_signals=((signal.SIGINT, 60), (signal.SIGQUIT, 10), (signal.SIGKILL, 10)),
            before=lambda: asyncio.to_thread(postgres.stop_leftovers),
            ready=ready,
        )

    def _own_specs(
        self,
        settings: Settings,
        state: StateDirectory,
        listener: socket.socket,
        watched: int,
        found_by: Mapping[str, str],
    ) -> list[ChildSpec]:
        """The worker's and then the API processes' specs."""
        url = settings.database.url
        environment = {
            **os.environ,
            "TALLYSTICK_HOME": str(state.home),
            **({} if settings.key_files is not None else {"TALLYSTICK_KEY_DIR": str(state.keys)}),
            "TALLYSTICK_DATABASE__URL": url.get_secret_value() if url else "",
            "TALLYSTICK_SEARCH__ENGINE": settings.search.engine,
            "TALLYSTICK_QUEUE__KIND": settings.queue.kind,
            MULTIPROCESS_VARIABLE: str(state.metrics),
            **found_by,
        }

        def spec(name: str, log_name: str, *command: str, inherited: tuple[int, ...], seconds: float) -> ChildSpec:
            return ChildSpec(
                name=name,
                command=lambda: [sys.executable, "-m", "tallystick", *command],
                log_file=state.logs / log_name,
                environment=environment,
                inherited=inherited,
                stop_signals=((signal.SIGTERM, seconds), (signal.SIGKILL, 10)),
                after=lambda pid: mark_process_dead(pid, str(state.metrics)),
            )

        watch = ("--watch", str(watched))
        door = listener.fileno()
        drain = settings.api.drain_notice + settings.api.drain_timeout + settings.database.append_timeout
        return [
            spec("the worker", "worker.log", "worker", *watch, inherited=(watched,), seconds=30),
            *(
                spec(
                    f"API process {number}",
                    f"api-{number}.log",
                    *("serve", "--socket", str(door), *watch),
                    inherited=(watched, door),
                    seconds=drain,
                )
                for number in range(1, settings.api.processes + 1)
            ),
        ]


def _embedded_url(given: Settings, used: Settings) -> str | None:
    """The URL of the embedded server; an external one stays in the environment, with its password."""
    return used.database.url.get_secret_value() if given.database.url is None and used.database.url else None


@contextmanager
def _pipe() -> Generator[int]:
    """The read end of a pipe whose write end lives as long as this process does."""
    watched, held = os.pipe()
    try:
        yield watched
    finally:
        os.close(watched)
        os.close(held)


async def _unless(stop: asyncio.Event, work: Coroutine[None, None, None]) -> None:
    """Do the work, and give it up when told to stop."""
    working = asyncio.ensure_future(work)
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
    finally:
        for task in (working, stopping):
            task.cancel()
        await asyncio.wait((working, stopping))
