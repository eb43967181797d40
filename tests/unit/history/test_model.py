"""What an event changed: a patch that leads from one state to the other, and nothing else."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonpatch import JsonPatch

from tallystick.history.model import MOST_OPERATIONS, change_of


def states(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with few names, so that two of them share some."""
    return st.dictionaries(st.sampled_from(["", "a", "b", "~1", "c/d", "0"]) | st.text(max_size=3), values, max_size=4)


LEAVES = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4) | states(inner), max_leaves=12)


def text(value: object) -> str:
    """Canonical JSON: True is not 1, nor 1 a float."""
    return json.dumps(value, sort_keys=True)


@given(states(VALUES), states(VALUES))
def test_the_patch_leads_from_before_to_after(before: dict[str, Any], after: dict[str, Any]) -> None:
    patch = change_of({"before": before, "after": after})
    assert patch is not None
    assert text(JsonPatch(patch).apply(before)) == text(after)
    assert {operation["op"] for operation in patch} <= {"add", "remove", "replace"}
    assert all(("value" in operation) == (operation["op"] != "remove") for operation in patch)
    assert (patch == []) == (text(before) == text(after))


def test_what_tells_no_state_tells_no_change() -> None:
    assert change_of({"action": "invoice.read"}) is None
    assert change_of({"action": "invoice.read", "before": None, "after": None}) is None


@pytest.mark.parametrize("absent", [{}, {"before": None}])
def test_what_is_new_replaces_whatever_was_there(absent: dict[str, Any]) -> None:
    patch = change_of({**absent, "after": {"state": "open"}})
    assert patch == [{"op": "replace", "path": "", "value": {"state": "open"}}]


@pytest.mark.parametrize("absent", [{}, {"after": None}])
def test_what_is_gone_is_null_as_a_whole(absent: dict[str, Any]) -> None:
    assert change_of({**absent, "before": {"state": "open"}}) == [{"op": "replace", "path": "", "value": None}]


@pytest.mark.parametrize(
    ("before", "after", "paths"),
    [
        ([1, 2, 3, 4], [1, 9, 3, 4], ["/l/1"]),
        ([1, 2, 3, 4], [1, 2, 7, 8, 3, 4], ["/l/2", "/l/3"]),
        ([1, 2, 3, 4], [1, 4], ["/l/2", "/l/1"]),
        ([1, 1], [1, 1, 1], ["/l/2"]),
        ([{"a": 1}, 2], [{"a": 2}, 2], ["/l/0/a"]),
        ([1], [True], ["/l/0"]),
        ([], [], []),
    ],
)
def test_what_an_array_begins_and_ends_with_stays(before: list[Any], after: list[Any], paths: list[str]) -> None:
    patch = change_of({"before": {"l": before}, "after": {"l": after}})
    assert patch is not None
    assert [operation["path"] for operation in patch] == paths
    assert text(JsonPatch(patch).apply({"l": before})) == text({"l": after})


def test_a_change_of_very_many_places_is_one_of_the_whole() -> None:
    before, after = {"l": [0] * MOST_OPERATIONS}, {"l": [1] * MOST_OPERATIONS}
    assert len(change_of({"before": before, "after": after}) or ()) == MOST_OPERATIONS
    before["l"].append(0)
    after["l"].append(1)
    assert change_of({"before": before, "after": after}) == [{"op": "replace", "path": "", "value": after}]


def test_only_what_changed_is_told() -> None:
    before = {"state": "open", "lines": [{"sum": 1}, {"sum": 2}], "note": "x"}
    after = {"state": "open", "lines": [{"sum": 1}, {"sum": 2.5}], "paid": True}
    patch = change_of({"before": before, "after": after})
    assert patch is not None
    assert sorted(patch, key=lambda each: each["path"]) == [
        {"op": "replace", "path": "/lines/1/sum", "value": 2.5},
        {"op": "remove", "path": "/note"},
        {"op": "add", "path": "/paid", "value": True},
    ]
