"""Timestamps keep their moment to the microsecond, or are refused with what to mend."""

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tallystick.query.timestamps import format_milliseconds, parse_timestamp

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
FIRST = -2_208_988_800_000_000
LAST = 253_402_300_799_999_999

offsets = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.datetimes(datetime(1900, 1, 2), datetime(9999, 12, 30, 23, 59, 59, 999_999), timezones=offsets)  # noqa: DTZ001 - hypothesis adds the zone


@given(moments)
@example(datetime(1900, 1, 1, tzinfo=UTC))
@example(datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC))
def test_any_moment_is_read_to_the_microsecond(moment: datetime) -> None:
    assert parse_timestamp(moment.isoformat()) == (moment - EPOCH) // MICROSECOND


@given(moments, st.integers(1, 6), st.sampled_from("Tt"), st.sampled_from(["Z", "z", "+00:00", "-00:00"]))
def test_fractions_of_any_length_and_either_case_are_read(moment: datetime, digits: int, letter: str, utc: str) -> None:
    kept = moment.microsecond // 10 ** (6 - digits)
    text = f"{moment:%m-%d}{letter}{moment:%H:%M:%S}.{kept:0{digits}d}{utc}"
    whole = moment.replace(microsecond=kept * 10 ** (6 - digits), tzinfo=UTC)

    assert parse_timestamp(f"{moment.year:04d}-{text}") == (whole - EPOCH) // MICROSECOND


@pytest.mark.parametrize(
    ("text", "microseconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1969-12-31T23:59:59.999999Z", -1),
        ("1970-01-01T02:30:00+02:30", 0),
        ("1969-12-31T18:15:00-05:45", 0),
        ("2024-02-29T12:00:00.5Z", 1_709_208_000_500_000),
        ("1900-01-01T00:00:00Z", FIRST),
        ("1900-01-01T01:00:00+01:00", FIRST),
        ("1899-12-31T23:00:00-01:00", FIRST),
        ("9999-12-31T23:59:59.999999Z", LAST),
    ],
)
def test_known_moments(text: str, microseconds: int) -> None:
    assert parse_timestamp(text) == microseconds


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("1899-12-31T23:59:59.999999Z", "1900 to 9999"),
        ("1900-01-01T00:00:00+00:01", "1900 to 9999"),
        ("9999-12-31T23:59:59-00:01", "1900 to 9999"),
        ("0001-01-01T00:00:00+23:59", "1900 to 9999"),
        ("0000-01-01T00:00:00Z", "no such moment"),
        ("2023-02-29T00:00:00Z", "no such moment"),
        ("2026-13-01T00:00:00Z", "no such moment"),
        ("2026-11-24T17:21:36.1234567Z", "at most 6 digits"),
        ("2026-11-24T17:21:36.0000000Z", "at most 6 digits"),
        ("2016-12-31T23:59:60Z", "leap second"),
        ("2016-12-31T23:59:60.5+00:00", "leap second"),
        ("2026-11-24T17:21:36", "offset is missing"),
        ("2026-11-24 17:21:36.5", "offset is missing"),
        ("2026-11-24 17:21:36Z", "RFC 3339"),
        ("2026-11-24T17:21:36+0100", "RFC 3339"),
        ("2026-11-24T17:21:36+24:00", "RFC 3339"),
        ("2026-11-24T17:21:36+01:60", "RFC 3339"),
        ("2026-11-24T24:00:00Z", "RFC 3339"),
        ("2026-11-24T17:60:00Z", "RFC 3339"),
        ("2026-11-24T17:21Z", "RFC 3339"),
        ("2026-11-24T17:21:36.Z", "RFC 3339"),
        ("2026-11-24T17:21:36,5Z", "RFC 3339"),
        ("2026-W48-2T17:21:36Z", "RFC 3339"),
        ("+2026-11-24T17:21:36Z", "RFC 3339"),
        ("2026-11-24T17:21:36Z ", "RFC 3339"),
        ("2026-11-24T17:21:36Z\n", "RFC 3339"),
        ("2026-11-24T17:21:3\u0666Z", "RFC 3339"),
        ("1795540896", "RFC 3339"),
        ("", "RFC 3339"),
    ],
)
def test_what_is_refused_says_why(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_timestamp(text)


@given(st.text(max_size=40) | st.from_regex(r"\A\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)?\Z"))
def test_no_text_does_anything_but_parse_or_complain(text: str) -> None:
    try:
        microseconds = parse_timestamp(text)
    except ValueError:
        return
    assert FIRST <= microseconds <= LAST


@given(st.integers(FIRST // 1000, LAST // 1000))
@example(0)
@example(-1)
@example(1_795_540_896_007)
def test_milliseconds_are_written_with_three_digits_and_read_back(milliseconds: int) -> None:
    text = format_milliseconds(milliseconds)

    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text)
    assert parse_timestamp(text) == milliseconds * 1000
