"""What a follower is, and what it is handed."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tallystick.database.pools import Connection


class LoggedEvent(NamedTuple):
    """An event as a follower reads it.

    Attributes:
        seq: Position in the log.
        received_us: Arrival in Unix microseconds.
        occurred_us: Occurrence in Unix microseconds.
        leaf_hash: 32 bytes.
        body: The stored JSON, byte for byte.
    """

    seq: int
    received_us: int
    occurred_us: int
    leaf_hash: bytes
    body: bytes


@dataclass(frozen=True, slots=True)
class Stretch:
    """Consecutive seqs of one log.

    Attributes:
        after: The seq before the first; -1 at the start of the log.
        through: The last seq: all between are in `events`, or were removed from the log.
        events: In order.
        received_us: Arrival of the last event that was read, which bounds the next read; None where there was none yet.
        ended: Nothing followed when it was read.
    """

    after: int
    through: int
    events: tuple[LoggedEvent, ...]
    received_us: int | None
    ended: bool

    def halves(self) -> tuple["Stretch", "Stretch"]:
        """The stretch as two, each with about half of its events, of which there must be two at least."""
        middle = len(self.events) // 2
        first, second = self.events[:middle], self.events[middle:]
        border = first[-1]
        return (
            Stretch(self.after, border.seq, first, border.received_us, ended=False),
            Stretch(border.seq, self.through, second, self.received_us, self.ended),
        )

    def up_to(self, through: int) -> "Stretch":
        """The part of the stretch up to a seq, which lies within it."""
        if self.through <= through:
            return self
        events = tuple(event for event in self.events if event.seq <= through)
        received_us = events[-1].received_us if events else None
        return Stretch(self.after, through, events, received_us, ended=False)


class RestartLogError(Exception):
    """What a follower keeps of a log is behind its cursor: it was lost, or an older copy was restored.

    Attributes:
        after: The seq after which it must be followed again; -1 for the start.
    """

    def __init__(self, after: int) -> None:
        super().__init__(f"to be followed again after seq {after}")
        self.after = after


class Source(Protocol):
    """Reads logs in order. Implemented by `log`, which stands above."""

    async def read(self, log_id: int, after: int, received_us: int | None, *, limit: int, max_bytes: int) -> Stretch:
        """Read what follows a seq.

        Args:
            log_id: The log.
            after: Exclusive; -1 starts.
            received_us: Arrival of the event at `after`, or None where it is not known.
            limit: Most events.
            max_bytes: Bytes of bodies after which the stretch is cut; the event that crosses them is still in it.
        """
        ...

    async def size(self, log_id: int) -> int:
        """How many events a log has been given."""
        ...


class Follower(Protocol):
    """Follows every log, each in order. What it keeps is made of the logs alone, so that it can be made anew."""

    @property
    def name(self) -> str:
        """Its name in cursors, metrics and commands."""
        ...

    async def handle(self, log_id: int, stretch: Stretch) -> None:
        """Take in a stretch. Called again with the same or an overlapping one after a crash, so it must be idempotent.

        Raises:
            UnavailableError: Its engine does not answer: the same stretch comes again later.
            RestartLogError: Events before the stretch are missing in what it keeps.
            Exception: Anything else is the fault of an event, which is found by halving, and quarantined.
        """
        ...


@runtime_checkable
class Recorder(Protocol):
    """A follower that keeps what it makes in the database, in the transaction that moves its cursor: exactly once."""

    @property
    def name(self) -> str:
        """See `Follower`."""
        ...

    async def prepare(self, log_id: int, stretch: Stretch) -> "Recording":
        """Make of a stretch what is to be written. One that begins at the start of the log begins anew."""
        ...

    async def tidy(self, connection: "Connection", log_id: int, stretch: Stretch) -> None:
        """Do what is not needed for a stretch to count, after it does, in a transaction of its own under the lease.

        Where it fails, it is tried again after another stretch.
        """
        ...


Recording: TypeAlias = "Callable[[Connection], Awaitable[None]]"
"""Writes what was prepared, in the transaction that moves the cursor. What it raises undoes both."""
