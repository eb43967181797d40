"""Local servers in the place of those that settings could name: as children of the supervisor."""

import asyncio
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

from tallystick.runtime.child import ChildSpec, Process
from tallystick.runtime.servers import elasticmq, opensearch
from tallystick.runtime.servers.artifacts import Fetching, untold
from tallystick.runtime.servers.local import LocalServer, free_port
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
    spec = server_spec(server, state.logs / f"{kind}.log", _READY_SECONDS, ((signal.SIGTERM, 30), (signal.SIGKILL, 10)))
    return PreparedStandIn(spec, _found_by(kind, server.url))


def server_spec(
    server: LocalServer, log_file: Path, seconds: float, stop_signals: tuple[tuple[int, float], ...]
) -> ChildSpec:
    """A local server as a child.

    Args:
        server: It.
        log_file: What it writes.
        seconds: In which it must work.
        stop_signals: See `ChildSpec`.
    """

    async def ready(process: Process, log_since: int) -> None:
        await server.wait_ready(seconds, log_file, lambda: process.returncode is None, log_since)

    return ChildSpec(
        name=server.name,
        command=lambda: list(server.command),
        log_file=log_file,
        environment=server.environment,
        identity=server.identity,
        folder=str(server.folder),
        stop_signals=stop_signals,
        before=lambda: asyncio.to_thread(server.stop_leftovers),
        ready=ready,
    )


def _found_by(kind: StandIn, url: str) -> dict[str, str]:
    if kind == "opensearch":
        return {"TALLYSTICK_SEARCH__ENGINE": "opensearch", "TALLYSTICK_SEARCH__URL": url}
    return {"TALLYSTICK_QUEUE__KIND": "sqs", "TALLYSTICK_QUEUE__ENDPOINT": url}
