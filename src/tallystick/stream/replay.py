"""The past of a log, sent to one stream until it has come to the present: without a gap, and nothing twice."""

import asyncio
from collections.abc import Callable
from typing import Final

from tallystick.followers.model import Stretch
from tallystick.stream.audience import FULL, Audience, Stream
from tallystick.stream.model import MOST_BYTES, MOST_EVENTS
from tallystick.stream.sieve import Candidate
from tallystick.stream.watched import Source, removed_in

_AT_ONCE: Final = 3
"""Readings under way in this process, of all who replay."""

_LOOK_AGAIN: Final = 0.2


class Replays:
    """Sends the past, in readings that are short transactions of their own.

    Args:
        source: Reads logs.
        patience: Seconds in which a client must take something.
        fresh: Whether suspensions and revocations are known well enough to send anything.
    """

    def __init__(self, source: Source, patience: float, fresh: Callable[[], bool]) -> None:
        self._source = source
        self._patience = patience
        self._fresh = fresh
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def replay(self, log_id: int, audience: Audience, stream: Stream) -> None:
        """Send what follows the stream's `seq`, and let it into its audience where the present begins.

        What comes meanwhile is kept. Where that becomes too much, it is read again as a part of the past.

        Raises:
            UnavailableError: PostgreSQL does not answer.
        """
        received_us: int | None = None
        target = audience.pin(stream)
        while stream.seq < target and stream.closed is None:
            async with self._turns:
                stretch = await self._read(log_id, stream.seq, received_us, target)
                removed = await removed_in(self._source, log_id, stretch) if audience.tells_removed else None
                candidates = [Candidate(event) for event in stretch.events]
                passage = await audience.sift(stretch.through, candidates, removed, after=stretch.after)
            if stream.socket.buffered > FULL and not await self._drained(stream):
                return
            stream.pass_on(passage)
            received_us = stretch.received_us or received_us
            if not audience.keeps(stream):
                target = audience.pin(stream)
        audience.join(stream)

    async def _read(self, log_id: int, after: int, received_us: int | None, target: int) -> Stretch:
        while not self._fresh():  # noqa: ASYNC110  # its age tells, and nobody else
            await asyncio.sleep(_LOOK_AGAIN)
        stretch = await self._source.read(log_id, after, received_us, limit=MOST_EVENTS, max_bytes=MOST_BYTES)
        return stretch.up_to(target)

    async def _drained(self, stream: Stream) -> bool:
        """Wait until the connection takes more; cut it off where it does not."""
        try:
            async with asyncio.timeout(self._patience):
                await stream.socket.drained()
        except TimeoutError:
            stream.break_off()
            return False
        return True
