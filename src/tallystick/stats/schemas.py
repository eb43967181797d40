"""Statistics on the wire: their parameters as OpenAPI describes them, and what is answered."""

from collections.abc import Mapping
from datetime import timedelta
from itertools import pairwise
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from pydantic import Field

from tallystick.log.schemas_read import Wire, query_parameter
from tallystick.query.facets import read_resource
from tallystick.query.timestamps import moment
from tallystick.search.schemas import LIST_PARAMETERS
from tallystick.stats.calendar import INTERVALS
from tallystick.stats.model import KINDS, Counted, Stats, StatsQuery
from tallystick.stats.parameters import BY, COUNTING, DEFAULT_DAYS, DEFAULT_TOP, MOST_TOP


class Bucket(Wire):
    """Events of a stretch of time."""

    begins: str = Field(alias="from", description="When it begins, in the time zone that was asked for.")
    ends: str = Field(alias="to", description="When it ends, exclusive.")
    events: int = Field(ge=0, description="Events that occurred in it.")


class ActionCount(Wire):
    """Events of one action."""

    action: str = Field(description="What was done.")
    events: int = Field(ge=1, description="How often.")


class ResourceTypeCount(Wire):
    """Events on one kind of resource."""

    resource_type: str = Field(description="The kind.")
    events: int = Field(ge=1, description="How many.")


class SeverityCount(Wire):
    """Events of one severity."""

    severity: str = Field(description="The severity.")
    events: int = Field(ge=1, description="How many.")


class UserCount(Wire):
    """Events of one user."""

    user_id: str = Field(description="Who.")
    events: int = Field(ge=1, description="How many.")


class ResourceCount(Wire):
    """Events on one resource."""

    resource_type: str = Field(description="Its kind.")
    resource_id: str = Field(description="Which one.")
    events: int = Field(ge=1, description="How many.")


class PeriodStats(Wire):
    """What was counted of a period. A list is there where `by` asked for it, the most frequent first."""

    begins: str = Field(alias="from", description="When the period begins.")
    ends: str = Field(alias="to", description="When it ends, exclusive.")
    through_seq: int = Field(
        ge=-1, description="All events up to this seq were looked at, and none after it; -1 for an empty log."
    )
    total: int = Field(ge=0, description="Events that match.")
    buckets: list[Bucket] | None = Field(
        default=None, description="With `interval`: the period cut at each beginning of one, empty buckets included."
    )
    action: list[ActionCount] | None = Field(default=None, description="By what was done.")
    resource_type: list[ResourceTypeCount] | None = Field(default=None, description="By kind of resource.")
    severity: list[SeverityCount] | None = Field(default=None, description="By severity.")
    user_id: list[UserCount] | None = Field(default=None, description="By who did it.")
    resource: list[ResourceCount] | None = Field(default=None, description="By resource.")
    approximate: list[str] = Field(
        description="Which of the lists are not exact: a count may be too low, and a value missing. Else empty."
    )


class StatsAnswer(PeriodStats):
    """Statistics of a period, and of the one before it if that was asked for."""

    time_zone: str = Field(description="The time zone of the buckets.")
    source: Literal["rollups", "index"] = Field(
        description="What was counted by: rollups, which the worker keeps a few seconds behind the log; or the search"
        " index and what it does not hold yet."
    )
    previous: PeriodStats | None = Field(default=None, description="With `compare`: the period before.")


def answer(stats: Stats, query: StatsQuery) -> dict[str, Any]:
    """Write statistics down."""
    shown = _period(stats.now, query)
    shown |= {"time_zone": query.zone.key, "source": stats.source}
    if stats.before is not None:
        shown["previous"] = _period(stats.before, query)
    return shown


def _period(counted: Counted, query: StatsQuery) -> dict[str, Any]:
    edges = [_shown(edge, query.zone) for edge in counted.period.edges]
    shown: dict[str, Any] = {"from": edges[0], "to": edges[-1]}
    shown |= {"through_seq": counted.through, "total": counted.total}
    if query.cut:
        shown["buckets"] = [
            {"from": begin, "to": end, "events": events}
            for (begin, end), events in zip(pairwise(edges), counted.buckets, strict=True)
        ]
    for by in query.by:
        shown[by] = [{**_named(by, value), "events": events} for value, events in counted.lists[by].items]
    shown["approximate"] = [by for by in query.by if not counted.lists[by].exact]
    return shown


def _named(by: str, value: str) -> dict[str, str]:
    return read_resource(value)._asdict() if by == "resource" else {by: value}


def _shown(us: int, zone: ZoneInfo) -> str:
    local = moment(us).astimezone(zone)
    offset = local.utcoffset() or timedelta()
    # Offsets of long ago had seconds, which RFC 3339 has not.
    return (local if not offset % timedelta(minutes=1) else moment(us)).isoformat().replace("+00:00", "Z")


_OWN: Final[Mapping[str, Mapping[str, Any]]] = {
    "from": {
        "description": f"Occurred at or after: RFC 3339 with an offset. {DEFAULT_DAYS} days before `to` when absent."
    },
    "to": {"description": "Occurred before: RFC 3339 with an offset. The end of this quarter of an hour when absent."},
}

STATS_PARAMETERS: Final = (
    query_parameter(
        "interval",
        "Cuts the period at each beginning of an hour, day, week (from Monday) or month of the time zone.",
        {"type": "string", "enum": list(INTERVALS)},
        "day",
    ),
    query_parameter(
        "time_zone",
        "Where days begin: a name of the IANA database.",
        {"type": "string", "default": "UTC", "maxLength": 64},
        "Europe/Berlin",
    ),
    {
        **query_parameter(
            "by",
            "What to count by; repeated, each of them. The first three when absent.",
            {
                "type": "array",
                "maxItems": len(BY),
                "items": {"type": "string", "enum": list(BY)},
                "default": list(KINDS),
            },
            ["action", "user_id"],
        ),
        "style": "form",
        "explode": True,
    },
    query_parameter(
        "top",
        "Most values of each list, the most frequent first.",
        {"type": "integer", "minimum": 1, "maximum": MOST_TOP, "default": DEFAULT_TOP},
        DEFAULT_TOP,
    ),
    query_parameter(
        "compare",
        "Tells the same of the period before: of as many days, weeks or months where the period is made of whole ones,"
        " else of one as long.",
        {"type": "string", "enum": ["previous"]},
        "previous",
    ),
    *({**each, **_OWN.get(each["name"], {})} for each in LIST_PARAMETERS if each["name"] in COUNTING),
)
"""The query parameters of statistics, as OpenAPI describes them."""

STATS_EXAMPLE: Final[Mapping[str, Any]] = {
    "from": "2026-11-23T00:00:00+01:00",
    "to": "2026-11-25T00:00:00+01:00",
    "through_seq": 1204,
    "total": 31,
    "buckets": [
        {"from": "2026-11-23T00:00:00+01:00", "to": "2026-11-24T00:00:00+01:00", "events": 12},
        {"from": "2026-11-24T00:00:00+01:00", "to": "2026-11-25T00:00:00+01:00", "events": 19},
    ],
    "action": [{"action": "invoice.approve", "events": 20}, {"action": "user.login", "events": 11}],
    "user_id": [{"user_id": "maria@acme.example", "events": 25}],
    "approximate": [],
    "time_zone": "Europe/Berlin",
    "source": "rollups",
}
"""Statistics."""
