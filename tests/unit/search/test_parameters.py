"""The parameters of a listing, in a query string or in a body, and the documents about them."""

import orjson
import pytest

from tallystick.errors import InvalidError
from tallystick.log.model import EventFields
from tallystick.log.query_string import first, group
from tallystick.log.reader import ListQuery
from tallystick.log.schemas_read import EXAMPLE_EVENT, Event
from tallystick.query.ast import Equals, Words
from tallystick.search.model import SearchQuery
from tallystick.search.parameters import LISTING, SEVERAL, body_values, flaws_in_body, search_query
from tallystick.search.schemas import LIST_PARAMETERS, SEARCH_BODY, SEARCHES, EventList
from tallystick_tlog import verify_event


def ask(*items: tuple[str, str]) -> SearchQuery:
    return search_query(group(items, LISTING, SEVERAL))


def read(*items: tuple[str, str]) -> ListQuery:
    return ask(*items).listing


def ask_by_body(body: object) -> SearchQuery:
    with flaws_in_body():
        return search_query(body_values(body))


def flaws_of_body(body: object) -> dict[str | None, str]:
    with pytest.raises(InvalidError) as caught:
        ask_by_body(body)
    return {flaw.pointer: flaw.detail for flaw in caught.value.flaws}


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


@pytest.mark.parametrize("name", ["query", "User_id", "", "limit ", "from_"])
def test_an_unknown_parameter_is_refused(name: str) -> None:
    assert "is not a parameter" in flaws_of((name, "1"))[name]


@pytest.mark.parametrize(
    "name", ["q", "from", "to", "order", "after_seq", "limit", "cursor", "tenant_id", "highlight", "min_severity"]
)
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
        ("q", "(a", "character"),
        ("q", "", "character"),
        ("highlight", "yes", "true or false"),
        ("highlight", "true", "needs `q`"),
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


def test_words_are_asked_for_beside_the_filters() -> None:
    query = ask(("q", "Refund"), ("user_id", "ada"), ("highlight", "true"))
    assert (query.text, query.highlight) == (Words(None, ("refund",)), True)
    assert query.listing.filters == Equals("user_id", "ada")


def test_a_body_asks_the_same_as_a_query_string() -> None:
    items = [
        ("q", "refund"),
        ("highlight", "true"),
        ("order", "oldest"),
        ("limit", "7"),
        ("from", "2026-11-23T01:00:00Z"),
        ("user_id", "ada"),
        ("action", "a"),
        ("action", "b"),
    ]
    body = {
        "q": "refund",
        "highlight": True,
        "order": "oldest",
        "limit": 7,
        "from": "2026-11-23T01:00:00Z",
        "user_id": "ada",
        "action": ["a", "b"],
    }
    assert ask_by_body(body) == ask(*items)


@pytest.mark.parametrize(
    ("body", "pointer", "detail"),
    [
        ([], "", "object"),
        ({"limit": "7"}, "/limit", "whole number"),
        ({"limit": True}, "/limit", "whole number"),
        ({"limit": 1.0}, "/limit", "whole number"),
        ({"limit": 0}, "/limit", "1 to 1000"),
        ({"highlight": "true"}, "/highlight", "true or false"),
        ({"action": []}, "/action", "at least one"),
        ({"action": ["a", 1]}, "/action", "string"),
        ({"action": None}, "/action", "string"),
        ({"q": ["a", "b"]}, "/q", "once"),
        ({"q": "a AND"}, "/q", "character"),
        ({"a/b": "c"}, "/a~1b", "not a parameter"),
    ],
)
def test_what_is_wrong_in_a_body_is_pointed_at(body: object, pointer: str, detail: str) -> None:
    assert detail in flaws_of_body(body)[pointer]


def test_the_examples_of_bodies_can_be_asked() -> None:
    for example in SEARCHES.values():
        assert set(example["value"]) <= set(SEARCH_BODY["properties"])
        ask_by_body(example["value"])


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
