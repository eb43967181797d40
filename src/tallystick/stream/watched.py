"""A log that somebody streams, and what reads it."""

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias

from tallystick.followers.model import Stretch
from tallystick.log.queries import Place, Removed
from tallystick.query.ast import Everything, Node, canonical, conjunction
from tallystick.stream.audience import Audience
from tallystick.stream.model import PUT_BACK, Close, StreamQuery, removed_frames
from tallystick.stream.sieve import sieve_of


class Source(Protocol):
    """Reads logs: `log.source.LogSource`."""

    async def size(self, log_id: int) -> int:
        """How many seqs a log has given out."""
        ...

    async def grown(self, sizes: Mapping[int, int]) -> dict[int, int]:
        """Which logs are of other sizes than these, and of which."""
        ...

    async def read(self, log_id: int, after: int, received_us: int | None, *, limit: int, max_bytes: int) -> Stretch:
        """What follows a seq in one log."""
        ...

    async def read_all(self, places: Sequence[Place], *, limit: int, max_bytes: int) -> dict[int, Stretch]:
        """What follows a seq in each of several logs."""
        ...

    async def removed(self, log_id: int, after: int, through: int) -> tuple[Removed, ...]:
        """What was removed after a seq and up to another."""
        ...


_Question: TypeAlias = tuple[str, bool]


class WatchedLog:
    """A log that somebody watches.

    Args:
        log_id: Which.
        through: Up to where it counts as read.
        max_bytes: What is kept for the slowest client of an audience.
    """

    def __init__(self, log_id: int, through: int, max_bytes: int) -> None:
        self.log_id = log_id
        self.through = through
        self.received_us: int | None = None
        self.watchers = 0
        self._max_bytes = max_bytes
        self._audiences: dict[_Question, Audience] = {}

    @property
    def place(self) -> Place:
        """Where reading goes on."""
        return Place(self.log_id, self.through, self.received_us)

    @property
    def audiences(self) -> list[Audience]:
        """All who watch."""
        return list(self._audiences.values())

    def audience(self, narrowing: Node, query: StreamQuery) -> Audience:
        """The audience of all who ask the same and may see the same."""
        question = _question(narrowing, query)
        found = self._audiences.get(question)
        if found is None:
            found = self._audiences[question] = Audience(
                sieve_of(query, narrowing),
                tells_removed=isinstance(narrowing, Everything),
                through=self.through,
                max_bytes=self._max_bytes,
            )
        return found

    def let_go(self, narrowing: Node, query: StreamQuery) -> None:
        """Forget the audience of a question if nobody is in it."""
        question = _question(narrowing, query)
        if question in self._audiences and self._audiences[question].empty:
            del self._audiences[question]

    def put_back(self, size: int) -> None:
        """End all streams: the log is an older copy now, and has so many events."""
        for audience in self.audiences:
            audience.end(Close(PUT_BACK, str(size - 1)))
        self._audiences = {}  # who comes anew gets what is read anew
        self.through, self.received_us = size - 1, None


def _question(narrowing: Node, query: StreamQuery) -> _Question:
    """What two streams must have in common to be sent the same: who sees all of a log is also told what is gone."""
    wanted = conjunction(query.filters, query.text, narrowing)
    return canonical(wanted), isinstance(narrowing, Everything)


async def removed_in(source: Source, log_id: int, stretch: Stretch) -> bytes | None:
    """The frames that tell what was removed within a stretch; None where nothing was.

    Raises:
        DatabaseDownError: PostgreSQL does not answer.
    """
    if len(stretch.events) == stretch.through - stretch.after:
        return None
    found = await source.removed(log_id, stretch.after, stretch.through)
    ranges = [(each.first_seq, each.last_seq, each.reason) for each in found]
    return removed_frames(ranges, stretch.after) if ranges else None
