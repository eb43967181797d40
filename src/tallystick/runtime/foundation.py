"""What our own processes stand on: PostgreSQL, local servers, the schema, the first tenant and a token."""

import asyncio
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import SecretStr

from tallystick.database.pools import pool_sizes
from tallystick.runtime.child import Child, ChildSpec, Process
from tallystick.runtime.firstrun import Acting, ensure_admin_token, prepare_database
from tallystick.runtime.postgres import EmbeddedPostgres, server_settings, socket_directory
from tallystick.runtime.servers.artifacts import Fetching, untold
from tallystick.runtime.servers.standins import StandIn, prepare_stand_in
from tallystick.runtime.site import Site
from tallystick.runtime.state import StateDirectory
from tallystick.settings import Settings

_RECOVERY_SECONDS = 900.0

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Ground:
    """What was laid.

    Attributes:
        settings: Those given, with the URL of the database.
        found_by: Settings by which other processes find the local servers.
    """

    settings: Settings
    found_by: Mapping[str, str]

    def environment(self, state: StateDirectory) -> dict[str, str]:
        """The environment of our own processes."""
        url = self.settings.database.url
        return {
            **os.environ,
            "TALLYSTICK_HOME": str(state.home),
            **({} if self.settings.key_files is not None else {"TALLYSTICK_KEY_DIR": str(state.keys)}),
            "TALLYSTICK_DATABASE__URL": url.get_secret_value() if url else "",
            "TALLYSTICK_SEARCH__ENGINE": self.settings.search.engine,
            "TALLYSTICK_QUEUE__KIND": self.settings.queue.kind,
            **self.found_by,
        }


@dataclass(frozen=True, slots=True)
class Foundation:
    """Lays the lowest floor.

    Attributes:
        acting: Records what the first start makes.
        report: Told, in words for a person, of each step and of every death.
        processes: How many of our own will stand on it.
        stand_ins: Local servers to run besides PostgreSQL.
        fetching: Told how far the first fetch of one is.
    """

    settings: Settings
    acting: Acting
    report: Report
    processes: int
    stand_ins: Sequence[StandIn] = ()
    fetching: Fetching = untold

    async def lay(self, site: Site) -> Ground:
        """Start all of it.

        Raises:
            ConfigurationError: Something in the way that a person must mend.
        """
        settings, state = self.settings, site.state
        children: list[Child] = []
        if settings.database.url is None:
            postgres = EmbeddedPostgres(
                data_dir=state.data,
                socket_dir=socket_directory(state.home),
                log_file=state.logs / "postgres.log",
                settings=server_settings(connections_needed(settings, self.processes)),
                report=self.report,
            )
            await asyncio.to_thread(postgres.initialise)
            children.append(Child(_postgres_spec(postgres), self.report))
            settings = settings.model_copy(
                update={"database": settings.database.model_copy(update={"url": SecretStr(postgres.url())})}
            )
        found_by: dict[str, str] = {}
        for kind in self.stand_ins:
            prepared = await prepare_stand_in(kind, state, self.report, self.fetching)
            children.append(Child(prepared.spec, self.report))
            found_by |= prepared.environment
        await site.floors.build(*children)
        for child in children:
            self.report(f"{child.spec.name} answers")
        await prepare_database(settings, self.acting, self.report)
        await ensure_admin_token(settings, self.acting, state.admin_token, self.report)
        return Ground(settings, found_by)


def connections_needed(settings: Settings, processes: int) -> int:
    """The most connections that the pools of so many processes hold together, and some for commands."""
    pools = sum(pool_sizes(settings.database).values())
    return processes * (settings.database.writer_connections + pools) + 10


def embedded_url(given: Settings, ground: Ground) -> str | None:
    """The URL of the embedded server; an external one stays in the environment, with its password."""
    used = ground.settings.database.url
    return used.get_secret_value() if given.database.url is None and used else None


def _postgres_spec(postgres: EmbeddedPostgres) -> ChildSpec:
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
