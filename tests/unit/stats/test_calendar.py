"""When hours, days, weeks and months begin: half-hour offsets, clocks put forward and back, days left out."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.query.timestamps import microseconds, moment
from tallystick.stats.calendar import INTERVALS, Interval, begins, boundaries, previous

MINUTE_US = 60_000_000
ZONES = (
    "UTC",
    "Europe/Berlin",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "America/Sao_Paulo",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Africa/Cairo",
)


def us(text: str) -> int:
    return microseconds(datetime.fromisoformat(text))


def told(begin: str, end: str, interval: Interval, zone: str) -> list[str]:
    found = boundaries(us(begin), us(end), interval, ZoneInfo(zone))
    return [moment(each).astimezone(ZoneInfo(zone)).isoformat(timespec="minutes") for each in found]


@pytest.mark.parametrize(
    ("begin", "end", "interval", "zone", "expected"),
    [
        ("2026-11-23T12:00Z", "2026-11-26T00:00Z", "day", "UTC", ["2026-11-24T00:00+00:00", "2026-11-25T00:00+00:00"]),
        ("2026-11-23T18:00Z", "2026-11-23T19:00Z", "day", "Asia/Kolkata", ["2026-11-24T00:00+05:30"]),
        ("2026-11-23T18:00Z", "2026-11-23T18:15Z", "day", "Asia/Kathmandu", []),
        ("2026-11-23T18:00Z", "2026-11-23T18:16Z", "day", "Asia/Kathmandu", ["2026-11-24T00:00+05:45"]),
        # The day of 25 hours, and the one of 23.
        (
            "2026-10-24T22:00Z",
            "2026-10-26T00:00Z",
            "day",
            "Europe/Berlin",
            ["2026-10-26T00:00+01:00"],
        ),
        (
            "2026-10-25T00:00Z",
            "2026-10-25T02:01Z",
            "hour",
            "Europe/Berlin",
            ["2026-10-25T02:00+01:00", "2026-10-25T03:00+01:00"],
        ),
        (
            "2026-03-29T00:00Z",
            "2026-03-29T02:01Z",
            "hour",
            "Europe/Berlin",
            ["2026-03-29T03:00+02:00", "2026-03-29T04:00+02:00"],
        ),
        # A clock that is put forward by half an hour at two, and back by as much.
        (
            "2026-10-03T14:31Z",
            "2026-10-03T16:31Z",
            "hour",
            "Australia/Lord_Howe",
            ["2026-10-04T02:30+11:00", "2026-10-04T03:00+11:00"],
        ),
        (
            "2026-04-04T14:01Z",
            "2026-04-04T16:31Z",
            "hour",
            "Australia/Lord_Howe",
            ["2026-04-05T01:30+10:30", "2026-04-05T02:00+10:30", "2026-04-05T03:00+10:30"],
        ),
        # A day that begins at one o'clock, since midnight was left out.
        ("2018-11-03T12:00Z", "2018-11-04T12:00Z", "day", "America/Sao_Paulo", ["2018-11-04T01:00-02:00"]),
        # A day that was left out as a whole.
        (
            "2011-12-29T09:00Z",
            "2012-01-01T00:00Z",
            "day",
            "Pacific/Apia",
            ["2011-12-29T00:00-10:00", "2011-12-31T00:00+14:00", "2012-01-01T00:00+14:00"],
        ),
        ("2026-11-16T00:00Z", "2026-11-24T00:00Z", "week", "UTC", ["2026-11-23T00:00+00:00"]),
        (
            "2026-01-31T12:00Z",
            "2026-04-02T00:00Z",
            "month",
            "Europe/Berlin",
            ["2026-02-01T00:00+01:00", "2026-03-01T00:00+01:00", "2026-04-01T00:00+02:00"],
        ),
        ("2026-12-01T00:00Z", "2027-01-01T00:01Z", "month", "UTC", ["2027-01-01T00:00+00:00"]),
    ],
)
def test_beginnings(begin: str, end: str, interval: Interval, zone: str, expected: list[str]) -> None:
    assert told(begin, end, interval, zone) == expected


def label(at: int, interval: Interval, zone: ZoneInfo) -> object:
    local = moment(at).astimezone(zone)
    if interval == "hour":
        return local.date(), local.hour, local.utcoffset()
    if interval == "day":
        return local.date()
    if interval == "week":
        return local.date() - timedelta(days=local.weekday())
    return local.year, local.month


@settings(max_examples=60, deadline=None)
@given(
    minute=st.integers(min_value=us("1975-01-01T00:00Z") // MINUTE_US, max_value=us("2035-01-01T00:00Z") // MINUTE_US),
    zone=st.sampled_from(ZONES),
    interval=st.sampled_from(INTERVALS),
)
def test_they_begin_where_what_a_clock_shows_is_another_one(minute: int, zone: str, interval: Interval) -> None:
    """Looked at minute by minute. An hour that is gone through twice counts twice; a day does not."""
    info = ZoneInfo(zone)
    begin, end = minute * MINUTE_US, (minute + 3 * 1440) * MINUTE_US
    changes = [
        at
        for at in range(begin + MINUTE_US, end, MINUTE_US)
        if label(at, interval, info) != label(at - MINUTE_US, interval, info)
    ]
    found = list(boundaries(begin, end, interval, info))
    back = {at for at in changes if moment(at).astimezone(info).fold and interval != "hour"}
    assert found == [at for at in changes if at not in back]


@pytest.mark.parametrize(
    ("begin", "end", "interval", "zone", "expected"),
    [
        ("2026-03-01T00:00Z", "2026-04-01T00:00Z", "month", "UTC", "2026-02-01T00:00Z"),
        ("2026-01-01T00:00Z", "2026-03-01T00:00Z", "month", "UTC", "2025-11-01T00:00Z"),
        ("2026-03-01T00:00Z", "2026-04-01T00:00Z", None, "UTC", "2026-01-29T00:00Z"),
        ("2026-03-01T00:00Z", "2026-04-01T00:00Z", "hour", "UTC", "2026-01-29T00:00Z"),
        ("2026-03-30T00:00+02:00", "2026-04-06T00:00+02:00", "week", "Europe/Berlin", "2026-03-23T00:00+01:00"),
        ("2026-03-29T00:00+01:00", "2026-03-30T00:00+02:00", "day", "Europe/Berlin", "2026-03-28T00:00+01:00"),
        ("2026-03-30T00:00+02:00", "2026-03-31T00:00+02:00", "day", "Europe/Berlin", "2026-03-29T00:00+01:00"),
        ("2026-03-30T00:00+02:00", "2026-03-31T01:00+02:00", "day", "Europe/Berlin", "2026-03-28T22:00+01:00"),
        ("2026-03-30T01:00+02:00", "2026-03-31T00:00+02:00", "day", "Europe/Berlin", "2026-03-29T01:00+01:00"),
    ],
)
def test_the_period_before(begin: str, end: str, interval: Interval | None, zone: str, expected: str) -> None:
    found, until = previous(us(begin), us(end), interval, ZoneInfo(zone))
    assert until == us(begin)
    assert moment(found) == datetime.fromisoformat(expected).astimezone(UTC)


def test_the_period_before_one_that_begins_where_midnight_was_left_out() -> None:
    """A day that begins at one o'clock: the week before begins at midnight all the same."""
    zone = ZoneInfo("Africa/Cairo")
    begin, end = us("2026-04-24T01:00+03:00"), us("2026-05-01T00:00+03:00")
    assert begins(begin, "day", zone)
    assert previous(begin, end, "day", zone) == (us("2026-04-17T00:00+02:00"), begin)


def test_whether_one_begins() -> None:
    assert begins(us("2026-11-23T00:00Z"), "week", ZoneInfo("UTC"))
    assert not begins(us("2026-11-24T00:00Z"), "week", ZoneInfo("UTC"))
    assert not begins(us("2026-11-23T00:00Z") + 1, "day", ZoneInfo("UTC"))
