"""`tallystick up`: servers, API processes and worker under one supervisor, in one state directory."""

import asyncio
import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from prometheus_client.multiprocess import mark_process_dead  # pyright: ignore[reportUnknownVariableType] - not annotated

from tallystick import __version__
from tallystick.errors import ConfigurationError
from tallystick.runtime.child import Child, ChildSpec
from tallystick.runtime.firstrun import FIRST_TENANT, Acting
from tallystick.runtime.foundation import Foundation, Ground, Report, embedded_url
from tallystick.runtime.listener import listen, url_of
from tallystick.runtime.metrics import MULTIPROCESS_VARIABLE, PROCESS_VARIABLE
from tallystick.runtime.readiness import until_it_answers
from tallystick.runtime.servers.artifacts import Fetching, untold
from tallystick.runtime.servers.standins import StandIn
from tallystick.runtime.site import Site, occupied
from tallystick.runtime.state import Run, StateDirectory
from tallystick.runtime.tls import server_context
from tallystick.settings import Settings

_PROBE_PAUSE = 0.05
_ORPHANS_SECONDS = 10.0


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
        async with occupied(state, self.report) as site:
            listener = site.at_end.enter_context(await self._listen(state))
            state.prepare()
            site.at_end.callback(shutil.rmtree, state.metrics, ignore_errors=True)
            await site.unless_stopped(self._start(site, listener, secure=secure))
            await site.stop.wait()
            self.report("stopping")

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

    async def _start(self, site: Site, listener: socket.socket, *, secure: bool) -> None:
        """Start floor by floor; whoever stands higher needs those below."""
        state = site.state
        processes = self.settings.api.processes + 1
        ground = await Foundation(
            self.settings, self.acting, self.report, processes, self.stand_ins, self.fetching
        ).lay(site)
        worker, *doors = [Child(spec, self.report) for spec in self._own_specs(ground, site, listener)]
        await site.floors.build(worker, hurried=True)
        await site.floors.build(*doors, hurried=True)
        await until_it_answers(listener, doors, secure=secure)
        url = url_of(listener, secure=secure)
        run = Run(
            url=url,
            docs_url=f"{url}/docs",
            tenant_id=FIRST_TENANT,
            token_file=str(state.admin_token),
            database_url=embedded_url(self.settings, ground),
            pid=os.getpid(),
            version=__version__,
            environment=dict(ground.found_by),
        )
        state.write_run(run)
        self.announce(run)

    def _own_specs(self, ground: Ground, site: Site, listener: socket.socket) -> list[ChildSpec]:
        """The worker's and then the API processes' specs."""
        settings, state, watched = ground.settings, site.state, site.watched
        environment = {**ground.environment(state), MULTIPROCESS_VARIABLE: str(state.metrics)}

        def spec(name: str, label: str, *command: str, inherited: tuple[int, ...], seconds: float) -> ChildSpec:
            return ChildSpec(
                name=name,
                command=lambda: [sys.executable, "-m", "tallystick", *command],
                log_file=state.logs / f"{label}.log",
                environment={**environment, PROCESS_VARIABLE: label},
                inherited=inherited,
                stop_signals=((signal.SIGTERM, seconds), (signal.SIGKILL, 10)),
                after=lambda _: mark_process_dead(label, str(state.metrics)),
            )

        watch = ("--watch", str(watched))
        door = listener.fileno()
        drain = settings.api.drain_notice + settings.api.drain_timeout + settings.database.append_timeout
        return [
            spec("the worker", "worker", "worker", *watch, inherited=(watched,), seconds=30),
            *(
                spec(
                    f"API process {number}",
                    f"api-{number}",
                    *("serve", "--socket", str(door), *watch),
                    inherited=(watched, door),
                    seconds=drain,
                )
                for number in range(1, settings.api.processes + 1)
            ),
        ]
