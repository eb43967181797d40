"""The whole picture under one supervisor: servers, two workers, two API processes, and the balancer before them."""

import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from picture.balancer import Balancer, Ports, prepare_balancer
from picture.certificate import ensure_certificate
from picture.control import listening
from picture.description import Bulletin, Picture
from picture.processes import Ours, Place
from picture.ratestore import prepare_rate_server
from picture.release import Release
from picture.rolling import Roll, Rolled
from tallystick import __version__
from tallystick.runtime.child import Child, ChildSpec
from tallystick.runtime.firstrun import FIRST_TENANT, Acting
from tallystick.runtime.foundation import Foundation, Report, embedded_url
from tallystick.runtime.servers.artifacts import Fetching, untold
from tallystick.runtime.servers.local import free_port
from tallystick.runtime.servers.standins import StandIn, server_spec
from tallystick.runtime.site import Site, occupied
from tallystick.runtime.state import Run, StateDirectory
from tallystick.settings import Settings

OF_EACH: Final = (1, 2)
"""Numbers of our processes of each kind: the balancer's configuration has as many places."""

_READY_SECONDS: Final = 180.0
_QUICK_SECONDS: Final = 60.0
"""In which HAProxy and Valkey must work."""

_KILL: Final = (signal.SIGKILL, 10.0)


def control_socket(state: StateDirectory) -> Path:
    """Where a running cluster takes orders."""
    return state.home / "control"


@dataclass(frozen=True, slots=True)
class Cluster:
    """Starts the picture, keeps it running, and ends it in order.

    Attributes:
        settings: Of the installation. Servers that they name are used, the others are started here.
        acting: Records what the first start makes.
        report: Told, in words for a person, of each step and of every death.
        announce: Given the picture once it answers.
        ports: Where clients come in.
        release: What our processes run.
        fetching: Told how far the first fetch of a server is.
    """

    settings: Settings
    acting: Acting
    report: Report
    announce: Callable[[Picture], None]
    ports: Ports
    release: Release
    fetching: Fetching = untold

    async def run(self) -> None:
        """Run until SIGINT or SIGTERM; a second one hurries the end.

        Raises:
            ConfigurationError: Something in the way of the start that a person must mend.
        """
        state = StateDirectory.from_settings(self.settings)
        async with occupied(state, self.report) as site:
            state.prepare()
            bulletin = Bulletin(site, self.report)
            roll = await site.unless_stopped(self._start(site, bulletin))
            if roll is not None:
                async with listening(control_socket(state), partial(_roll, roll, bulletin)):
                    await site.stop.wait()
            self.report("stopping")

    async def _start(self, site: Site, bulletin: Bulletin) -> Roll:
        """Start floor by floor; whoever stands higher needs those below."""
        state = site.state
        certificate = ensure_certificate(state.home / "tls", self.ports.named)
        rates = await self._start_rate_server(site, bulletin)
        ground = await Foundation(
            self.settings, self.acting, bulletin.report, 2 * len(OF_EACH), self._stand_ins(), self.fetching
        ).lay(site)
        environment = ground.environment(state) | rates
        ours = Ours(ground.settings, environment, site)
        apis = [Place.of_api(number, free_port()) for number in OF_EACH]
        doors = [Place.of_worker(number, free_port()) for number in OF_EACH]
        workers = [self._rolled(partial(ours.worker, door), bulletin) for door in doors]
        served = [self._rolled(partial(ours.api, api), bulletin, api.label) for api in apis]
        await site.floors.build(*(each.child for each in workers), hurried=True)
        await site.floors.build(*(each.child for each in served), hurried=True)

        variables = {name: value for name, value in os.environ.items() if name.startswith("TALLYSTICK_EDGE_")}
        variables |= {f"TALLYSTICK_API_{number}": api.address for number, api in zip(OF_EACH, apis, strict=True)}
        ports = self.ports.chosen()
        balancer = prepare_balancer(state.home / "haproxy", ports, certificate, variables, self.report)
        stop_signals = ((signal.SIGUSR1, 5.0), (signal.SIGTERM, 5.0), _KILL)
        spec = server_spec(balancer.server, state.logs / "haproxy.log", _QUICK_SECONDS, stop_signals)
        await site.floors.build(Child(spec, bulletin.report))
        await balancer.until_up({api.label for api in apis}, _READY_SECONDS)

        state.write_run(_run(state, balancer, embedded_url(self.settings, ground), ground.found_by))
        picture = Picture(
            url=balancer.url,
            http_url=balancer.http_url,
            authority_file=str(certificate.authority),
            token_file=str(state.admin_token),
            balancer_url=balancer.server.url,
            admin_socket=str(balancer.admin_socket),
            api_urls={api.name: api.url for api in apis},
            worker_urls={door.name: door.url for door in doors},
            release=str(self.release.tree),
        )
        self.announce(bulletin.publish(picture))
        return Roll([*served, *workers], balancer.until_up, environment, self.release)

    async def _start_rate_server(self, site: Site, bulletin: Bulletin) -> dict[str, str]:
        """Start Valkey unless settings name a server; returns the settings by which it is found."""
        if self.settings.rates.url is not None:
            return {}
        server = prepare_rate_server(site.state.home / "valkey", self.report)
        stop_signals = ((signal.SIGTERM, 10.0), _KILL)
        spec = server_spec(server, site.state.logs / "valkey.log", _QUICK_SECONDS, stop_signals)
        await site.floors.build(Child(spec, bulletin.report))
        self.report(f"{server.name} answers")
        return {"TALLYSTICK_RATES__URL": server.url, "TALLYSTICK_RATES__PASSWORD": server.password}

    def _stand_ins(self) -> list[StandIn]:
        """The servers that settings ask for and do not name."""
        search, queue = self.settings.search, self.settings.queue
        found: list[StandIn] = []
        if search.engine == "opensearch" and search.url is None:
            found.append("opensearch")
        if queue.kind == "sqs" and queue.endpoint is None:
            found.append("elasticmq")
        return found

    def _rolled(self, spec: Callable[[Release], ChildSpec], bulletin: Bulletin, server: str | None = None) -> Rolled:
        return Rolled(Child(spec(self.release), bulletin.report), spec, server)


async def _roll(roll: Roll, bulletin: Bulletin, tree: Path, report: Report) -> None:
    """Roll to the release in a tree; see `Roll.to`."""

    def told(line: str) -> None:
        bulletin.report(line)
        report(line)

    await roll.to(Release.of(tree), told)
    bulletin.released(roll.release.tree)


def _run(state: StateDirectory, balancer: Balancer, database_url: str | None, found_by: Mapping[str, str]) -> Run:
    return Run(
        url=balancer.url,
        docs_url=f"{balancer.url}/docs",
        tenant_id=FIRST_TENANT,
        token_file=str(state.admin_token),
        database_url=database_url,
        pid=os.getpid(),
        version=__version__,
        environment=dict(found_by),
    )
