"""What a scenario is: streams of requests, phases with a rate for each of them, and when each request is due."""

import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise
from typing import Final, NamedTuple


class Group(StrEnum):
    """Streams that are plotted together."""

    APPENDS = "Appends"
    READS = "Reads"
    FLOOD = "The flood"
    PROBES = "Probes"


class Ask(StrEnum):
    """What a request asks for."""

    APPEND = "append"
    PROBE = "probe"
    NEWEST = "newest"
    BY_ID = "by id"
    FIELD = "field"
    WORD = "word"
    PHRASE = "phrase"
    METADATA = "metadata"
    STATS = "stats"
    SYNC = "sync"


@dataclass(frozen=True, slots=True)
class Stream:
    """Requests of one kind.

    Attributes:
        kind: What they are called in the report.
        group: With what they are plotted.
        ask: What they ask for.
        tenants: The first and the last (exclusive) of the scenario's tenants that they belong to.
        events: Of one request, where it appends.
        zipf: Whether the first tenants get most of them, the second half as many as the first, and so on (Zipf's law).
    """

    kind: str
    group: Group
    ask: Ask
    tenants: tuple[int, int]
    events: int = 1
    zipf: bool = False

    @property
    def apart(self) -> bool:
        """Whether a process of their own sends them: so many that they would delay the others."""
        return self.group is Group.FLOOD

    @property
    def patient(self) -> bool:
        """Whether a refused request waits as long as the server says, and is sent again."""
        return self.group is not Group.FLOOD


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of time with constant rates.

    Attributes:
        name: In the report.
        seconds: How long.
        rates: Requests a second of each of the scenario's streams.
        measured: False while connections are opened and caches fill.
    """

    name: str
    seconds: float
    rates: tuple[float, ...]
    measured: bool = True


class Due(NamedTuple):
    """One request.

    Attributes:
        moment: When it is due, in seconds from the beginning.
        stream: The place of its stream in the scenario.
    """

    moment: float
    stream: int


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is sent when.

    Attributes:
        name: As the command calls it.
        streams: What is sent.
        phases: In their order.
        tenants: How many there are, the busiest first.
    """

    name: str
    streams: tuple[Stream, ...]
    phases: tuple[Phase, ...]
    tenants: int

    @property
    def seconds(self) -> float:
        """How long it takes."""
        return sum(phase.seconds for phase in self.phases)

    @property
    def bounds(self) -> list[tuple[float, float, Phase]]:
        """When each phase begins and ends."""
        ends = [0.0]
        for phase in self.phases:
            ends.append(ends[-1] + phase.seconds)
        return [(begin, end, phase) for (begin, end), phase in zip(pairwise(ends), self.phases, strict=True)]

    def phase_at(self, moment: float) -> Phase:
        """The phase of a moment; the last one after all."""
        return next((phase for _, end, phase in self.bounds if moment < end), self.phases[-1])

    def rate(self, phase: Phase, group: Group) -> float:
        """What is asked for in a phase: events a second of streams that append, else requests."""
        return sum(
            rate * stream.events
            for stream, rate in zip(self.streams, phase.rates, strict=True)
            if stream.group is group
        )

    def shortened(self, seconds: float) -> "Scenario":
        """What it was, if it is ended after so many seconds: a phase that did not begin is not in it."""
        phases = [replace(phase, seconds=min(phase.seconds, seconds - begin)) for begin, _, phase in self.bounds]
        return replace(self, phases=tuple(phase for phase in phases if phase.seconds > 0) or self.phases[:1])


_GOLDEN: Final = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True, slots=True)
class Share:
    """Which part of a scenario one process sends: each n-th request of each stream, or the streams that are apart."""

    number: int
    of: int
    apart: bool = False


def schedule(scenario: Scenario, share: Share) -> Iterator[Due]:
    """When each request of a process is due, in order. Streams are offset, so that none is due with another."""
    streams = [
        _dues(scenario, number, share) for number, stream in enumerate(scenario.streams) if stream.apart is share.apart
    ]
    return heapq.merge(*streams)


def _dues(scenario: Scenario, stream: int, share: Share) -> Iterator[Due]:
    offset = (stream + 1) * _GOLDEN % 1
    for begin, _, phase in scenario.bounds:
        rate = phase.rates[stream]
        for number in range(share.number, round(phase.seconds * rate), share.of):
            yield Due(begin + (number + offset) / rate, stream)


def zipf_weights(count: int) -> Sequence[float]:
    """Cumulative shares of ``count`` tenants of which the n-th is 1/n as active as the first."""
    total, weights = 0.0, list[float]()
    for rank in range(1, count + 1):
        total += 1 / rank
        weights.append(total)
    return weights
