"""What an event changed, as a JSON Patch (RFC 6902)."""

from collections.abc import Mapping
from typing import Any, Final, TypeAlias, cast

import orjson

Patch: TypeAlias = list[dict[str, Any]]
"""Operations: `add`, `remove` and `replace`, in the order in which they are applied."""

MOST_OPERATIONS: Final = 100
"""A change of more places is told as one of the whole state, so that a patch is never much longer than its event."""


def change_of(event: Mapping[str, object]) -> Patch | None:
    """Tell how an event's `after` is made of its `before`.

    Nothing is moved or copied: each operation tells what is new at its own place, for people to read. It takes time in
    proportion to the event; libraries at hand take seconds for an event of 200 KB whose arrays differ.

    Args:
        event: As it was stored.

    Returns:
        None where the event has neither: it does not say what it changed. Where one of them is absent, the resource is
        new or gone, and the one operation replaces the state as a whole (its path is empty).
    """
    before, after = event.get("before"), event.get("after")
    if before is None and after is None:
        return None
    patch: Patch = []
    _compare("", before, after, patch)
    return patch if len(patch) <= MOST_OPERATIONS else [_operation("replace", "", after)]


def _compare(path: str, before: object, after: object, patch: Patch) -> None:
    if len(patch) > MOST_OPERATIONS:
        return
    match before, after:
        case dict(), dict():
            _compare_objects(path, cast("dict[str, object]", before), cast("dict[str, object]", after), patch)
        case list(), list():
            _compare_arrays(path, cast("list[object]", before), cast("list[object]", after), patch)
        case _ if _text(before) != _text(after):
            patch.append(_operation("replace", path, after))
        case _:
            pass


def _compare_objects(path: str, before: dict[str, object], after: dict[str, object], patch: Patch) -> None:
    patch += [{"op": "remove", "path": _below(path, name)} for name in before if name not in after]
    for name, value in after.items():
        if name in before:
            _compare(_below(path, name), before[name], value, patch)
        else:
            patch.append(_operation("add", _below(path, name), value))


def _compare_arrays(path: str, before: list[object], after: list[object], patch: Patch) -> None:
    """What both begin and end with stays; in between, place by place."""
    old, new = list(map(_text, before)), list(map(_text, after))
    shorter = min(len(old), len(new))
    head = next((at for at in range(shorter) if old[at] != new[at]), shorter)
    tail = next((at for at in range(shorter - head) if old[-1 - at] != new[-1 - at]), shorter - head)
    both = range(head, shorter - tail)
    for at in both:
        _compare(f"{path}/{at}", before[at], after[at], patch)
    first = both.stop
    patch += [{"op": "remove", "path": f"{path}/{at}"} for at in reversed(range(first, len(before) - tail))]
    patch += [_operation("add", f"{path}/{at}", after[at]) for at in range(first, len(after) - tail)]


def _text(value: object) -> bytes:
    """By which values are compared: 1, 1.0 and true are three."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _below(path: str, name: str) -> str:
    return f"{path}/{name.replace('~', '~0').replace('/', '~1')}"


def _operation(kind: str, path: str, value: object) -> dict[str, Any]:
    return {"op": kind, "path": path, "value": value}
