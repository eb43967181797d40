"""What was measured, request by request, in columns: an hour's worth fits in memory and travels between processes."""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

UNANSWERED = 0
"""The status of a request whose connection broke, or that was not answered in time."""


class Sample(NamedTuple):
    """One request.

    Attributes:
        stream: The place of its stream in the scenario.
        due: In seconds from the beginning.
        late: Seconds from then until the generator came to it; part of ``seconds``.
        seconds: From when it was due until it was answered for good, the waits that refusals asked for included.
        status: Of that last answer.
        answered: Whether it was as it must be.
    """

    stream: int
    due: float
    late: float
    seconds: float
    status: int
    answered: bool


class Refusal(NamedTuple):
    """An answer that let a request wait, or ended it: there may be several before a request is answered.

    Attributes:
        moment: When it came, in seconds from the beginning.
        due: When the request was.
        stream: Of the request.
        status: Of the answer.
    """

    moment: float
    due: float
    stream: int
    status: int


class Freshness(NamedTuple):
    """How soon an event could be searched for.

    Attributes:
        moment: When it was acknowledged, in seconds from the beginning.
        found: Seconds until a search had found it; None where none did.
        indexed: Seconds until it was seen to be in the index; None where it was not.
        missed: Whether a search that said to be complete was without it.
    """

    moment: float
    found: float | None
    indexed: float | None
    missed: bool


def _columns(code: str) -> "array[float]":
    return array(code)


@dataclass(slots=True)
class Samples:
    """The requests of a run, or of a moment of it, in the order of their answers.

    Attributes:
        refusals: Each of them.
        freshness: Of the events that were searched for.
        flaws: Answers whose body was not what it must be, by the request's kind and what was wrong.
    """

    streams: "array[int]" = field(default_factory=lambda: array("H"))
    dues: "array[float]" = field(default_factory=lambda: _columns("d"))
    lates: "array[float]" = field(default_factory=lambda: _columns("f"))
    seconds: "array[float]" = field(default_factory=lambda: _columns("d"))
    statuses: "array[int]" = field(default_factory=lambda: array("H"))
    answered: bytearray = field(default_factory=bytearray)
    refusals: list[Refusal] = field(default_factory=list[Refusal])
    freshness: list[Freshness] = field(default_factory=list[Freshness])
    flaws: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])

    def add(self, sample: Sample) -> None:
        """Note a request."""
        self.streams.append(sample.stream)
        self.dues.append(sample.due)
        self.lates.append(sample.late)
        self.seconds.append(sample.seconds)
        self.statuses.append(sample.status)
        self.answered.append(sample.answered)

    def flaw(self, kind: str, what: str) -> None:
        """Note an answer whose body was not what it must be."""
        self.flaws[kind, what] = self.flaws.get((kind, what), 0) + 1

    def merge(self, other: "Samples") -> None:
        """Note what another has."""
        self.streams += other.streams
        self.dues += other.dues
        self.lates += other.lates
        self.seconds += other.seconds
        self.statuses += other.statuses
        self.answered += other.answered
        self.refusals += other.refusals
        self.freshness += other.freshness
        for found, count in other.flaws.items():
            self.flaws[found] = self.flaws.get(found, 0) + count

    def __iter__(self) -> Iterator[Sample]:
        """Give each request."""
        columns = (self.streams, self.dues, self.lates, self.seconds, self.statuses, self.answered)
        for stream, due, late, seconds, status, answered in zip(*columns, strict=True):
            yield Sample(stream, due, late, seconds, status, bool(answered))
