"""Hours, days, weeks and months of a time zone, as moments in Unix microseconds."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, tzinfo
from typing import Final, Literal, TypeAlias

from tallystick.query.timestamps import microseconds, moment

Interval: TypeAlias = Literal["hour", "day", "week", "month"]

INTERVALS: Final[tuple[Interval, ...]] = ("hour", "day", "week", "month")

_HOUR_US: Final = 3_600_000_000


def boundaries(from_us: int, to_us: int, interval: Interval, zone: tzinfo) -> Iterator[int]:
    """When the hours, days, weeks (from Monday) or months of a time zone begin that begin within a period.

    A day that the zone left out has no beginning. An hour that it went through twice has two.

    Args:
        from_us: The period, exclusive at both ends.
        to_us: Its end.
        interval: Which of them.
        zone: The time zone.
    """
    last = from_us
    for begin in _hours(from_us, zone) if interval == "hour" else _dates(from_us, interval, zone):
        if begin >= to_us:
            return
        if begin > last:
            yield begin
            last = begin


def begins(us: int, interval: Interval, zone: tzinfo) -> bool:
    """Whether an hour, day, week or month of a time zone begins at a moment."""
    return next(boundaries(us - 1, us + 1, interval, zone), None) == us


def previous(from_us: int, to_us: int, interval: Interval | None, zone: tzinfo) -> tuple[int, int]:
    """The period before one, to compare it with.

    Of whole days, weeks or months it is as many of them, though they may be longer or shorter: March and the February
    before it. Of any other period it is as long.
    """
    whole = interval is not None and interval != "hour" and begins(from_us, interval, zone)
    if interval is None or not whole or not begins(to_us, interval, zone):
        return from_us - (to_us - from_us), from_us
    count = 1 + sum(1 for _ in boundaries(from_us, to_us, interval, zone))
    local = _local(from_us, zone).replace(tzinfo=None, hour=0, minute=0, second=0, microsecond=0)
    return _moment(_shift(local, interval, -count), zone), from_us


def _dates(from_us: int, interval: Interval, zone: tzinfo) -> Iterator[int]:
    local = _local(from_us, zone).replace(tzinfo=None, hour=0, minute=0, second=0, microsecond=0)
    if interval == "week":
        local -= timedelta(days=local.weekday())
    elif interval == "month":
        local = local.replace(day=1)
    while True:
        yield _moment(local, zone)
        local = _shift(local, interval, 1)


def _shift(local: datetime, interval: Interval, count: int) -> datetime:
    if interval == "month":
        months = local.year * 12 + local.month - 1 + count
        return local.replace(year=months // 12, month=months % 12 + 1)
    return local + timedelta(days=count * (7 if interval == "week" else 1))


def _hours(from_us: int, zone: tzinfo) -> Iterator[int]:
    begin = from_us - 1
    while True:
        begin = _next_hour(begin, zone)
        yield begin


def _next_hour(us: int, zone: tzinfo) -> int:
    """When the hour after that of a moment begins. The clock may be put forward or back meanwhile."""
    offset = _offset(us, zone)
    hour = (us + offset) // _HOUR_US
    end = (hour + 1) * _HOUR_US - offset
    if _offset(end - 1, zone) == offset:
        return end
    change = _first(us, end - 1, lambda at: _offset(at, zone) != offset)
    return change if (change + _offset(change, zone)) // _HOUR_US != hour else _next_hour(change, zone)


def _first(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """The first moment after `low`, up to `high`, from which on something holds."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def _local(us: int, zone: tzinfo) -> datetime:
    return moment(us).astimezone(zone)


def _offset(us: int, zone: tzinfo) -> int:
    return (_local(us, zone).utcoffset() or timedelta()) // timedelta(microseconds=1)


def _moment(local: datetime, zone: tzinfo) -> int:
    """When a clock first showed this. Where it never did, as if it had not been put forward yet (PEP 495)."""
    return microseconds(local.replace(tzinfo=zone))
