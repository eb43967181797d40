"""Hands the logs to a follower: each in order, many beside each other, one worker at a time."""

import asyncio
import os
import secrets
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Final

import structlog
from prometheus_client import CollectorRegistry

from tallystick.database.pools import Database
from tallystick.errors import UnavailableError
from tallystick.followers import queries
from tallystick.followers.handing import NotRecordedError, hand_over, record
from tallystick.followers.metrics import FollowerMetrics
from tallystick.followers.model import Follower, Recorder, RestartLogError, Source, Stretch
from tallystick.followers.queries import Cursor
from tallystick.tracing import UNTRACED, Tracing

_log = structlog.get_logger("tallystick.followers")

_MAX_BYTES: Final = 16 * 1024 * 1024
STRETCHES_A_TURN: Final = 2
_WAIT_SECONDS: Final = 1.0
_FIRST_REST, _LONGEST_REST = 0.5, 30.0
_MOST_CAUSES: Final = 16


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a follower goes.

    Attributes:
        stretch_events: Most events it is handed together.
        batch_events: So many that wait are handed over at once.
        batch_seconds: Seconds after which fewer are handed over, too.
        few_events: Fewer than these are handed over less often: a turn costs the same, however little it brings.
        few_seconds: Seconds between two turns of a log that has so few.
        parallel: Logs that are worked on beside each other.
        lease_seconds: Seconds after which a log whose worker died is another's to take; a living one renews it.
        sweep_seconds: Seconds between two looks for logs of which no message told.
    """

    stretch_events: int = 20_000
    batch_events: int = 2_500
    batch_seconds: float = 1.0
    few_events: int = 100
    few_seconds: float = 5.0
    parallel: int = 4
    lease_seconds: float = 10.0
    sweep_seconds: float = 30.0


@dataclass(slots=True)
class _Waiting:
    """A log that has grown.

    Attributes:
        since: When that was noticed.
        size: Its size then.
        at_once: More of it waits than was read.
        not_before: It rests until then.
        rest: Seconds of its last rest.
        most: Most events of its next stretch; what failed may have been too many to be read in time.
        causes: What told of it, as far as that is traced.
    """

    since: float
    size: int
    most: int
    at_once: bool = False
    not_before: float = 0.0
    rest: float = 0.0
    causes: list[str] = field(default_factory=list[str])


@dataclass(frozen=True, slots=True)
class _Handled:
    """How far this worker is in a log.

    Attributes:
        seq: The last it has handled.
        at: When.
    """

    seq: int
    at: float


class FollowerEngine:
    """Runs one follower in one worker.

    A log is leased while it is worked on, and its cursor moves only under the lease, so that of two workers one at a
    time is ahead. After a crash the last stretch comes again.

    Args:
        follower: What is handed the events.
        source: Reads them.
        database: Where cursors are kept.
        pace: How fast.
        metrics: Where it counts.
        tracing: Of each stretch.
    """

    def __init__(
        self,
        follower: Follower | Recorder,
        source: Source,
        database: Database,
        pace: Pace,
        metrics: FollowerMetrics | None = None,
        tracing: Tracing = UNTRACED,
    ) -> None:
        self._follower = follower
        self._metrics = metrics or FollowerMetrics(CollectorRegistry())
        self._tracing = tracing
        self._source = source
        self._database = database
        self._pace = pace
        self._holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._waiting: dict[int, _Waiting] = {}
        self._working: set[int] = set()
        self._handled: dict[int, _Handled] = {}
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Follow until cancelled. Beside what is noticed, its sweeps find what no message told."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sweep())
            group.create_task(self._keep())
            for _ in range(self._pace.parallel):
                group.create_task(self._work())

    async def _sweep(self) -> None:
        """Look for what no message told, or told in vain."""
        while True:
            with suppress(UnavailableError):
                async with self._database.worker_session() as connection:
                    for log_id, size in await queries.find_behind(connection, [self._follower.name]):
                        if log_id not in self._working:
                            self._handled.pop(log_id, None)  # the cursor knows better: it may have been moved
                        self.notice(log_id, size)
            await asyncio.sleep(self._pace.sweep_seconds)

    async def _keep(self) -> None:
        """Renew the leases of the logs that are worked on, however long that takes."""
        while True:
            await asyncio.sleep(self._pace.lease_seconds / 3)
            if self._working:
                with suppress(UnavailableError):
                    async with self._database.worker_session() as connection:
                        await queries.renew(
                            connection,
                            self._follower.name,
                            list(self._working),
                            self._holder,
                            self._pace.lease_seconds,
                        )

    def notice(self, log_id: int, size: int, cause: str | None = None) -> None:
        """Learn that a log has grown to this many events, and what that comes of."""
        waiting = self._waiting.get(log_id)
        if waiting is not None:
            waiting.size = max(waiting.size, size)
        elif (handled := self._handled.get(log_id)) is None or handled.seq < size - 1:
            waiting = self._waiting[log_id] = _Waiting(monotonic(), size, self._pace.stretch_events)
        if waiting is not None and cause is not None and len(waiting.causes) < _MOST_CAUSES:
            waiting.causes.append(cause)
        self._changed.set()

    def _next_log(self) -> tuple[int | None, float]:
        """A log whose turn it is, or None and the seconds until one may be."""
        now = monotonic()
        soonest = _WAIT_SECONDS
        for log_id, waiting in self._waiting.items():
            if log_id in self._working:
                continue
            due = self._due(waiting, self._handled.get(log_id))
            if due <= now:
                return log_id, 0
            soonest = min(soonest, due - now)
        return None, soonest

    def _due(self, waiting: _Waiting, handled: _Handled | None) -> float:
        """When it is a log's turn."""
        pace = self._pace
        behind = 0 if handled is None else waiting.size - 1 - handled.seq
        if waiting.at_once or behind >= pace.batch_events:
            return waiting.not_before
        due = max(waiting.since + pace.batch_seconds, waiting.not_before)
        return due if handled is None or behind >= pace.few_events else max(due, handled.at + pace.few_seconds)

    async def _work(self) -> None:
        while True:
            log_id, seconds = self._next_log()
            if log_id is None:
                self._changed.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await self._changed.wait()
                continue
            self._working.add(log_id)
            waiting = self._waiting.pop(log_id)
            try:
                more = await self._turn(log_id, waiting)
            except (UnavailableError, NotRecordedError) as error:
                self._rest(log_id, waiting, type(error).__name__)
            else:
                if more:  # to the end of the queue
                    most = min(2 * waiting.most, self._pace.stretch_events)
                    self._waiting[log_id] = _Waiting(
                        monotonic(), waiting.size, most, at_once=True, causes=waiting.causes
                    )
            finally:
                self._working.discard(log_id)
                self._changed.set()

    def _rest(self, log_id: int, waiting: _Waiting, error: str) -> None:
        waiting.rest = min(max(2 * waiting.rest, _FIRST_REST), _LONGEST_REST)
        waiting.not_before = monotonic() + waiting.rest
        self._metrics.failed(self._follower.name, error)
        _log.warning("log_rests", follower=self._follower.name, log_id=log_id, error=error, seconds=waiting.rest)
        later = self._waiting.setdefault(log_id, waiting)
        later.rest, later.not_before, later.most = waiting.rest, waiting.not_before, max(waiting.most // 8, 1)

    async def _turn(self, log_id: int, waiting: _Waiting) -> bool:
        """Follow a log for some stretches; returns whether more of it waits."""
        name, pace = self._follower.name, self._pace
        async with self._database.worker_session() as connection:
            cursor = await queries.lease(connection, name, log_id, self._holder, pace.lease_seconds)
        if cursor is None:  # another worker's: its end, or the sweep, shows what is left
            self._handled.pop(log_id, None)
            return False
        try:
            for _ in range(STRETCHES_A_TURN):
                stretch = await self._source.read(
                    log_id, cursor.seq, cursor.received_us, limit=waiting.most, max_bytes=_MAX_BYTES
                )
                if stretch.through > cursor.seq:
                    cursor = await self._take(log_id, stretch, waiting.causes)
                if cursor is None:
                    self._handled.pop(log_id, None)
                    return False
                self._handled[log_id] = _Handled(cursor.seq, monotonic())
                if stretch.ended:
                    return False
            return True
        finally:
            await self._release_for_sure(log_id)

    async def _take(self, log_id: int, stretch: Stretch, causes: Sequence[str]) -> Cursor | None:
        """Handle a stretch, and tell of it; None when the lease was lost meanwhile."""
        began, name = monotonic(), self._follower.name
        told = {
            "tallystick.follower": name,
            "tallystick.log.id": log_id,
            "tallystick.seq.after": stretch.after,
            "tallystick.seq.through": stretch.through,
            "tallystick.events": len(stretch.events),
        }
        with self._tracing.span(f"follow {name}", told, kind="consumer", causes=causes):
            cursor = await self._handle(log_id, stretch)
        if cursor is not None:
            self._metrics.handled(name, stretch, monotonic() - began)
        return cursor

    async def _handle(self, log_id: int, stretch: Stretch) -> Cursor | None:
        """Hand a stretch over and move the cursor; None when the lease was lost meanwhile."""
        follower = self._follower
        if isinstance(follower, Recorder):
            return await record(follower, self._database, log_id, self._holder, stretch)
        try:
            await hand_over(follower, self._database, log_id, stretch)
            cursor = Cursor(stretch.through, stretch.received_us)
        except RestartLogError as restart:
            _log.warning("log_restarted", follower=self._follower.name, log_id=log_id, after=restart.after)
            cursor = Cursor(restart.after, None)
        async with self._database.worker_session() as connection:
            held = await queries.advance(
                connection, self._follower.name, log_id, self._holder, cursor, self._pace.lease_seconds
            )
        return cursor if held else None

    async def _release_for_sure(self, log_id: int) -> None:
        """Let go of a log even while this worker is told to stop: else nobody could take it until the lease ends."""
        releasing = asyncio.ensure_future(self._release(log_id))
        try:
            await asyncio.shield(releasing)
        except asyncio.CancelledError:
            await releasing
            raise

    async def _release(self, log_id: int) -> None:
        with suppress(UnavailableError):
            async with self._database.worker_session() as connection:
                await queries.release(connection, self._follower.name, log_id, self._holder)
