"""The query string of a listing, and the documents about it."""

import orjson
import pytest

from tallystick.errors import InvalidError
from tallystick.log.model import EventFields
from tallystick.log.query_string import first, group
from tallystick.log.reader import ListQuery
from tallystick.log.schemas_read import (
    EXAMPLE_EVENT,
    LIST_PARAMETERS,
    LISTING,
    SEVERAL,
    Event,
    EventList,
    list_query,
)
from tallystick.query.ast import Equals
from tallystick_tlog import verify_event


def read(*items: tuple[str, str]) -> ListQuery:
    return list_query(group(items, LISTING, SEVERAL))


def flaws_of(*items: tuple[str, str]) -> dict[str | None, str]:
    with pytest.raises(InvalidError) as caught:
        read(*items)
    return {flaw.parameter: flaw.detail for flaw in caught.value.flaws}


def test_an_empty_query_string_asks_for_the_newest_fifty() -> None:
    assert read() == ListQuery(order="newest", limit=50)


def test_everything_can_be_asked_at_once() -> None:
    query = read(
        ("from", "2026-11-23T01:00:00+01:00"),
        ("to", "2026-11-25T00:00:00.000001Z"),
        ("order", "oldest"),
        ("limit", "1000"),
        ("cursor", "abc"),
        ("user_id", "ada"),
        ("tenant_id", "acme"),
    )
    assert query == ListQuery(
        filters=Equals("user_id", "ada"),
        order="oldest",
        from_us=1_795_392_000_000_000,
        to_us=1_795_564_800_000_001,
        limit=1000,
        cursor="abc",
    )


def test_seqs_are_asked_for_from_one_on() -> None:
    assert read(("order", "seq"), ("after_seq", "-1")).after_seq == -1
    assert read(("order", "seq"), ("after_seq", "1099511627775")).after_seq == 2**40 - 1


def test_the_tenant_is_named_or_not() -> None:
    assert first(group([("tenant_id", "acme")], LISTING), "tenant_id") == "acme"
    assert first(group([], LISTING), "tenant_id") is None


@pytest.mark.parametrize("name", ["q", "User_id", "", "limit ", "from_"])
def test_an_unknown_parameter_is_refused(name: str) -> None:
    assert "is not a parameter" in flaws_of((name, "1"))[name]


@pytest.mark.parametrize("name", ["from", "to", "order", "after_seq", "limit", "cursor", "tenant_id", "min_severity"])
def test_a_parameter_that_stands_alone_is_refused_twice(name: str) -> None:
    assert "once" in flaws_of((name, "1"), (name, "1"))[name]


@pytest.mark.parametrize(
    ("name", "value", "detail"),
    [
        ("from", "2026-11-23", "RFC 3339"),
        ("from", "2026-11-23T00:00:00", "offset is missing"),
        ("to", "2026-11-23T00:00:00 02:00", "%2B"),
        ("to", "2026-13-23T00:00:00Z", "no such moment"),
        ("order", "random", "newest, oldest, seq"),
        ("limit", "0", "1 to 1000"),
        ("limit", "1001", "1 to 1000"),
        ("limit", "+5", "1 to 1000"),
        ("limit", "\u0665", "1 to 1000"),
        ("limit", "", "1 to 1000"),
        ("after_seq", "0", "order=seq"),
        ("severity", "LOW", "must be one of"),
        ("ip", "ten", "must be an IPv4"),
    ],
)
def test_a_bad_value_names_its_parameter(name: str, value: str, detail: str) -> None:
    assert detail in flaws_of((name, value))[name]


@pytest.mark.parametrize("value", ["-2", "1.5", "1099511627776", "x", ""])
def test_a_seq_that_cannot_be_is_refused(value: str) -> None:
    assert "whole number" in flaws_of(("order", "seq"), ("after_seq", value))["after_seq"]


def test_a_range_must_not_end_before_it_begins() -> None:
    later, earlier = "2026-11-25T00:00:00Z", "2026-11-24T00:00:00Z"
    assert flaws_of(("from", later), ("to", earlier)) == {"to": "lies before `from`"}


def test_every_flaw_is_told_at_once() -> None:
    assert set(flaws_of(("limit", "0"), ("order", "x"), ("severity", "LOW"))) == {"limit", "order", "severity"}


def test_every_parameter_is_documented() -> None:
    assert sorted(parameter["name"] for parameter in LIST_PARAMETERS) == sorted(LISTING)
    assert all(parameter["description"].endswith(".") for parameter in LIST_PARAMETERS)


def test_the_answered_event_has_every_field_that_may_be_sent() -> None:
    assert set(EventFields.__annotations__) <= set(Event.model_fields)


def test_the_example_is_an_event_that_verifies() -> None:
    Event.model_validate(EXAMPLE_EVENT)
    assert verify_event(orjson.dumps(EXAMPLE_EVENT))


def test_a_page_may_have_no_items() -> None:
    EventList.model_validate({"items": [], "next": "abc", "prev": None})
