"""The event: what is accepted keeps every value in its body, what is refused names what to mend."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factories import AUTHOR, NOW_US, event
from pointers import at_pointer
from tallystick.errors import Flaw, InvalidError
from tallystick.log.model import Author, Clock, PreparedEvent, form_event, form_head, parse_json, validate_event
from tallystick.settings import EventSettings

LIMITS = EventSettings()
SECOND = 1_000_000
CLOCK = Clock(NOW_US, 7 * 86_400 * SECOND, 300 * SECOND)

# What a client may send, and the borders of each field's length.
BORDERS = {
    "tenant_id": (1, 63),
    "event_id": (1, 128),
    "action": (1, 128),
    "resource_type": (1, 128),
    "resource_id": (1, 512),
    "user_id": (1, 256),
    "session_id": (1, 256),
    "request_id": (1, 256),
    "user_agent": (0, 1024),
    "message": (0, 8192),
}


def prepare(sent: dict[str, Any], clock: Clock = CLOCK, limits: EventSettings = LIMITS) -> PreparedEvent:
    """An event through all that an API process does with it before the log is locked."""
    fields, occurred_us = validate_event(parse_json(json.dumps(sent).encode()), limits, clock)
    return form_event(fields, occurred_us, tenant_id=sent.get("tenant_id", "acme"), author=AUTHOR)


def refusal(sent: Any, clock: Clock = CLOCK, limits: EventSettings = LIMITS) -> dict[str, str]:
    """What is wrong with an event: details by pointer."""
    raw = sent if isinstance(sent, bytes) else json.dumps(sent).encode()
    with pytest.raises(InvalidError) as caught:
        validate_event(parse_json(raw), limits, clock)
    assert all(flaw.pointer is not None for flaw in caught.value.flaws)
    return {flaw.pointer or "": flaw.detail for flaw in caught.value.flaws}


def body_of(prepared: PreparedEvent) -> dict[str, Any]:
    head = form_head("an-id", "2026-11-24T17:21:36.123Z", with_timestamp=prepared.occurred_us is None)
    return orjson.loads(head + prepared.rest)


def test_the_whole_event_is_in_its_body() -> None:
    sent = event(
        tenant_id="acme",
        event_id="e-1",
        timestamp="2026-11-24T18:21:36.5+01:00",
        session_id="s",
        request_id="r",
        ip_address="203.0.113.9",
        user_agent="curl",
        severity="CRITICAL",
        message="naïve ☂ 😀",
        before=None,
        after={"total": 129.95, "n": 2**63 - 1, "none": None, "deep": [{"é": [True, ""]}]},
        metadata={},
    )
    sent["before"] = None
    body = body_of(prepare(sent))

    assert body.pop("id") == "an-id"
    assert body.pop("received_at") == "2026-11-24T17:21:36.123Z"
    assert body.pop("written_by") == {"issuer": AUTHOR.issuer, "subject": AUTHOR.subject}
    assert len(bytes.fromhex(body.pop("salt"))) == 12
    assert body == sent


def test_what_is_absent_is_filled_in() -> None:
    prepared = prepare({"action": "a", "resource_type": "b"})
    body = body_of(prepared)

    assert prepared.occurred_us is None
    assert body["timestamp"] == body["received_at"]
    assert body["severity"] == "INFO"
    assert body["tenant_id"] == "acme"
    assert list(body)[:3] == ["id", "received_at", "timestamp"]
    assert prepared.event_id is prepared.canonical is None


def test_a_timestamp_is_kept_as_it_was_sent() -> None:
    prepared = prepare(event(timestamp="2026-11-24t18:21:36.500000+01:00"))

    assert body_of(prepared)["timestamp"] == "2026-11-24t18:21:36.500000+01:00"
    assert prepared.occurred_us == 1_795_540_896_500_000


def test_two_events_of_the_same_content_have_other_salts() -> None:
    assert prepare({"action": "a", "resource_type": "b"}).rest != prepare({"action": "a", "resource_type": "b"}).rest


def test_sameness_is_of_content_not_of_spelling() -> None:
    def canonical(raw: bytes, author: str = "ada", tenant_id: str = "acme") -> bytes | None:
        fields, occurred_us = validate_event(parse_json(raw), LIMITS, CLOCK)
        return form_event(fields, occurred_us, tenant_id=tenant_id, author=Author("tallystick", author)).canonical

    one = canonical(b'{"event_id":"e","action":"a","resource_type":"b","metadata":{"x":1.50,"y":[1]}}')
    assert one == canonical(
        b'{ "metadata" : {"y":[1],"x":15e-1}, "tenant_id":"acme","resource_type":"b","action":"\\u0061",'
        b'"event_id":"e"}',
        author="grace",
    )
    assert one is not None
    others = [
        b'{"event_id":"e","action":"a","resource_type":"b","metadata":{"x":1.5,"y":[1,1]}}',
        b'{"event_id":"e","action":"a","resource_type":"b","metadata":{"x":1.25,"y":[1]}}',
        b'{"event_id":"e","action":"a","resource_type":"b","metadata":{"x":1.5,"y":[1]},"severity":"INFO"}',
        b'{"event_id":"e","action":"a","resource_type":"c","metadata":{"x":1.5,"y":[1]}}',
    ]
    assert one not in [canonical(raw) for raw in others]
    assert one != canonical(others[0].replace(b"[1,1]", b"[1]"), tenant_id="globex")


@pytest.mark.parametrize(("name", "borders"), BORDERS.items())
def test_the_length_of_a_text_is_bounded_in_characters(name: str, borders: tuple[int, int]) -> None:
    shortest, longest = borders
    for length in (shortest, longest):
        assert body_of(prepare(event(**{name: "é" * length})))[name] == "é" * length
    assert refusal(event(**{name: "é" * (longest + 1)})) == {f"/{name}": f"is longer than {longest} characters"}
    if shortest:
        assert "is empty" in refusal(event(**{name: ""}))[f"/{name}"]


@pytest.mark.parametrize("name", [*BORDERS, "timestamp", "ip_address", "severity", "metadata"])
@pytest.mark.parametrize("value", [None, 1, True, ["a"]])
def test_a_field_of_another_type_is_refused(name: str, value: object) -> None:
    sent = {**event(), name: value}

    assert refusal(sent).keys() == {f"/{name}"}


@pytest.mark.parametrize("name", [*BORDERS, "timestamp", "ip_address", "severity"])
def test_nul_is_refused_in_every_text(name: str) -> None:
    assert f"/{name}" in refusal({**event(), name: "a\0b"})


@pytest.mark.parametrize("name", ["before", "after"])
def test_before_and_after_may_be_null_and_nothing_but_an_object(name: str) -> None:
    assert body_of(prepare({**event(), name: None}))[name] is None
    for value in ("x", 1, [1], False):
        assert refusal({**event(), name: value}) == {f"/{name}": "must be a JSON object"}


@pytest.mark.parametrize(
    "name", ["Action", "id", "seq", "received_at", "written_by", "salt", "nonesuch", "dict[x", "a/b~"]
)
def test_an_unknown_field_is_named(name: str) -> None:
    pointer = "/" + name.replace("~", "~0").replace("/", "~1")

    assert "`metadata`" in refusal({**event(), name: 1})[pointer]


def test_required_fields_are_named() -> None:
    assert refusal({}) == {"/action": "is required", "/resource_type": "is required"}


@pytest.mark.parametrize("value", [None, 1, "x", [], [{}], True])
def test_what_is_no_object_is_refused(value: object) -> None:
    assert refusal(value) == {"": "must be a JSON object"}


def test_all_flaws_are_found_at_once() -> None:
    sent = {"action": 1, "severity": "LOW", "x": 1, "user_id": "\0", "metadata": {"n": 2**64}, "ip_address": "10.0.0"}

    assert refusal(sent).keys() == {
        "/action",
        "/resource_type",
        "/severity",
        "/x",
        "/user_id",
        "/metadata/n",
        "/ip_address",
    }


def test_of_very_many_flaws_the_first_are_listed_and_the_others_counted() -> None:
    with pytest.raises(InvalidError) as caught:
        validate_event({**event(), **{f"x{n}": 1 for n in range(1_000)}}, LIMITS, CLOCK)

    assert len(caught.value.flaws) == 21
    assert caught.value.flaws[-1] == Flaw("has 980 further flaws, which are not listed", "")


def test_keys_are_counted_over_all_objects() -> None:
    limits = EventSettings(max_keys=6)
    half = {"a": [1, 2]}

    prepare(event(before=half, metadata=half), limits=limits)
    assert refusal(event(before=half, after={"x": 1}, metadata=half), limits=limits).keys() == {"/metadata"}


@pytest.mark.parametrize(
    "address", ["255.255.255.255", "203.0.113.9", "::", "2001:db8::1", "::ffff:203.0.113.9", "fe80::1"]
)
def test_addresses_are_kept_as_sent(address: str) -> None:
    assert body_of(prepare(event(ip_address=address)))["ip_address"] == address


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.0/8",
        "10.0.0.1:80",
        "fe80::1%eth0",
        "[::1]",
        "10.0.0",
        "10.0.0.256",
        "010.0.0.1",
        "::1::",
        "localhost",
        " 10.0.0.1",
        "1",
        "x" * 46,
    ],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    assert refusal(event(ip_address=address)).keys() == {"/ip_address"}


def at(microseconds: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)).isoformat()


def test_the_past_is_limited_to_the_microsecond() -> None:
    assert CLOCK.max_past_us is not None
    border = NOW_US - CLOCK.max_past_us

    assert prepare(event(timestamp=at(border))).occurred_us == border
    assert "logs:import" in refusal(event(timestamp=at(border - 1)))["/timestamp"]
    assert "7 days" in refusal(event(timestamp=at(border - 1)))["/timestamp"]


def test_the_future_is_limited_to_the_microsecond_also_for_imports() -> None:
    border = NOW_US + CLOCK.max_future_us
    importing = Clock(NOW_US, None, CLOCK.max_future_us)

    for clock in (CLOCK, importing):
        assert prepare(event(timestamp=at(border)), clock).occurred_us == border
        assert "300 seconds in the future" in refusal(event(timestamp=at(border + 1)), clock)["/timestamp"]


def test_imports_may_be_of_any_age() -> None:
    importing = Clock(NOW_US, None, CLOCK.max_future_us)

    assert body_of(prepare(event(timestamp="1900-01-01T00:00:00Z"), importing))["timestamp"] == "1900-01-01T00:00:00Z"
    assert "1900" in refusal(event(timestamp="1899-12-31T23:59:59Z"), importing)["/timestamp"]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"{}{}",
        b"{'a':1}",
        b'{"a":1,}',
        b"[1,]",
        b"NaN",
        b"[Infinity]",
        b"01",
        b"1.",
        b"+1",
        b"\xef\xbb\xbf{}",
        b'{"a":1,"a":1}',
        b'{"a":1,"\\u0061":2}',
        b'[{"b":{"a":1,"a":2}}]',
        b'"\\ud800"',
        b'"\\udc00"',
        b'"\\ud800\\ud800"',
        b'"\\udc00\\ud800"',
        b'{"\\ud800":1}',
        b'"\xff"',
        b'"\xc0\x80"',
        b'"\xed\xa0\x80"',
        b'"\xf4\x90\x80\x80"',
        b'{"\xe2\x82":1}',
        b'"a\nb"',
        b'"\x00"',
        b'"\\x41"',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"9" * 100_000,
    ],
)
def test_what_is_not_json_as_we_take_it_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidError) as caught:
        parse_json(raw)
    assert caught.value.flaws[0].pointer == ""


def test_json_at_its_edges_is_read() -> None:
    assert parse_json(b' {"\\ud83d\\ude00":["\\u0000",-0,1,true,null,"\xf0\x9f\x98\x80"]}\r\n') == {
        "😀": ["\0", 0, 1, True, None, "😀"]
    }


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**65), 2**65) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=12,
)
names = st.sampled_from([*BORDERS, "timestamp", "ip_address", "severity", "before", "after", "metadata"]) | texts


@given(st.dictionaries(names, values, max_size=4), st.booleans())
def test_any_json_is_kept_whole_or_refused_where_it_says(changes: dict[str, Any], valid_base: bool) -> None:
    sent = {**(event() if valid_base else {}), **changes}
    raw = json.dumps(sent, ensure_ascii=False).encode()
    try:
        fields, occurred_us = validate_event(parse_json(raw), LIMITS, CLOCK)
    except InvalidError as error:
        for flaw in error.flaws:
            assert flaw.pointer is not None
            if flaw.detail != "is required":
                at_pointer(sent, flaw.pointer)
    else:
        body = body_of(form_event(fields, occurred_us, tenant_id=sent.get("tenant_id", "acme"), author=AUTHOR))
        assert {name: body[name] for name in sent} == sent
        assert repr({name: body[name] for name in sent}) == repr(sent)
