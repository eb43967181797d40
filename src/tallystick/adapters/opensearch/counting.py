"""What is asked of OpenSearch to be counted, and what it answers."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Final, TypeAlias

from tallystick.adapters.opensearch.schema import Dsl
from tallystick.ports import CountRequest, Counts
from tallystick.query.facets import Facet
from tallystick.query.ranking import Bounds, Ranking, first_of

_Json: TypeAlias = Mapping[str, Any]

_KINDS: Final = 2_000
_PART_VALUES: Final = 5_000
"""Values that are taken out of each part. With more, the answer takes longer; with fewer, less of it is exact."""


def aggregations(request: CountRequest) -> Dsl:
    """What to count of the events that match."""
    asked: Dsl = {"newest": {"max": {"field": "seq"}}, "total": {"value_count": {"field": "seq"}}}
    for facet in request.facets:
        values = _KINDS if facet == "kind" else request.values
        asked[facet] = _terms(facet, values)
    if request.edges:
        bounds = [{"from": begin, "to": end} for begin, end in pairwise(request.edges)]
        asked["buckets"] = {"range": {"field": "occurred_us", "ranges": bounds}}
    return asked


def newest_seq(told: _Json) -> int:
    """The greatest seq that was counted; -1 for none."""
    newest = told["events"]["newest"]["value"] if told else None
    return -1 if newest is None else int(newest)


def read_counts(request: CountRequest, told: _Json, through: int) -> Counts:
    """Read what was counted."""
    if not told:  # there is no index
        return Counts(0, {facet: Ranking() for facet in request.facets}, (0,) * max(0, len(request.edges) - 1), through)
    events = told["events"]
    return Counts(
        total=events["total"]["value"],
        rankings={facet: _ranking(facet, events) for facet in request.facets},
        buckets=tuple(bucket["doc_count"] for bucket in events["buckets"]["buckets"]) if request.edges else (),
        through=through,
    )


def _terms(facet: Facet, values: int) -> Dsl:
    # Not by ordinals: those of an index that many logs share would be numbered anew after each append.
    return {
        "terms": {
            "field": facet,
            "size": values,
            "shard_size": max(values, _PART_VALUES),
            "execution_hint": "map",
            "show_term_doc_count_error": True,
        }
    }


def _ranking(facet: Facet, events: _Json) -> Ranking:
    """Read the values of a facet. Each tells by how much its count may be too low."""
    told = events[facet]
    counts = {
        bucket["key"]: Bounds(bucket["doc_count"], bucket["doc_count"] + bucket["doc_count_error_upper_bound"])
        for bucket in told["buckets"]
    }
    missed = told["doc_count_error_upper_bound"]
    if facet == "kind":  # every event is of one; those written by a release before have none to tell
        known = sum(bounds.least for bounds in counts.values()) + told["sum_other_doc_count"]
        missed += events["total"]["value"] - known
    return first_of(counts, missed, more=bool(told["sum_other_doc_count"]))
