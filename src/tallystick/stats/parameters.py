"""What is asked of statistics, read from a query string."""

import re
from collections.abc import Mapping, Sequence
from functools import cache, partial
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from tallystick.errors import Flaw
from tallystick.log.query_string import Values, choice, one, refuse
from tallystick.query.ast import conjunction
from tallystick.query.filters import PARAMETERS
from tallystick.search.parameters import SEVERAL as ALTERNATIVES
from tallystick.search.parameters import search_query
from tallystick.stats.calendar import INTERVALS, Interval, previous
from tallystick.stats.model import KINDS, RANKED, By, StatsQuery, period
from tallystick.stats.rolling import DAY_US, QUARTER_US

BY: Final[tuple[By, ...]] = (*KINDS, *RANKED)
"""What events can be counted by."""

COUNTING: Final = ("tenant_id", "q", "from", "to", "interval", "time_zone", "by", "top", "compare", *PARAMETERS)
"""Every parameter of statistics."""

SEVERAL: Final = (*ALTERNATIVES, "by")
"""Those that may be repeated."""

DEFAULT_TOP, MOST_TOP = 10, 100

DEFAULT_DAYS: Final = 30

_INTERVALS: Final[Mapping[str, Interval]] = {name: name for name in INTERVALS}

_LATEST_US: Final = 9_000_000_000_000_000
"""To the year 2255 engines count microseconds exactly. No event lies beyond: none may occur after its arrival."""

_EARLIEST_US: Final = -2_208_988_800_000_000


def stats_query(values: Values, now_us: int) -> StatsQuery:
    """Read what is asked for.

    Args:
        values: The parameters.
        now_us: The time, in Unix microseconds: without `to` a period ends with this quarter of an hour.

    Raises:
        InvalidError: With a flaw for each parameter that is not valid.
    """
    shared = search_query({name: values[name] for name in values if name in ("q", "from", "to", *PARAMETERS)})
    flaws: list[Flaw] = []
    zone = one(values, "time_zone", _zone, ZoneInfo("UTC"), flaws)
    interval = one(values, "interval", partial(choice, _INTERVALS), None, flaws)
    most = one(values, "top", _top, DEFAULT_TOP, flaws)
    compare = one(values, "compare", partial(choice, {"previous": True}), False, flaws)  # noqa: FBT003  # a default
    by = _by(values.get("by", KINDS), flaws)
    until = shared.listing.to_us
    to_us = min(-(-now_us // QUARTER_US) * QUARTER_US if until is None else until, _LATEST_US)
    since = shared.listing.from_us
    from_us = max(to_us - DEFAULT_DAYS * DAY_US, _EARLIEST_US) if since is None else since
    if from_us >= to_us:
        flaws.append(Flaw("must lie before `to`, before now where `to` is absent, and before 2255", parameter="from"))
    refuse(flaws)
    filters = conjunction(shared.listing.filters, shared.text)
    periods = [(from_us, to_us)]
    if compare:
        periods.append(previous(from_us, to_us, interval, zone))
        if periods[-1][0] < _EARLIEST_US:
            refuse([Flaw("has no period before: it begins too early", parameter="compare")])
    try:
        now, *before = [period(begin_us, end_us, interval, zone) for begin_us, end_us in periods]
    except ValueError as error:
        refuse([Flaw(str(error), parameter="interval")])
        raise
    return StatsQuery(filters, now, before[0] if before else None, by, most, interval is not None, zone)


def _zone(name: str) -> ZoneInfo:
    # A name is looked up as a file, and not all files there are zones of the database.
    if name not in _zones():
        raise ValueError("must be a time zone of the IANA database, as in Europe/Berlin; UTC when absent")
    return ZoneInfo(name)


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones()) - {"localtime", "Factory"}


def _top(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,3}", text) or not 1 <= int(text) <= MOST_TOP:
        raise ValueError(f"must be a whole number from 1 to {MOST_TOP}")
    return int(text)


def _by(given: Sequence[str], flaws: list[Flaw]) -> tuple[By, ...]:
    if len(given) > len(BY) or not set(given) <= set(BY):
        flaws.append(Flaw(f"must be one of {', '.join(BY)}", parameter="by"))
    return tuple(name for name in BY if name in given)
