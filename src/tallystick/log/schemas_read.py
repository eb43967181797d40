"""The wire of reading: what the query string of a listing may say, and what an answered event looks like."""

import re
from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from tallystick.errors import Flaw, InvalidError
from tallystick.log.identity import MAX_SEQ
from tallystick.log.query_string import Values, first, one, page_size, refuse
from tallystick.log.reader import DEFAULT_LIMIT, MAX_LIMIT, ListQuery, Order
from tallystick.query.ast import SEVERITIES, Everything, Node
from tallystick.query.filters import PARAMETERS, FilterParams, to_filter
from tallystick.query.timestamps import parse_timestamp

SEVERAL: Final = tuple(name for name in PARAMETERS if name != "min_severity")
"""Parameters of a listing that may be repeated: their values are alternatives."""

LISTING: Final = ("tenant_id", "from", "to", "order", "after_seq", "limit", "cursor", *PARAMETERS)
"""Every parameter of a listing."""

_ORDERS: Final[Mapping[str, Order]] = {"newest": "newest", "oldest": "oldest", "seq": "seq"}


def list_query(values: Values) -> ListQuery:
    """Read a listing's query out of its parameters.

    Raises:
        InvalidError: With a flaw for each parameter that is not valid.
    """
    flaws: list[Flaw] = []
    order: Order = one(values, "order", _order, "newest", flaws)
    from_us = one(values, "from", _moment, None, flaws)
    to_us = one(values, "to", _moment, None, flaws)
    limit = one(values, "limit", page_size, DEFAULT_LIMIT, flaws)
    after_seq = one(values, "after_seq", _after_seq, -1, flaws)
    if from_us is not None and to_us is not None and to_us < from_us:
        flaws.append(Flaw("lies before `from`", parameter="to"))
    if "after_seq" in values and order != "seq":
        flaws.append(Flaw("needs order=seq", parameter="after_seq"))
    filters: Node = Everything()
    try:
        filters = to_filter(FilterParams.from_values(values))
    except InvalidError as error:
        flaws += error.flaws
    refuse(flaws)
    return ListQuery(filters, order, from_us, to_us, limit, after_seq, first(values, "cursor"))


def _order(text: str) -> Order:
    if text not in _ORDERS:
        raise ValueError(f"must be one of {', '.join(_ORDERS)}")
    return _ORDERS[text]


def _moment(text: str) -> int:
    if re.fullmatch(r"\S+ \d\d:\d\d", text):
        raise ValueError("has a space before the offset: in a query string, write + as %2B")
    return parse_timestamp(text)


def _after_seq(text: str) -> int:
    if not re.fullmatch(r"-1|[0-9]{1,13}", text) or int(text) > MAX_SEQ:
        raise ValueError(f"must be a whole number from -1 to {MAX_SEQ}")
    return int(text)


class _Wire(BaseModel):
    model_config = ConfigDict(extra="forbid")


class WrittenBy(_Wire):
    """The token that wrote an event: any writer may name any `user_id`, so the true author is on record."""

    issuer: str = Field(description="`iss` of the token.")
    subject: str = Field(description="`sub` of the token.")


class Event(_Wire):
    """An event as it is stored, with its place in the log. Fields that were not sent are absent."""

    seq: int = Field(ge=0, description="Position in the tenant's log: 0, 1, 2, … without gaps.")
    leaf_hash: str = Field(
        pattern="^[0-9a-f]{64}$",
        description='SHA-256 of a zero byte and the stored body: this answer\'s bytes with `{"seq":…,"leaf_hash":"…",`'
        " replaced by `{` (RFC 6962 §2.1).",
    )
    id: str = Field(description="UUIDv7 of the arrival, made by the server.", json_schema_extra={"format": "uuid"})
    received_at: str = Field(
        description="When the server took it, in UTC to the millisecond.", json_schema_extra={"format": "date-time"}
    )
    timestamp: str = Field(
        description="When it happened, as sent; `received_at` where it was absent.",
        json_schema_extra={"format": "date-time"},
    )
    tenant_id: str = Field(description="The tenant whose event it is.")
    action: str = Field(description="What was done.")
    resource_type: str = Field(description="Kind of the thing it was done to.")
    resource_id: str | None = Field(default=None, description="Which one of that kind.")
    user_id: str | None = Field(default=None, description="Who did it.")
    session_id: str | None = Field(default=None, description="The session it was done in.")
    request_id: str | None = Field(default=None, description="Correlates the events of one request across services.")
    event_id: str | None = Field(default=None, description="The client's own id of the event.")
    ip_address: str | None = Field(default=None, description="Where it came from: IPv4 or IPv6, as sent.")
    user_agent: str | None = Field(default=None, description="The client program, as it named itself.")
    severity: Literal["INFO", "WARNING", "ERROR", "CRITICAL"] = Field(description="How much it matters.")
    message: str | None = Field(default=None, description="One line for people.")
    before: dict[str, Any] | None = Field(default=None, description="The resource before; null if new.")
    after: dict[str, Any] | None = Field(default=None, description="The resource after; null if gone.")
    metadata: dict[str, Any] | None = Field(default=None, description="Anything else.")
    written_by: WrittenBy = Field(description="The token that wrote it.")
    salt: str = Field(description="96 random bits in hex: the leaf hash tells nothing to who may not see the event.")


