"""Timestamps of the wire: RFC 3339 with an offset, whole microseconds inside."""

import re
from datetime import UTC, datetime, timedelta

_RFC_3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt](?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.(\d+))?(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)", re.ASCII
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_FIRST = (datetime(1900, 1, 1, tzinfo=UTC) - _EPOCH) // _MICROSECOND
_LAST = (datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC) - _EPOCH) // _MICROSECOND


def parse_timestamp(text: str) -> int:
    """Read an RFC 3339 timestamp as Unix microseconds.

    Years 1900 to 9999, an offset, at most 6 fraction digits; no leap second, as no clock here counts them.

    Raises:
        ValueError: The message says what to mend.
    """
    match = _RFC_3339.fullmatch(text)
    if match is None:
        if re.fullmatch(r".{16,}:60(\.\d+)?([Zz]|[+-].{5})", text):
            raise ValueError("a leap second (:60) cannot be stored; use :59 or the next minute's :00")
        if re.fullmatch(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?", text):
            raise ValueError("the offset is missing: append Z for UTC, or one like +02:00")
        raise ValueError("must be an RFC 3339 timestamp with an offset, as in 2026-11-24T17:21:36.123Z")
    fraction = match[1]
    if fraction is not None and len(fraction) > 6:
        raise ValueError("at most 6 digits may follow the seconds; microseconds are the finest that is kept")
    try:
        read = datetime.fromisoformat(text.upper())
    except ValueError as error:
        raise ValueError(f"no such moment: {error}") from None
    since_epoch = microseconds(read)
    if not _FIRST <= since_epoch <= _LAST:
        raise ValueError("the year must be from 1900 to 9999, counted in UTC")
    return since_epoch


def format_milliseconds(milliseconds: int) -> str:
    """Write Unix milliseconds as RFC 3339 in UTC with exactly three fraction digits."""
    return format_moment(moment(milliseconds * 1000))


def format_moment(when: datetime) -> str:
    """Write a moment of UTC likewise; what is finer is cut."""
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def moment(since_epoch: int) -> datetime:
    """Unix microseconds as the driver of the database takes them."""
    return _EPOCH + since_epoch * _MICROSECOND


def microseconds(when: datetime) -> int:
    """The driver's moment as Unix microseconds."""
    return (when - _EPOCH) // _MICROSECOND
