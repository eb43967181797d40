"""Watches the logs that somebody streams: each is read once in this process, however many do."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

import structlog

from tallystick.errors import Flaw, InvalidError, UnavailableError
from tallystick.followers.model import Stretch
from tallystick.log.identity import MAX_SEQ
from tallystick.log.turns import give_way
from tallystick.stream.metrics import StreamMetrics
from tallystick.stream.model import MOST_BYTES, MOST_EVENTS
from tallystick.stream.sieve import Candidate
from tallystick.stream.watched import Source, WatchedLog, removed_in

SHORTEST_PAUSE: Final = 0.05
"""Seconds from one look at the logs to the next, and so from one frame of a client to its next, at least."""

_LONGEST_POLL: Final = 0.15
_SLACKENING: Final = 1.2
_FAILED_PAUSE: Final = 0.5
_LOGS_AT_ONCE: Final = 64
_ROUNDS: Final = 4
"""Readings of one log in one look, so that no other waits for one that grows without end."""

_SLICE_SECONDS: Final = 0.004
_ROUND_BYTES: Final = 8 * 1024 * 1024
_LEAST_BYTES: Final = 128 * 1024
_REACH_SECONDS: Final = 5.0
_ALL_RINGS: Final = 8
"""What all audiences keep for slow clients together, as a multiple of what one may."""

_log = structlog.get_logger("tallystick.stream")


class Hub:
    """Reads what is new in the watched logs, and sends it to their audiences. One per process.

    Args:
        source: Reads logs.
        metrics: Where it counts.
        max_bytes: What is kept for the slowest client of an audience.
        patience: Seconds in which a client must take something.
        fresh: Whether suspensions and revocations are known well enough to send anything.
    """

    def __init__(
        self, source: Source, metrics: StreamMetrics, *, max_bytes: int, patience: float, fresh: Callable[[], bool]
    ) -> None:
        self._source = source
        self._metrics = metrics
        self._max_bytes = max_bytes
        self._patience = patience
        self._fresh = fresh
        self._logs: dict[int, WatchedLog] = {}
        self._told: dict[int, int] = {}
        self._nudge = asyncio.Event()
        self._looked = asyncio.Event()
        self._poll_pause = SHORTEST_PAUSE
        self._polled_at = float("-inf")
        self._gave_way = float("-inf")

    def grown(self, log_id: int, size: int) -> None:
        """Learn that a log has grown. Costs next to nothing and never fails."""
        if log_id in self._logs:
            self._told[log_id] = max(size, self._told.get(log_id, 0))
            self._nudge.set()

    @asynccontextmanager
    async def watching(self, log_id: int, after_seq: int | None) -> AsyncGenerator[WatchedLog]:
        """Watch a log for as long as the block lasts.

        Args:
            log_id: Which.
            after_seq: A seq through which it must have been read, or None.

        Raises:
            InvalidError: The log has no such seq.
            UnavailableError: PostgreSQL does not answer.
        """
        size = 0
        if after_seq is not None or log_id not in self._logs:
            size = await self._source.size(log_id)
        watched = self._logs.get(log_id)
        if watched is None:
            watched = self._logs[log_id] = WatchedLog(log_id, size - 1, self._max_bytes)
        watched.watchers += 1
        try:
            if after_seq is not None:
                await self._reach(watched, after_seq, size)
            yield watched
        finally:
            watched.watchers -= 1
            if not watched.watchers:
                del self._logs[log_id]
                self._told.pop(log_id, None)

    async def _reach(self, watched: WatchedLog, after_seq: int, size: int) -> None:
        """Wait until a log is read so far as another process was that the client comes from."""
        if after_seq >= size:
            flaw = Flaw(f"must be up to {size - 1}, the newest seq of this log", parameter="after_seq")
            raise InvalidError("the stream cannot start there", flaws=[flaw])
        self.grown(watched.log_id, size)
        try:
            async with asyncio.timeout(_REACH_SECONDS):
                while watched.through < after_seq:
                    await self._looked.wait()
        except TimeoutError:
            raise UnavailableError("the log cannot be read at the moment; try again", retry_after=2) from None

    async def run(self) -> None:
        """Watch until cancelled. Within a look, others have their turn every few milliseconds."""
        failing = False
        while True:
            pause = _FAILED_PAUSE
            try:
                await self.look()
                failing, pause = False, SHORTEST_PAUSE
            except UnavailableError as error:
                if not failing:
                    _log.warning("streams_stalled", reason=error.slug)
                failing = True
            except Exception:  # noqa: BLE001  # whatever it is: who watches waits for the next look
                _log.exception("a look at the logs failed")
            await asyncio.sleep(pause)
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, self._polled_at + self._poll_pause - time.monotonic())):
                    await self._nudge.wait()

    async def look(self) -> None:
        """Read what is new, and send it.

        Raises:
            UnavailableError: PostgreSQL does not answer, or it is not known who may see what.
        """
        self._nudge.clear()
        self._send_on()
        if not self._logs:
            return
        if not self._fresh():
            raise UnavailableError("it is not known now who may see what", retry_after=1)
        behind = await self._behind()
        for _ in range(_ROUNDS):
            behind = await self._read_all(behind)
        for log_id in behind:  # it grows faster than it is read: others come before the rest of it
            self.grown(log_id, MAX_SEQ)
        looked, self._looked = self._looked, asyncio.Event()
        looked.set()

    def _send_on(self) -> None:
        """Serve those who lagged, and let go of the slowest where too much is kept for them."""
        now = time.monotonic()
        audiences = [each for watched in self._logs.values() for each in watched.audiences if each.held]
        for audience in audiences:
            audience.retry(now, self._patience)
        held = sum(audience.held for audience in audiences)
        while held > _ALL_RINGS * self._max_bytes:
            largest = max(audiences, key=lambda audience: audience.held)
            held -= largest.held
            largest.give_up_slowest()
            held += largest.held

    async def _behind(self) -> list[int]:
        """The watched logs that grew: those that this process's writer told of, and what a look at the heads finds."""
        told, self._told = self._told, {}
        behind = {log_id for log_id, size in told.items() if self._has_more(log_id, size)}
        if time.monotonic() - self._polled_at >= self._poll_pause:
            self._polled_at = time.monotonic()
            found = await self._source.grown({each.log_id: each.through + 1 for each in self._logs.values()})
            for log_id, size in found.items():
                watched = self._logs.get(log_id)
                if watched is not None and size <= watched.through:
                    _log.warning("log_put_back", log_id=log_id, size=size)
                    watched.put_back(size)
                else:
                    behind.add(log_id)
            self._poll_pause = SHORTEST_PAUSE if found else min(_LONGEST_POLL, self._poll_pause * _SLACKENING)
        return list(behind)

    def _has_more(self, log_id: int, size: int) -> bool:
        watched = self._logs.get(log_id)
        return watched is not None and size > watched.through + 1

    async def _read_all(self, log_ids: Sequence[int]) -> list[int]:
        """Read on once in each log; returns those that have more."""
        more: list[int] = []
        for start in range(0, len(log_ids), _LOGS_AT_ONCE):
            watched = [log_id for log_id in log_ids[start : start + _LOGS_AT_ONCE] if log_id in self._logs]
            if watched:
                more += await self._read(watched)
        return more

    async def _read(self, log_ids: Sequence[int]) -> list[int]:
        places = [self._logs[log_id].place for log_id in log_ids]
        budget = min(MOST_BYTES, max(_LEAST_BYTES, _ROUND_BYTES // len(places)))
        stretches = await self._source.read_all(places, limit=MOST_EVENTS, max_bytes=budget)
        for place in places:
            watched = self._logs.get(place.log_id)
            # Another one is there where all left, and somebody came anew, while it was read.
            if watched is not None and watched.place == place and place.log_id in stretches:
                await self._hand_out_for_sure(watched, stretches[place.log_id])
        return [log_id for log_id in log_ids if log_id in stretches and not stretches[log_id].ended]

    async def _hand_out_for_sure(self, watched: WatchedLog, stretch: Stretch) -> None:
        """Whatever goes wrong with one log holds up no other."""
        try:
            await self._hand_out(watched, stretch)
        except UnavailableError:
            raise
        except Exception:  # noqa: BLE001  # a fault of ours: it ends the streams of this log, and of no other
            _log.exception("a log cannot be streamed", log_id=watched.log_id)
            for audience in watched.audiences:
                audience.fail(stretch.through)
            watched.through, watched.received_us = stretch.through, stretch.received_us

    async def _hand_out(self, watched: WatchedLog, stretch: Stretch) -> None:
        removed = await removed_in(self._source, watched.log_id, stretch)
        candidates = [Candidate(event) for event in stretch.events]
        # Whoever comes while others are judged starts before this stretch, too.
        while late := [each for each in watched.audiences if each.through < stretch.through]:
            for audience in late:
                try:
                    audience.take(await audience.sift(stretch.through, candidates, removed))
                except Exception:  # noqa: BLE001  # a fault of ours: it ends these streams, and no others
                    _log.exception("a stream's filter failed", log_id=watched.log_id)
                    audience.fail(stretch.through)
                await self._breathe()
        watched.through, watched.received_us = stretch.through, stretch.received_us
        if stretch.events:
            self._metrics.delay.observe(max(0.0, time.time() - stretch.events[-1].received_us / 1e6))
        await self._breathe()

    async def _breathe(self) -> None:
        """Let others have their turn, every few milliseconds."""
        if time.monotonic() - self._gave_way > _SLICE_SECONDS:
            await give_way()
            self._gave_way = time.monotonic()
