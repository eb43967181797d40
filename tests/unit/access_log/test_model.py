"""Events of access logs: what was asked for is kept, bounded, and without what people search for to forget it."""

from collections.abc import Mapping
from typing import cast

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.access_log.model import Actor, Deed, Place, access_event, bounded
from tallystick.query.filters import MAX_VALUES
from tallystick.query.parser import MAX_LENGTH

ACTOR = Actor(issuer="tallystick", subject="auditor@example.com")
JWT = (
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhdWRpdG9yIn0."  # pragma: allowlist secret
    "c2lnbmF0dXJlLW9mLW5vLWtleS1hdC1hbGwtMDEyMzQ1Njc"  # pragma: allowlist secret
)


def asked_of(asked: Mapping[str, object], masking: Mapping[str, object] | None = None) -> object:
    """What an intent says was asked for."""
    place = Place("acme", 2, masking)
    event = access_event(place, ACTOR, Deed("list_events", "logs.list", "log", "events", asked), "intent", {})
    return orjson.loads(b"{" + event.rest[1:])["metadata"]["asked"]


@pytest.mark.parametrize(
    "asked",
    [
        {"q": f"message:{JWT}"},
        {"q": "metadata.password:hunter2-hunter2"},
        {"q": "password=hunter2-hunter2"},
        {"filter": {"before": {"api_key": "hunter2-hunter2"}}},  # pragma: allowlist secret
        {"password": "hunter2-hunter2"},  # pragma: allowlist secret
        {"q": "4111 1111 1111 1111"},
    ],
)
def test_a_secret_that_was_searched_for_is_not_kept(asked: dict[str, object]) -> None:
    told = orjson.dumps(asked_of(asked)).decode()
    assert all(secret not in told for secret in (JWT, "hunter2", "4111 1111"))
    assert all(name in told for name in asked)


def test_what_is_no_secret_is_kept_as_sent() -> None:
    asked = {"q": 'action:login AND "order 4711" metadata.token_count:[3 TO 5]', "limit": "50"}
    assert asked_of(asked) == asked


def test_what_a_tenant_drops_or_seals_elsewhere_is_redacted_here() -> None:
    for action in ("drop", "encrypt", "hash"):
        masking = {"names": {"badge": action}}
        assert asked_of({"badge": "B-17"}, masking) == {"badge": "[redacted:own_name]"}


def test_settings_of_a_newer_release_mask_as_if_none_were_chosen() -> None:
    assert asked_of({"q": f"message:{JWT}"}, {"a newer": "setting"}) != {"q": f"message:{JWT}"}


def test_a_tenant_that_masks_nothing_has_its_questions_as_sent() -> None:
    assert asked_of({"password": "hunter2"}, {"preset": "none"}) == {"password": "hunter2"}  # pragma: allowlist secret


def _repeated(text: str, times: int) -> str:
    return text * times


def test_one_value_stands_by_itself() -> None:
    assert bounded({"severity": ["INFO"], "action": ["a", "b"], "filter": {"x": ["y"]}}) == {
        "severity": "INFO",
        "action": ["a", "b"],
        "filter": {"x": ["y"]},
    }


def test_what_is_cut_says_so() -> None:
    told = bounded({"q": "x" * 3_000, "ids": [str(number) for number in range(110)]})
    assert told["q"] == "x" * 2_047 + "…"
    assert told["ids"] == [*(str(number) for number in range(100)), "…"]


def test_nobody_hides_what_they_look_for_behind_something_else() -> None:
    many = [f"nobody-{number}" for number in range(MAX_VALUES - 1)]
    long = "x OR " * 380 + "victim"
    assert len(long) <= MAX_LENGTH
    asked = {"session_id": ["s" * 400] * MAX_VALUES, "q": long, "user_id": "victim"}
    told = bounded(asked)
    assert (told["q"], told["user_id"]) == (long, "victim")
    assert bounded({"user_id": [*many, "victim"]}) == {"user_id": [*many, "victim"]}


texts: st.SearchStrategy[str] = st.builds(_repeated, st.text(max_size=6), st.sampled_from((1, 40, 900)))
leaves: st.SearchStrategy[object] = st.one_of(st.none(), st.integers(), texts)


def _inner(values: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    lists: st.SearchStrategy[object] = st.lists(values, max_size=4).map(lambda each: each * 20)
    return lists | st.dictionaries(texts, values, max_size=4)


@given(st.dictionaries(texts, st.recursive(leaves, _inner, max_leaves=12), max_size=6), st.integers(0, 120))
def test_no_request_makes_a_record_many_times_its_size(asked: dict[str, object], more: int) -> None:
    told = bounded({**asked, **{f"more-{number}": "more" for number in range(more)}})
    assert len(told) <= 101
    found = _texts(told)
    # A sign may stand in each place of what is still open when there is no room left.
    assert sum(map(len, found)) <= 32_768 + 2 * 7
    assert "\0" not in "".join(found)


def test_values_that_have_no_characters_take_room_too() -> None:
    deep: object = 1
    for _ in range(6):
        deep = [deep] * 40
    told = bounded({"deep": [deep, 2], "more": [1, 2]})
    assert [*told] == ["deep", "…"]
    assert len(orjson.dumps(told)) < 8 * 32_768


def _texts(value: object) -> list[str]:
    if isinstance(value, dict):
        members = cast("dict[str, object]", value)
        return [text for name, member in members.items() for text in (name, *_texts(member))]
    if isinstance(value, list):
        return [text for one in cast("list[object]", value) for text in _texts(one)]
    return [value] if isinstance(value, str) else []


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**5_000], ids=("above", "below", "long"))
def test_an_integer_that_no_event_may_have_is_told_of_and_not_kept(number: int) -> None:
    assert asked_of({"settings": {"limit": number, "other": 2**63 - 1}}) == {
        "settings": {"limit": "…", "other": 2**63 - 1}
    }
