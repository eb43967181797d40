"""The events that no index holds yet, kept as documents, so that a search finds what was stored a moment ago."""

import asyncio
from bisect import bisect_right
from collections import OrderedDict
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Final

from tallystick.followers.model import Source, Stretch
from tallystick.query.matching import Prepared, prepare
from tallystick.search.follower import documents_of

_BATCH_EVENTS: Final = 2_500
_BATCH_BYTES: Final = 8 * 1024 * 1024
_OVERHEAD: Final = 300
"""What a document takes beside its characters, in bytes."""

_MOST_LOGS: Final = 1_000

MAX_BYTES: Final = 64 * 1024 * 1024
"""What the tail of one log may take; all together take at most twice as much."""

_seq = attrgetter("seq")


@dataclass(frozen=True, slots=True)
class Tail:
    """The events of a log after a seq.

    Attributes:
        documents: In order of seq.
        complete: Whether these are all; else they are the newest, and some before them are missing.
    """

    documents: list[Prepared]
    complete: bool


@dataclass(slots=True)
class _Kept:
    """What is kept of one log: every event after `after`, up to `through`."""

    max_events: int
    max_bytes: int
    after: int = -1
    through: int = -1
    received_us: int | None = None
    documents: list[Prepared] = field(default_factory=list[Prepared])
    bytes: int = 0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def full(self) -> bool:
        return self.through - self.after >= self.max_events or self.bytes >= self.max_bytes

    def covers(self, seq: int) -> bool:
        """Whether what is wanted after a seq is kept, or as much of it as may be."""
        return seq <= self.through and (self.after <= seq or self.full)

    def restart(self, after: int, since_us: int | None) -> None:
        """Begin anew behind a seq, whose event arrived at this moment or later."""
        if self.received_us is not None and self.through <= after:
            since_us = max(self.received_us, since_us or 0)
        self.after = self.through = after
        self.received_us = since_us
        self.documents.clear()
        self.bytes = 0

    async def extend(self, stretch: Stretch) -> None:
        """Take in what follows, and let go of the oldest where it is too much."""
        for document in await documents_of(stretch.events):
            prepared = prepare(document)
            self.documents.append(prepared)
            self.bytes += _bytes_of(prepared)
        self.through, self.received_us = stretch.through, stretch.received_us
        self.forget(self.through - self.max_events)
        while self.bytes > self.max_bytes and len(self.documents) > 1:
            self.forget(self.documents[len(self.documents) // 8].seq)

    def forget(self, through: int) -> None:
        """Let go of the events up to a seq."""
        if through <= self.after:
            return
        count = bisect_right(self.documents, through, key=_seq)
        self.bytes -= sum(map(_bytes_of, self.documents[:count]))
        del self.documents[:count]
        self.after = through

    def newer_than(self, seq: int) -> list[Prepared]:
        return self.documents[bisect_right(self.documents, seq, key=_seq) :]


class Tails:
    """Keeps the tails of the logs that are searched; those that were not for the longest are let go of.

    Args:
        source: Reads the logs.
        max_events: Most events of one log.
        max_bytes: What they may take; all logs together take at most twice as much.
    """

    def __init__(self, source: Source, max_events: int, max_bytes: int = MAX_BYTES) -> None:
        self._source = source
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._logs: OrderedDict[int, _Kept] = OrderedDict()

    async def head(self, log_id: int) -> int:
        """The last seq of a log at some moment after the call; -1 where it has none.

        Raises:
            DatabaseDownError: PostgreSQL does not answer.
        """
        return await self._source.size(log_id) - 1

    async def between(self, log_id: int, through: int, head: int, since_us: int | None = None) -> Tail:
        """The events of a log after a seq, up to its head at least.

        Args:
            log_id: The log.
            through: Exclusive; -1 starts.
            head: The last seq, as it was when the search began.
            since_us: When the event at `through`, or one before it, arrived, if known: older partitions are left out.

        Raises:
            DatabaseDownError: PostgreSQL does not answer.
        """
        kept = self._logs.setdefault(log_id, _Kept(self._max_events, self._max_bytes))
        self._logs.move_to_end(log_id)
        async with kept.lock:
            if not kept.covers(through):
                kept.restart(max(through, head - self._max_events), since_us)
            await self._catch_up(log_id, kept, head)
            tail = Tail(kept.newer_than(through), complete=kept.after <= through)
            kept.forget(through)
        self._let_go()
        return tail

    async def _catch_up(self, log_id: int, kept: _Kept, head: int) -> None:
        while kept.through < head:
            stretch = await self._source.read(
                log_id, kept.through, kept.received_us, limit=_BATCH_EVENTS, max_bytes=_BATCH_BYTES
            )
            await kept.extend(stretch)

    def _let_go(self) -> None:
        total = sum(kept.bytes for kept in self._logs.values())
        while total > 2 * self._max_bytes or len(self._logs) > _MOST_LOGS:
            _, oldest = self._logs.popitem(last=False)
            total -= oldest.bytes


def _bytes_of(document: Prepared) -> int:
    return len(document.text) + len(document.paths) + len(document.terms) + _OVERHEAD
