"""A log and connections in memory, for what streams do whatever the order in which things happen."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from tallystick.auth.access import Access
from tallystick.auth.tenancy import TenantState
from tallystick.followers.model import LoggedEvent, Stretch
from tallystick.log.queries import Place, Removed
from tallystick.query.ast import Everything
from tallystick.stream.audience import FULL
from tokens import principal

ACCESS = Access(principal(), TenantState("acme", {"events": 1}, suspended=False, settings={}), {}, Everything())


def logged(seq: int) -> LoggedEvent:
    body = orjson.dumps({"action": ("even", "odd")[seq % 2], "n": seq, "timestamp": "once"})
    return LoggedEvent(seq, seq, seq, bytes(32), body)


@dataclass
class MemoryLog:  # its methods have the arguments of `Source`, of which some mean nothing here
    """A log: `stream.watched.Source`. A reading takes at most three events, and lets others in before and after."""

    size_: int = 0
    most: int = 3

    async def size(self, log_id: int) -> int:  # noqa: ARG002
        await asyncio.sleep(0)
        return self.size_

    async def grown(self, sizes: Mapping[int, int]) -> dict[int, int]:
        await asyncio.sleep(0)
        return {log_id: self.size_ for log_id, known in sizes.items() if self.size_ != known}

    async def read(self, log_id: int, after: int, received_us: int | None, *, limit: int, max_bytes: int) -> Stretch:  # noqa: ARG002
        await asyncio.sleep(0)
        events = tuple(logged(seq) for seq in range(after + 1, min(self.size_, after + 1 + self.most)))
        ended = len(events) < self.most
        await asyncio.sleep(0)
        return Stretch(after, events[-1].seq if events else after, events, None, ended)

    async def read_all(self, places: Sequence[Place], *, limit: int, max_bytes: int) -> dict[int, Stretch]:  # noqa: ARG002
        return {each.log_id: await self.read(each.log_id, each.seq, None, limit=0, max_bytes=0) for each in places}

    async def removed(self, log_id: int, after: int, through: int) -> tuple[Removed, ...]:  # noqa: ARG002
        raise AssertionError("nothing was")


@dataclass
class MemorySocket:
    """A connection: `stream.model.Socket`. While its client pauses, it is full."""

    paused: bool = False
    written: list[bytes] = field(default_factory=list[bytes])
    closed: tuple[int, str] | None = None

    @property
    def buffered(self) -> int:
        return FULL + 1 if self.paused else 0

    def write(self, frames: bytes) -> None:
        if self.closed is None:
            self.written.append(frames)

    async def drained(self) -> None:
        while self.paused and self.closed is None:  # noqa: ASYNC110  # one turn after the other
            await asyncio.sleep(0)

    def close(self, code: int, reason: str) -> None:
        self.closed = (code, reason)

    def on_end(self, end: Callable[[int], None]) -> None: ...


def messages(frames: bytes) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while frames:
        size, begin = frames[1], 2
        if size == 126:
            size, begin = int.from_bytes(frames[2:4], "big"), 4
        found.append(json.loads(frames[begin : begin + size]))
        frames = frames[begin + size :]
    return found
