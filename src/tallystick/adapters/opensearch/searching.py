"""One page out of the parts of a log, and how much of the log they vouch for.

What a search has seen must come from the snapshot that answered. So each part holds, beside its events, two small
documents, its *markers*: every event of the log after one seq, up to another, is in this part. They are written after
those events, to the same shard, so whichever copy shows a marker shows the events, however far that copy is behind.
One of them sorts before every event when the newest come first, the other when the oldest do: the page and the markers
are hits of the same search, with no point in time to be held open and no aggregation that would look at every match.
A marker cannot follow a position, so the position of a page is a filter and no `search_after`.

Parts follow each other without a gap. Where there is one, the log is vouched for up to it: a part is lost, or the copy
of it that answered is behind.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from tallystick.adapters.opensearch.bulk import Operation, operation
from tallystick.adapters.opensearch.schema import MARKERS, Dsl, every, some
from tallystick.ports import Hit, SearchOrder, SearchRequest

_BEFORE_ALL: Final[Mapping[str, int]] = {"newest": (1 << 63) - 1, "oldest": -(1 << 63)}

ANSWERED: Final = "_shards.total,hits.hits._index,hits.hits.sort,hits.hits.fields,aggregations"
"""What is needed of an answer (`filter_path`)."""


@dataclass(frozen=True, slots=True)
class Marker:
    """What a part holds.

    Attributes:
        after: It begins after this seq.
        through: Every event up to this seq is in it.
        documents: How many that are.
    """

    after: int
    through: int
    documents: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What a search found.

    Attributes:
        hits: In the order asked for.
        markers: Of the parts, by index.
        parts: How many were looked at.
        aggregations: What was counted.
    """

    hits: Sequence[Hit]
    markers: Mapping[str, Marker]
    parts: int
    aggregations: Mapping[str, Any] = field(default_factory=dict[str, Any])


def vouched(markers: Iterable[Marker]) -> int:
    """The seq up to which parts hold the whole log; -1 for none."""
    through = -1
    for marker in sorted(markers, key=lambda marker: marker.after):
        if marker.after > through:
            break
        through = marker.through
    return through


def has_gap(markers: Collection[Marker]) -> bool:
    """Whether a part begins beyond what the parts before it hold."""
    return any(marker.after > vouched(markers) for marker in markers)


def marker_operations(build: str, marker: Marker) -> list[Operation]:
    """Write how far a part is; one that tells of more stays."""
    return [
        operation(
            marker.through,
            f"{build}-{order}",
            orjson.dumps(
                {
                    "log": build,
                    "marker": order,
                    "occurred_us": _BEFORE_ALL[order],
                    "after": marker.after,
                    "through": marker.through,
                    "documents": marker.documents,
                }
            ),
            version=marker.through + 1,
        )
        for order in MARKERS
    ]


def markers_search(parts: int) -> Dsl:
    """Ask for the markers alone."""
    return _search({"term": {"marker": MARKERS[0]}}, "newest", parts)


def page_search(request: SearchRequest, query: Dsl, bound: int | None) -> Callable[[int], Dsl]:
    """Ask for a page, and the markers before it, of which there may be a number yet to be said.

    Args:
        request: The page.
        query: Its query, compiled.
        bound: Events after this seq are passed over.
    """
    narrowed = [query]
    if request.after is not None:
        narrowed.append(_beyond(request.after, request.order))
    either = some([{"term": {"marker": request.order}}, _events_alone(narrowed, bound)])
    return lambda parts: _search(either, request.order, parts + request.limit)


def count_search(query: Dsl, aggregations: Dsl, bound: int | None) -> Callable[[int], Dsl]:
    """Ask for the markers, and for what is counted of the events that match; the arguments are as of `page_search`."""
    events = _events_alone([query], bound)
    either = some([{"term": {"marker": MARKERS[0]}}, events])
    counted = {"events": {"filter": events, "aggs": aggregations}}
    return lambda parts: {**_search(either, "newest", parts), "aggs": counted}


def _events_alone(queries: Sequence[Dsl], bound: int | None) -> Dsl:
    """The events that match all queries, markers left out, up to a seq."""
    narrowed = [*queries, *([] if bound is None else [{"range": {"seq": {"lte": bound}}}])]
    return {"bool": {"filter": narrowed, "must_not": [{"terms": {"marker": MARKERS}}]}}


def read_answer(found: Mapping[str, Any]) -> Answer:
    """Read what was asked for."""
    hits: list[Hit] = []
    markers: dict[str, Marker] = {}
    for hit in found.get("hits", {}).get("hits", ()):
        fields = {name: value for name, (value,) in hit["fields"].items()}
        if "through" in fields:
            markers[hit["_index"]] = Marker(fields["after"], fields["through"], fields["documents"])
        else:
            occurred_us, seq = hit["sort"]
            hits.append(Hit(seq, fields["received_us"], occurred_us))
    return Answer(hits, markers, found["_shards"]["total"], found.get("aggregations", {}))


def _search(query: Dsl, order: SearchOrder, size: int) -> Dsl:
    direction = "desc" if order == "newest" else "asc"
    return {
        "size": size,
        "query": every([query]),
        "sort": [{"occurred_us": direction}, {"seq": direction}],
        "track_total_hits": False,
        "stored_fields": "_none_",
        "docvalue_fields": ["received_us", "after", "through", "documents"],
    }


def _beyond(after: tuple[int, int], order: SearchOrder) -> Dsl:
    moment, seq = after
    further = "lt" if order == "newest" else "gt"
    return some(
        [
            {"range": {"occurred_us": {further: moment}}},
            every([{"term": {"occurred_us": moment}}, {"range": {"seq": {further: seq}}}]),
        ]
    )
