"""Events of access logs that no answer waits for, on their way to the writer: stored soon, in bulk, and not lost."""

import asyncio
from collections import deque
from time import monotonic
from typing import Final, NamedTuple

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from tallystick.access_log.model import Place
from tallystick.errors import OverloadedError, TallystickError, UnavailableError
from tallystick.log.lanes import Append
from tallystick.log.model import PreparedEvent
from tallystick.log.writer import Writer

MOST: Final = 20_000
"""Events that may wait. Beyond it nothing begins that would add to them."""

_PAUSE: Final = 0.1
"""Seconds in which outcomes gather: one transaction is shared by all of them, and no intent waits behind each."""

_AGAIN: Final = 1.0
_AT_ONCE: Final = 50
_LAST_CHANCE: Final = 10.0

_log = structlog.get_logger("tallystick.access_log")


class Waiting(NamedTuple):
    """An event, and where it belongs."""

    place: Place
    event: PreparedEvent


class AccessMetrics:
    """What access logs tell Prometheus."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.refused = Counter(
            "tallystick_access_refused", "Requests refused for who sent them, by reason.", ["reason"], registry=registry
        )
        self.lost = Counter(
            "tallystick_access_events_lost", "Outcomes and refusals that could not be stored.", registry=registry
        )
        self.waiting = Gauge(
            "tallystick_access_waiting_events",
            "Outcomes and refusals that are to be stored.",
            registry=registry,
            multiprocess_mode="livesum",
        )


class Backlog:
    """Stores what waits, until it is closed. What the writer cannot take now is tried again.

    It ends between two tries and is never cancelled within one, so nothing is stored twice.

    Args:
        writer: Stores them.
        metrics: Where it counts.
    """

    def __init__(self, writer: Writer, metrics: AccessMetrics) -> None:
        self._writer = writer
        self._metrics = metrics
        self._waiting: deque[Waiting] = deque()
        self._some = asyncio.Event()
        self._until: float | None = None

    def require_room(self) -> None:
        """Refuse what would add to a backlog that is full.

        Raises:
            OverloadedError: As many wait as may.
        """
        if len(self._waiting) >= MOST:
            raise OverloadedError("too much waits to be recorded in access logs; nothing was done: try again")

    def put(self, place: Place, event: PreparedEvent) -> None:
        """Let an event wait."""
        self._waiting.append(Waiting(place, event))
        self._metrics.waiting.set(len(self._waiting))
        self._some.set()

    async def run(self) -> None:
        """Store what waits, until it is closed and nothing waits; what cannot be stored soon then is given up."""
        while self._wanted():
            await self._some.wait()
            if self._until is None:
                await asyncio.sleep(_PAUSE)
            if not await self._store():
                await asyncio.sleep(_AGAIN)
        if self._waiting:
            _log.error("access events lost", events=len(self._waiting))
            self._metrics.lost.inc(len(self._waiting))

    def close(self) -> None:
        """End `run` once what waits is stored, and within seconds."""
        self._until = monotonic() + _LAST_CHANCE
        self._some.set()

    def _wanted(self) -> bool:
        if self._until is None:
            return True
        return bool(self._waiting) and monotonic() < self._until

    async def _store(self) -> bool:
        """Store all that waits now; whether that went well. The writer has a patience of its own."""
        self._some.clear()
        by_log: dict[int, list[Waiting]] = {}
        for waiting in self._waiting:
            by_log.setdefault(waiting.place.log_id, []).append(waiting)
        parts = [each[at : at + _AT_ONCE] for each in by_log.values() for at in range(0, len(each), _AT_ONCE)]
        self._waiting.clear()
        left = await asyncio.gather(*map(self._append, parts))
        self._waiting.extendleft(reversed([one for part in left for one in part]))
        self._metrics.waiting.set(len(self._waiting))
        if self._waiting:
            self._some.set()
        return not any(left)

    async def _append(self, part: list[Waiting]) -> list[Waiting]:
        """Store some of one log; those that are to be tried again. One that is refused takes no other with it."""
        try:
            events = [each.event for each in part]
            await self._writer.append(Append(part[0].place.log_id, events, nothing, lane="access"))
        except UnavailableError:
            return part
        except TallystickError:
            if len(part) > 1:
                left = await asyncio.gather(*(self._append([each]) for each in part))
                return [each for some in left for each in some]
            _log.exception("access events lost", events=1)
            self._metrics.lost.inc()
        return []


def nothing(_: object) -> bytes:
    """What is answered of an append that nobody sent."""
    return b""
