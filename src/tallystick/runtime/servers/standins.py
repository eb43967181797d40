"""Local servers in the place of those that settings could name: as children of the supervisor."""

import asyncio
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from tallystick.runtime.child import ChildSpec, Process
from tallystick.runtime.servers import elasticmq, opensearch
from tallystick.runtime.servers.artifacts import Fetching, untold
from tallystick.runtime.servers.local import free_port
from tallystick.runtime.state import StateDirectory

StandIn: TypeAlias = Literal["opensearch", "elasticmq"]

_READY_SECONDS: Final = 300.0
"""After a crash OpenSearch first replays what it had not yet written."""


@dataclass(frozen=True, slots=True)
class PreparedStandIn:
    """A local server, ready to be started.

    Attributes:
        spec: How.
        environment: Settings by which other processes find it.
    """

    spec: ChildSpec
    environment: Mapping[str, str]


async def prepare_stand_in(
    kind: StandIn, state: StateDirectory, report: Callable[[str], None], fetching: Fetching = untold
) -> PreparedStandIn:
    """Make what a local server needs. Its data lies in the state directory, under its name.

    Args:
        kind: Which.
        state: Whose lock is held.
        report: Told of all out of the ordinary that is done.
        fetching: Told how far a first fetch is.

    Raises:
        ConfigurationError: Something that a person must mend.
    """
    module = {"opensearch": opensearch, "elasticmq": elasticmq}[kind]
    server = await module.prepare(state.home / kind, free_port(), report, fetching)
    log_file = state.logs / f"{kind}.log"

    async def ready(process: Process, log_since: int) -> None:
        await server.wait_ready(_READY_SECONDS, log_file, lambda: process.returncode is None, log_since)

    spec = ChildSpec(
        name=server.name,
        command=lambda: list(server.command),
        log_file=log_file,
        environment=server.environment,
        identity=server.identity,
        folder=str(server.folder),
        stop_signals=((signal.SIGTERM, 30), (signal.SIGKILL, 10)),
        before=lambda: asyncio.to_thread(server.stop_leftovers),
        ready=ready,
    )
    return PreparedStandIn(spec, _found_by(kind, server.url))


def _found_by(kind: StandIn, url: str) -> dict[str, str]:
    if kind == "opensearch":
        return {"TALLYSTICK_SEARCH__ENGINE": "opensearch", "TALLYSTICK_SEARCH__URL": url}
    return {"TALLYSTICK_QUEUE__KIND": "sqs", "TALLYSTICK_QUEUE__ENDPOINT": url}
