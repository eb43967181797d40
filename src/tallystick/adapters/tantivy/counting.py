"""Counts what the rolls of one log hold."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from itertools import pairwise
from math import gcd
from typing import Any, Final, TypeAlias, cast

from tantivy import Query, Searcher

from tallystick.adapters.tantivy.opened import OpenRoll
from tallystick.adapters.tantivy.schema import SCHEMA, compile_query, every, number_range
from tallystick.adapters.tantivy.searching import EVER, apart, occurred_between, within
from tallystick.ports import CountRequest, Counts
from tallystick.query.facets import Facet
from tallystick.query.ranking import Bounds, Ranking, contenders, first_of, merge, settled, top

_Json: TypeAlias = Mapping[str, Any]
_Narrowed: TypeAlias = tuple[Searcher, Query]

_KINDS: Final = 2_000
"""More kinds than this are counted in part."""

_FIRST_VALUES: Final = 50
"""Values that are taken out of each segment: each is looked up in a dictionary, which is most of the work."""

_MORE_VALUES: Final = (500, 5_000)
"""So many are taken where fewer did not settle it, as where all are about equally frequent."""

_MOST_CONTENDERS: Final = 500

_MOST_CELLS: Final = 20_000
"""Cells of a grid. A grid is counted three times as fast as buckets between any moments."""


def count_rolls(rolls: Sequence[OpenRoll], request: CountRequest, through: int, threads: Executor) -> Counts:
    """Count what matches, several rolls at the same time.

    Args:
        rolls: All of a log.
        request: What to count.
        through: What lies beyond it is not counted: the list of rolls does not vouch for it yet.
        threads: Where each roll is counted; Tantivy lets go of the interpreter's lock meanwhile.
    """
    ranges, wanted = apart(request.query)
    low, high = within(ranges)
    query = compile_query(wanted)
    narrowed_rolls: list[_Narrowed] = []
    for opened in rolls:
        roll = opened.roll
        beyond = opened.searcher.num_docs > roll.documents
        if not beyond and (roll.newest_us < low or roll.oldest_us > high or not roll.documents):
            continue
        whole = not beyond and low <= roll.oldest_us and roll.newest_us <= high
        narrowed = [query, *occurred_between(*(EVER if whole else (low, high)))]
        if beyond:
            narrowed.append(number_range("seq", None, through))
        narrowed_rolls.append((opened.searcher, every(narrowed)))
    found = list(threads.map(partial(_aggregate, _aggregations(request)), narrowed_rolls))
    rankings: dict[Facet, Ranking] = {
        facet: merge([_ranking(answer[facet]) for answer in found]) for facet in request.facets
    }
    for facet in request.facets:
        if facet != "kind":
            rankings[facet] = _settle(rankings[facet], facet, request, narrowed_rolls, threads)
    return Counts(
        total=sum(_total(answer["kind"]) for answer in found),
        rankings=rankings,
        buckets=_buckets(request.edges, found),
        through=through,
    )


def _settle(
    ranking: Ranking, facet: Facet, request: CountRequest, rolls: Sequence[_Narrowed], threads: Executor
) -> Ranking:
    """Count exactly what may be among the most frequent values, as far as the first of each segment bound it.

    Where they bound too little, more values are taken out of each segment.
    """
    segments = sum(searcher.num_segments for searcher, _ in rolls)
    ranking = _count_contenders(ranking, facet, request, rolls, threads)
    for taken in _MORE_VALUES:
        if _is_settled(ranking, request.top):
            break
        # What each segment leaves unsaid is one event at least, so with all of them it may come to this.
        if taken < _MORE_VALUES[-1] and top(ranking, request.top).items[-1][1] <= segments:
            continue
        asked = {facet: _terms(facet, min(request.values, taken), taken)}
        told = merge([_ranking(answer[facet]) for answer in threads.map(partial(_aggregate, asked), rolls)])
        ranking = _count_contenders(told, facet, request, rolls, threads)
    return ranking


def _count_contenders(
    ranking: Ranking, facet: Facet, request: CountRequest, rolls: Sequence[_Narrowed], threads: Executor
) -> Ranking:
    # Twice as many as are shown, since what is not indexed yet may change their order.
    values = contenders(ranking, 2 * request.top)
    if _is_settled(ranking, request.top) or len(values) > _MOST_CONTENDERS:
        return ranking
    counts: Counter[str] = Counter()
    for counted in threads.map(partial(_count_values, facet, values), rolls):
        counts.update(counted)
    return settled(ranking, {value: counts[value] for value in values})


def _is_settled(ranking: Ranking, most: int) -> bool:
    """Whether the first are known, and no value that was not told is as frequent as the last of them."""
    found = top(ranking, most)
    return found.exact and (not ranking.unseen or ranking.unseen < found.items[-1][1])


def _count_values(facet: Facet, values: Sequence[str], narrowed: _Narrowed) -> dict[str, int]:
    searcher, query = narrowed
    chosen = every([query, Query.term_set_query(SCHEMA, facet, list(values))])
    told = _aggregate({facet: _terms(facet, len(values), len(values))}, (searcher, chosen))
    return {bucket["key"]: bucket["doc_count"] for bucket in told[facet]["buckets"]}


def _aggregate(asked: _Json, narrowed: _Narrowed) -> _Json:
    searcher, query = narrowed
    # The bindings say `dict`, and no more.
    return cast("_Json", searcher.aggregate(query, dict(asked)))  # pyright: ignore[reportUnknownMemberType]


def _aggregations(request: CountRequest) -> _Json:
    # Every event is of one kind, so that kinds give the total.
    asked: dict[str, Any] = {"kind": _terms("kind", _KINDS, _KINDS)}
    for facet in request.facets:
        if facet != "kind":
            first = max(_FIRST_VALUES, 2 * request.top)
            asked[facet] = _terms(facet, min(request.values, first), first)
    if grid := _grid(request.edges):
        origin, width = grid
        offset = origin % width
        asked["buckets"] = {
            "histogram": {"field": "occurred_us", "interval": width, "offset": offset, "min_doc_count": 1}
        }
    elif request.edges:
        bounds = [{"from": float(begin), "to": float(end)} for begin, end in pairwise(request.edges)]
        asked["buckets"] = {"range": {"field": "occurred_us", "ranges": bounds}}
    return asked


def _terms(facet: Facet, values: int, of_segment: int) -> _Json:
    return {"terms": {"field": facet, "size": values, "segment_size": of_segment}}


def _total(told: _Json) -> int:
    return sum(bucket["doc_count"] for bucket in told["buckets"]) + told["sum_other_doc_count"]


def _ranking(told: _Json) -> Ranking:
    """Read the values of a facet: a count may be too low by what segments left unsaid."""
    missed = told["doc_count_error_upper_bound"]
    counts = {bucket["key"]: Bounds(bucket["doc_count"], bucket["doc_count"] + missed) for bucket in told["buckets"]}
    return first_of(counts, missed, more=bool(told["sum_other_doc_count"]))


def _grid(edges: Sequence[int]) -> tuple[int, int] | None:
    """Where a grid begins on which all edges lie, and how wide its cells are; None where it had too many."""
    if len(edges) < 2:  # a bucket has two
        return None
    width = gcd(*(end - begin for begin, end in pairwise(edges)))
    return (edges[0], width) if edges[-1] - edges[0] <= width * _MOST_CELLS else None


def _buckets(edges: Sequence[int], found: Sequence[_Json]) -> tuple[int, ...]:
    counts = [0] * max(0, len(edges) - 1)
    if not counts:
        return ()
    for answer in found:
        for bucket in answer["buckets"]["buckets"]:
            begin = bucket.get("from", bucket["key"])
            if not isinstance(begin, str) and edges[0] <= begin < edges[-1]:
                counts[bisect_right(edges, begin) - 1] += bucket["doc_count"]
    return tuple(counts)
