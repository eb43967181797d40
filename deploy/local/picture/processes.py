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
class Place:
    """Where a process of ours is reached from this machine, past the balancer; also after it was started again.

    Attributes:
        name: Of the process, in messages.
        label: Of the place: in the balancer, where that knows it, and of its log file.
        port: Of its own.
    """

    name: str
    label: str
    port: int

    @classmethod
    def of_api(cls, number: int, port: int) -> "Place":
        """That of an API process: the balancer sees each of them."""
        return cls(f"API process {number}", f"api-{number}", port)

    @classmethod
    def of_worker(cls, number: int, port: int) -> "Place":
        """That of a worker, whose own door is there."""
        return cls(f"worker {number}", f"worker-{number}", port)

    @property
    def address(self) -> str:
        """Host and port."""
        return f"{HOST}:{self.port}"

    @property
    def url(self) -> str:
        """Its base."""
        return f"http://{self.address}"


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

    def api(self, place: Place, release: Release) -> ChildSpec:
        """An API process, which is up when it is ready to serve."""
        api, database = self.settings.api, self.settings.database
        drain = api.drain_notice + api.drain_timeout + database.append_timeout
        own = {"TALLYSTICK_HOST": HOST, "TALLYSTICK_PORT": str(place.port)}
        return self._spec(place, release, "serve", "/readyz", own, drain)

    def worker(self, place: Place, release: Release) -> ChildSpec:
        """A worker, which is up when its loops turn."""
        own = {"TALLYSTICK_WORKER__METRICS_HOST": HOST, "TALLYSTICK_WORKER__METRICS_PORT": str(place.port)}
        return self._spec(place, release, "worker", "/healthz", own, _WORKER_SECONDS)

    def _spec(
        self, place: Place, release: Release, command: str, asked: str, own: Mapping[str, str], seconds: float
    ) -> ChildSpec:
        log_file, watched = self.site.state.logs / f"{place.label}.log", self.site.watched

        async def ready(process: Process, log_since: int) -> None:
            await until_it_works(
                place.name,
                lambda: says_yes(place.url, asked),
                _READY_SECONDS,
                log_file,
                lambda: process.returncode is None,
                log_since,
            )

        return ChildSpec(
            name=place.name,
            command=lambda: release.command(command, "--watch", str(watched)),
            log_file=log_file,
            environment={**release.environment(self.environment), **own},
            inherited=(watched,),
            stop_signals=((signal.SIGTERM, seconds), _KILL),
            ready=ready,
        )
