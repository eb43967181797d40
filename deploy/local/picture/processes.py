"""Our own processes: how an API process and a worker run a release."""

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from picture.release import Release
from tallystick.runtime.child import ChildSpec, Process
from tallystick.runtime.servers.local import HOST, says_yes, until_it_works
from tallystick.runtime.site import Site
from tallystick.settings import Settings

_READY_SECONDS: Final = 180.0
_WORKER_SECONDS: Final = 30.0
_KILL: Final = (signal.SIGKILL, 10.0)


@dataclass(frozen=True, slots=True)
class Door:
    """An API process, on a port of its own: the balancer sees each of them.

    Attributes:
        number: From 1 on.
        port: Where it listens, also after it was started again.
    """

    number: int
    port: int

    @property
    def name(self) -> str:
        """In messages."""
        return f"API process {self.number}"

    @property
    def server(self) -> str:
        """In the balancer."""
        return f"api-{self.number}"

    @property
    def url(self) -> str:
        """Where it is reached from this machine, past the balancer."""
        return f"http://{HOST}:{self.port}"


@dataclass(frozen=True, slots=True)
class Ours:
    """Makes specs.

    Attributes:
        settings: How long API processes take to end.
        environment: Of all of them.
        site: Whose end is theirs.
    """

    settings: Settings
    environment: Mapping[str, str]
    site: Site

    def door(self, door: Door, release: Release) -> ChildSpec:
        """An API process, which is up when it is ready to serve."""
        api, database = self.settings.api, self.settings.database
        drain = api.drain_notice + api.drain_timeout + database.append_timeout
        log_file = self.site.state.logs / f"{door.server}.log"

        async def ready(process: Process, log_since: int) -> None:
            await until_it_works(
                door.name,
                lambda: says_yes(door.url, "/readyz"),
                _READY_SECONDS,
                log_file,
                lambda: process.returncode is None,
                log_since,
            )

        watched = self.site.watched
        return ChildSpec(
            name=door.name,
            command=lambda: release.command("serve", "--watch", str(watched)),
            log_file=log_file,
            environment={
                **release.environment(self.environment),
                "TALLYSTICK_HOST": HOST,
                "TALLYSTICK_PORT": str(door.port),
            },
            inherited=(watched,),
            stop_signals=((signal.SIGTERM, drain), _KILL),
            ready=ready,
        )

    def worker(self, number: int, release: Release) -> ChildSpec:
        """A worker."""
        watched = self.site.watched
        return ChildSpec(
            name=f"worker {number}",
            command=lambda: release.command("worker", "--watch", str(watched)),
            log_file=self.site.state.logs / f"worker-{number}.log",
            environment=release.environment(self.environment),
            inherited=(watched,),
            stop_signals=((signal.SIGTERM, _WORKER_SECONDS), _KILL),
        )
