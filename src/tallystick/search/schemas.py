"""Listings and searches on the wire: their parameters as OpenAPI describes them, and what a page looks like."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import Field

from tallystick.log.identity import MAX_SEQ
from tallystick.log.reader import DEFAULT_LIMIT, MAX_LIMIT
from tallystick.log.schemas_read import TENANT_PARAMETER, Event, Wire, query_parameter
from tallystick.query.ast import SEVERITIES
from tallystick.query.parser import MAX_LENGTH
from tallystick.search.parameters import ORDERS


class RemovedRange(Wire):
    """Consecutive seqs whose events retention or cleanup took."""

    first_seq: int = Field(ge=0, description="The first of them.")
    last_seq: int = Field(ge=0, description="The last of them.")
    reason: str = Field(description="Why.")


class HighlightedValue(Wire):
    """A value in which words of `q` stand."""

    pointer: str = Field(description="JSON Pointer (RFC 6901) of the value within the event.")
    ranges: list[Annotated[list[int], Field(min_length=2, max_length=2)]] = Field(
        description="Begin and end of each place in the value, counted in Unicode code points. None where the value is"
        " a number or a truth value."
    )


class EventList(Wire):
    """A page of events."""

    items: list[Event] = Field(description="The events; a page may have none and yet a `next`.")
    next: str | None = Field(description="Cursor of the next page; null at the end, and only there.")
    prev: str | None = Field(description="Cursor of the page before; null at the start, and with order=seq.")
    after_seq: int | None = Field(
        default=None,
        description="With order=seq only: all up to this seq is in the page, filtered out or removed. Ask for more"
        " from here, now or later.",
    )
    removed: list[RemovedRange] | None = Field(
        default=None,
        description="With order=seq only: what was removed up to `after_seq`. Absent where the token sees only a part.",
    )
    indexed_through: int | None = Field(
        default=None,
        description="Where the search index answered: all events up to this seq were in it; -1 for none. Later ones"
        " were looked at directly.",
    )
    complete: bool | None = Field(
        default=None,
        description="Where the search index answered: whether all events were looked at. False while it is far behind:"
        " some after `indexed_through` may be missing.",
    )
    highlights: list[list[HighlightedValue]] | None = Field(
        default=None, description="With `highlight`: for each item the values in which words of `q` stand."
    )


def _several(name: str, description: str, example: str, items: Mapping[str, Any] | None = None) -> dict[str, Any]:
    schema = {"type": "array", "maxItems": 100, "items": items or {"type": "string", "minLength": 1}}
    several = query_parameter(name, f"{description} Repeated: any of them.", schema, [example])
    return {**several, "style": "form", "explode": True}


_MOMENT: Final = {"type": "string", "format": "date-time"}
_SEVERITY: Final = {"type": "string", "enum": list(SEVERITIES)}

LIST_PARAMETERS: Final = (
    {**TENANT_PARAMETER},
    query_parameter(
        "q",
        'Words, "phrases", begin*, field:value, ranges, AND, OR, NOT and parentheses: see the query language.',
        {"type": "string", "minLength": 1, "maxLength": MAX_LENGTH},
        'approve* AND metadata.amount:>=1000 NOT user_id:"maria@acme.example"',
    ),
    query_parameter("from", "Occurred at or after: RFC 3339 with an offset.", _MOMENT, "2026-11-23T00:00:00Z"),
    query_parameter("to", "Occurred before: RFC 3339 with an offset.", _MOMENT, "2026-11-25T00:00:00Z"),
    query_parameter(
        "order",
        "By occurrence, the newest or the oldest first, ties by seq; or by seq, for those who keep a copy.",
        {"type": "string", "enum": list(ORDERS), "default": "newest"},
        "newest",
    ),
    query_parameter(
        "after_seq",
        "With order=seq: where to start, exclusive; -1 is the beginning. To go on: the last item's `seq`, or the"
        " answer's `after_seq`.",
        {"type": "integer", "minimum": -1, "maximum": MAX_SEQ, "default": -1},
    ),
    query_parameter(
        "limit",
        "Most events of a page. A page of large events may end before.",
        {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
        DEFAULT_LIMIT,
    ),
    query_parameter(
        "cursor",
        "`next` or `prev` of a page of this query. Repeat the query's other parameters; only `limit` may change.",
        {"type": "string", "maxLength": 256},
    ),
    query_parameter(
        "highlight",
        "Whether to tell where the words of `q` stand in each event.",
        {"type": "boolean", "default": False},
    ),
    _several("user_id", "Who did it, exactly.", "maria@acme.example"),
    _several("session_id", "The session it was done in, exactly.", "s-81f2"),
    _several("action", "What was done, exactly.", "invoice.approve"),
    _several("resource_type", "Kind of the thing it was done to, exactly.", "invoice"),
    _several("resource_id", "The thing it was done to, exactly.", "inv-2026-0815"),
    _several("request_id", "Correlation id, exactly.", "req-7d1c"),
    _several("event_id", "The client's own id of the event, exactly.", "billing-000042"),
    _several("user_agent", "The client program, exactly.", "billing/2.1"),
    _several("severity", "How much it matters.", "ERROR", _SEVERITY),
    query_parameter("min_severity", "At least this severity.", _SEVERITY, "WARNING"),
    _several("ip", "Came from this address or network (CIDR), IPv4 or IPv6.", "203.0.113.0/24"),
)
"""The query parameters of a listing, as OpenAPI describes them."""


def body_member(parameter: Mapping[str, Any]) -> dict[str, Any]:
    """A parameter as a member of a JSON body: one that may be repeated is a string or an array of them."""
    schema: Mapping[str, Any] = parameter["schema"]
    if schema["type"] == "array":
        several = {"type": "array", "minItems": 1, "maxItems": schema["maxItems"], "items": schema["items"]}
        schema = {"anyOf": [schema["items"], several]}
    return {**schema, "description": parameter["description"]}


SEARCH_BODY: Final[Mapping[str, Any]] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {parameter["name"]: body_member(parameter) for parameter in LIST_PARAMETERS},
}
"""The JSON body of a search, as OpenAPI describes it."""

SEARCHES: Final[dict[str, Any]] = {
    "words": {
        "summary": "Words, where they stand, and a filter",
        "value": {"q": '"invoice approved" OR refund*', "severity": ["WARNING", "ERROR"], "highlight": True},
    },
    "everything": {"summary": "The newest events", "value": {}},
    "fields": {
        "summary": "Paths and ranges",
        "value": {
            "q": "metadata.amount:[1000 TO 5000] AND NOT after.state:open",
            "from": "2026-11-23T00:00:00Z",
            "order": "oldest",
            "limit": 100,
        },
    },
}
"""Examples of the body."""

LINK: Final = {"Link": {"description": "The pages after and before (RFC 8288).", "schema": {"type": "string"}}}
"""The headers of a page, as OpenAPI describes them."""

DOWN: Final = {"description": "The search index does not answer; what needs no index goes on: see `GET /logs`."}
"""The answer 503 of what needs the index, as OpenAPI describes it."""
