"""What is asked of statistics, and what they are."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from itertools import pairwise
from typing import Final, Literal, NamedTuple, TypeAlias
from zoneinfo import ZoneInfo

from tallystick.query.ast import SEVERITIES, And, Equals, Everything, Node, OneOf, SeverityAtLeast
from tallystick.query.facets import Facet
from tallystick.query.ranking import Top
from tallystick.stats.calendar import Interval, boundaries
from tallystick.stats.rolling import QUARTER_US, WIDTHS

By: TypeAlias = Literal["action", "resource_type", "severity", "user_id", "resource"]

RANKED: Final[Mapping[By, Facet]] = {"user_id": "actor", "resource": "resource"}
"""What may have any number of values; the others are parts of an event's kind."""

KINDS: Final[tuple[By, ...]] = ("action", "resource_type", "severity")

MOST_BUCKETS: Final = 1_000

_MINUTE_US: Final = 60_000_000


@dataclass(frozen=True, slots=True)
class Period:
    """A stretch of time, cut into buckets.

    Attributes:
        edges: Two or more moments in Unix microseconds, ascending; two that follow each other bound a bucket. Each
            begins with the first and ends before the second.
    """

    edges: tuple[int, ...]

    @property
    def from_us(self) -> int:
        """When it begins."""
        return self.edges[0]

    @property
    def to_us(self) -> int:
        """When it ends, exclusive."""
        return self.edges[-1]

    @property
    def whole_quarters(self) -> bool:
        """Whether every edge lies between two quarters of an hour, so that rollups tell all of it."""
        return all(edge % QUARTER_US == 0 for edge in self.edges)


def period(from_us: int, to_us: int, interval: Interval | None, zone: tzinfo) -> Period:
    """Cut a stretch of time at each beginning of an hour, day, week or month; one bucket without an interval.

    Raises:
        ValueError: That makes too many buckets.
    """
    edges = [from_us]
    if interval is not None:
        for begin in boundaries(from_us, to_us, interval, zone):
            edges.append(begin)
            if len(edges) > MOST_BUCKETS:
                raise ValueError(f"makes more than {MOST_BUCKETS} buckets; take a wider one, or a shorter period")
    return Period((*edges, to_us))


@dataclass(frozen=True, slots=True)
class StatsQuery:
    """What is asked.

    Attributes:
        filters: Which events count.
        period: When they occurred.
        previous: The period to compare with, if any.
        by: What to count them by.
        top: Most values of each.
        cut: Whether the buckets of the periods are wanted.
        zone: The time zone that they are told in.
    """

    filters: Node
    period: Period
    previous: Period | None
    by: tuple[By, ...]
    top: int
    cut: bool
    zone: ZoneInfo

    @property
    def facets(self) -> tuple[Facet, ...]:
        """What has to be ranked."""
        return tuple(facet for by, facet in RANKED.items() if by in self.by)

    @property
    def kinds(self) -> tuple[By, ...]:
        """The parts of an event's kind that have to be counted."""
        return tuple(by for by in KINDS if by in self.by)


Source: TypeAlias = Literal["rollups", "index"]


@dataclass(frozen=True, slots=True)
class Counted:
    """What was counted of one period.

    Attributes:
        period: Which.
        through: All events up to this seq were counted, and none after it; -1 for none.
        total: Events.
        buckets: Events of each bucket.
        lists: The most frequent values of each that was asked for. A resource is as `query.facets` writes it.
    """

    period: Period
    through: int
    total: int
    buckets: tuple[int, ...]
    lists: Mapping[By, Top]


@dataclass(frozen=True, slots=True)
class Stats:
    """What is answered.

    Attributes:
        source: What it was counted by.
        now: The period that was asked for.
        before: The one to compare it with, if that was asked for.
    """

    source: Source
    now: Counted
    before: Counted | None


@dataclass(frozen=True, slots=True)
class KindFilter:
    """A filter that rollups can answer: by parts of an event's kind. None is no filter."""

    actions: frozenset[str] | None = None
    resource_types: frozenset[str] | None = None
    severities: frozenset[str] | None = None


def kind_filter(node: Node) -> KindFilter | None:
    """Read a filter that asks for parts of an event's kind and nothing else; None where it asks for more."""
    found: dict[str, frozenset[str]] = {}
    for part in node.parts if isinstance(node, And) else (node,):
        match part:
            case Everything():
                continue
            case Equals(field, value):
                values = frozenset((value,))
            case OneOf(field, values):
                pass
            case SeverityAtLeast(severity):
                field, values = "severity", frozenset(SEVERITIES[SEVERITIES.index(severity) :])
            case _:
                return None
        if field not in KINDS:
            return None
        found[field] = found[field] & values if field in found else values
    return KindFilter(found.get("action"), found.get("resource_type"), found.get("severity"))


class Piece(NamedTuple):
    """A part of a bucket that rollups of one width cover.

    Attributes:
        minutes: The width.
        from_us: Where it begins.
        to_us: Where it ends.
        bucket: Which bucket, from 0.
    """

    minutes: int
    from_us: int
    to_us: int
    bucket: int


def pieces(edges: Sequence[int]) -> Iterator[Piece]:
    """Cover buckets with the widest rollups that fit, and with narrower ones at their ends.

    Args:
        edges: As of a `Period` of whole quarters of an hour.
    """
    for bucket, (begin, end) in enumerate(pairwise(edges)):
        yield from _cover(begin, end, bucket, WIDTHS)


def _cover(begin: int, end: int, bucket: int, widths: Sequence[int]) -> Iterator[Piece]:
    if begin == end:
        return
    *narrower, minutes = widths
    width = minutes * _MINUTE_US
    first, last = -(-begin // width) * width, end // width * width
    if first >= last:
        yield from _cover(begin, end, bucket, narrower)
        return
    yield from _cover(begin, first, bucket, narrower)
    yield Piece(minutes, first, last, bucket)
    yield from _cover(last, end, bucket, narrower)
