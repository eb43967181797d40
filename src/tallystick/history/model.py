"""What an event changed, as a JSON Patch (RFC 6902)."""

from collections.abc import Mapping
from typing import Any, TypeAlias

from jsonpatch import JsonPatch

Patch: TypeAlias = list[dict[str, Any]]
"""Operations: `add`, `remove` and `replace`, in the order in which they are applied."""


def change_of(event: Mapping[str, object]) -> Patch | None:
    """Tell how an event's `after` is made of its `before`.

    Nothing is moved or copied: each operation tells what is new at its own place, for people to read.

    Args:
        event: As it was stored.

    Returns:
        None where the event has neither: it does not say what it changed. Where one of them is absent, the resource is
        new or gone, and the one operation replaces the state as a whole (its path is empty).
    """
    before, after = event.get("before"), event.get("after")
    if before is None and after is None:
        return None
    return JsonPatch.from_diff(before, after, optimization=False).patch
