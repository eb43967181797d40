"""What was read of a log for one audience and is still owed to some of it: bounded in bytes, shared, never copied."""

from collections import deque
from typing import Final, NamedTuple

_OVERHEAD: Final = 100
"""What a passage takes beside its frames, in bytes."""


class Passage(NamedTuple):
    """What one reading of a log means to an audience.

    Attributes:
        after: The seq before its first.
        through: Its last seq.
        frames: What is to be sent; None where nothing is.
        events: How many events are in them.
    """

    after: int
    through: int
    frames: bytes | None
    events: int = 0

    @property
    def size(self) -> int:
        """Bytes that it takes, roughly."""
        return _OVERHEAD + (0 if self.frames is None else len(self.frames))


class Ring:
    """Passages by number, the newest of which are kept. Each begins where the one before it ends.

    Args:
        max_bytes: What they may hold together; the newest is kept however long it is.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._passages: deque[Passage] = deque()
        self._bytes = 0
        self.first = 0

    @property
    def end(self) -> int:
        """The number that the next passage will have."""
        return self.first + len(self._passages)

    @property
    def bytes(self) -> int:
        """What is held."""
        return self._bytes

    def __getitem__(self, number: int) -> Passage:
        return self._passages[number - self.first]

    def append(self, passage: Passage) -> None:
        """Take in the next passage; where that is too much, let go of the oldest."""
        self._passages.append(passage)
        self._bytes += passage.size
        while self._bytes > self._max_bytes and len(self._passages) > 1:
            self.drop_first()

    def drop_first(self) -> None:
        """Let go of the oldest passage."""
        self._bytes -= self._passages.popleft().size
        self.first += 1

    def forget(self, before: int) -> None:
        """Let go of the passages before a number."""
        while self.first < before and self._passages:
            self.drop_first()
