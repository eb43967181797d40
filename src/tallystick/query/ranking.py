"""The most frequent values, out of counts that may be known in part: each source tells its own most frequent ones.

What a source leaves unsaid is bounded, so that it can be told whether a result is exact. The bounds are those of the
threshold algorithms of Fagin, Lotem and Naor: "Optimal aggregation algorithms for middleware", 2003.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import nlargest
from typing import NamedTuple


class Bounds(NamedTuple):
    """Between which numbers a count lies, both inclusive."""

    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Ranking:
    """The most frequent values of one source, or of several.

    Attributes:
        counts: Values, and how often they occur.
        unseen: No other value occurs more often than this.
    """

    counts: Mapping[str, Bounds] = field(default_factory=dict[str, Bounds])
    unseen: int = 0


def first_of(counts: Mapping[str, Bounds], missed: int, *, more: bool) -> Ranking:
    """What a source tells that gives its most frequent values.

    Args:
        counts: They.
        missed: What it may not have counted of any value.
        more: Whether it has others, each at most as frequent as the least of these.
    """
    return Ranking(counts, missed + (min(bounds.least for bounds in counts.values()) if more else 0))


def contenders(ranking: Ranking, limit: int) -> list[str]:
    """The values that may be among the most frequent, as far as they are told at all.

    Args:
        ranking: Out of which.
        limit: How many are the most frequent; 1 at least.
    """
    surest = nlargest(limit, (bounds.least for bounds in ranking.counts.values()))
    last = surest[-1] if len(surest) == limit else 0
    return [value for value, bounds in ranking.counts.items() if bounds.most >= last]


def settled(ranking: Ranking, counts: Mapping[str, int]) -> Ranking:
    """A ranking, now that it is known how often some of its values occur."""
    known = {value: Bounds(count, count) for value, count in counts.items()}
    return Ranking({**ranking.counts, **known}, ranking.unseen)


class Top(NamedTuple):
    """What is answered.

    Attributes:
        items: Values and their counts, the most frequent first; of equally frequent ones the lesser value.
        exact: Whether it is sure that these are the most frequent, and that they occur so often.
    """

    items: tuple[tuple[str, int], ...]
    exact: bool


def ranking_of(values: Iterable[str]) -> Ranking:
    """Count values, all of them; "" is none."""
    counts = Counter(values)
    counts.pop("", None)
    return Ranking({value: Bounds(count, count) for value, count in counts.items()})


def merge(rankings: Sequence[Ranking]) -> Ranking:
    """Add up what several sources tell, of which no event is in two."""
    unseen = sum(ranking.unseen for ranking in rankings)
    least: Counter[str] = Counter()
    most: Counter[str] = Counter()
    for ranking in rankings:
        for value, bounds in ranking.counts.items():
            least[value] += bounds.least
            most[value] += bounds.most - ranking.unseen
    return Ranking({value: Bounds(count, most[value] + unseen) for value, count in least.items()}, unseen)


def top(ranking: Ranking, limit: int) -> Top:
    """Take the most frequent values.

    Args:
        ranking: Out of which.
        limit: Most values; 1 at least.
    """
    ordered = sorted(ranking.counts.items(), key=lambda item: (-item[1].least, item[0]))
    shown, others = ordered[:limit], ordered[limit:]
    last = shown[-1][1].least if len(shown) == limit else 0
    exact = (
        ranking.unseen <= last
        and all(bounds.least == bounds.most for _, bounds in shown)
        and all(bounds.most <= last for _, bounds in others)
    )
    return Top(tuple((value, bounds.least) for value, bounds in shown), exact)