class RemovedRange(_Wire):
    """Consecutive seqs whose events retention or cleanup took."""

    first_seq: int = Field(ge=0, description="The first of them.")
    last_seq: int = Field(ge=0, description="The last of them.")
    reason: str = Field(description="Why.")


class EventList(_Wire):
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


EXAMPLE_EVENT: Final[Mapping[str, Any]] = {
    "seq": 1204,
    "leaf_hash": "c695e5a7a3233fd774f766eade6f2608f6ae6095688614361de7415b98fd857a",
    "id": "01a20e93-c97b-7000-8000-12d2d0a3f4b5",
    "received_at": "2026-11-24T17:21:36.123Z",
    "timestamp": "2026-11-24T18:21:35.998+01:00",
    "tenant_id": "acme",
    "action": "invoice.approve",
    "resource_type": "invoice",
    "resource_id": "inv-2026-0815",
    "user_id": "maria@acme.example",
    "ip_address": "203.0.113.7",
    "before": {"state": "open"},
    "after": {"state": "approved"},
    "severity": "INFO",
    "written_by": {"issuer": "tallystick", "subject": "billing"},
    "salt": "5f0c9a7be1d24c3380aa61f2",
}

_TENANT: Final[Mapping[str, Any]] = {
    "name": "tenant_id",
    "in": "query",
    "description": "The tenant to read; the token's default when absent.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 63},
    "example": "acme",
}


def _parameter(name: str, description: str, schema: Mapping[str, Any], example: object = None) -> dict[str, Any]:
    shown = {} if example is None else {"example": example}
    return {"name": name, "in": "query", "description": description, "schema": schema, **shown}


def _several(name: str, description: str, example: str, items: Mapping[str, Any] | None = None) -> dict[str, Any]:
    schema = {"type": "array", "maxItems": 100, "items": items or {"type": "string", "minLength": 1}}
    several = _parameter(name, f"{description} Repeated: any of them.", schema, [example])
    return {**several, "style": "form", "explode": True}


_MOMENT: Final = {"type": "string", "format": "date-time"}
_SEVERITY: Final = {"type": "string", "enum": list(SEVERITIES)}

EVENT_PARAMETERS: Final = ({**_TENANT},)
"""The query parameters of a single event, as OpenAPI describes them."""

LIST_PARAMETERS: Final = (
    {**_TENANT},
    _parameter("from", "Occurred at or after: RFC 3339 with an offset.", _MOMENT, "2026-11-23T00:00:00Z"),
    _parameter("to", "Occurred before: RFC 3339 with an offset.", _MOMENT, "2026-11-25T00:00:00Z"),
    _parameter(
        "order",
        "By occurrence, the newest or the oldest first, ties by seq; or by seq, for those who keep a copy.",
        {"type": "string", "enum": list(_ORDERS), "default": "newest"},
        "newest",
    ),
    _parameter(
        "after_seq",
        "With order=seq: where to start, exclusive; -1 is the beginning. To go on: the last item's `seq`, or the"
        " answer's `after_seq`.",
        {"type": "integer", "minimum": -1, "maximum": MAX_SEQ, "default": -1},
    ),
    _parameter(
        "limit",
        "Most events of a page. A page of large events may end before.",
        {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
        DEFAULT_LIMIT,
    ),
    _parameter(
        "cursor",
        "`next` or `prev` of a page of this query. Repeat the query's other parameters; only `limit` may change.",
        {"type": "string", "maxLength": 256},
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
    _parameter("min_severity", "At least this severity.", _SEVERITY, "WARNING"),
    _several("ip", "Came from this address or network (CIDR), IPv4 or IPv6.", "203.0.113.0/24"),
)
"""The query parameters of a listing, as OpenAPI describes them."""
