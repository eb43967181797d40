"""The free-form objects of an event: walked once, bounded in depth and keys, every number judged."""

from collections.abc import Sized
from decimal import Decimal, InvalidOperation
from typing import Any, Final, TypeAlias, cast

import jiter

from tallystick.errors import Flaw
from tallystick.settings import EventSettings

JsonObject: TypeAlias = dict[str, Any]
_Node: TypeAlias = "JsonObject | list[Any]"

INT64_MIN: Final = -(2**63)
INT64_MAX: Final = 2**63 - 1

_NUL = "holds a NUL character (U+0000), which cannot be stored"


def escape_pointer(step: object) -> str:
    """Escape one step of a JSON Pointer (RFC 6901 §3)."""
    return str(step).replace("~", "~0").replace("/", "~1")


def check_tree(tree: JsonObject, pointer: str, limits: EventSettings, keys: int, flaws: list[Flaw]) -> int:
    """Walk one free-form object; decimals become floats in place.

    Args:
        tree: The object.
        pointer: Where it lies in the event.
        limits: What an event may hold.
        keys: How many keys and items the event may still have.
        flaws: Receives what is found.

    Returns:
        How many keys and items may follow; negative when there were too many, and the walk ended there.
    """
    pending: list[tuple[_Node, str, int]] = [(tree, pointer, 1)]
    while pending:
        node, path, depth = pending.pop()
        keys -= len(cast("Sized", node))
        if keys < 0:
            flaws.append(Flaw(f"the event has more than {limits.max_keys} keys and items in its objects", pointer))
            break
        if depth > limits.max_depth:
            flaws.append(Flaw(f"is nested deeper than {limits.max_depth} levels", path))
            continue
        if isinstance(node, dict) and _has_bad_key(node, limits):
            # Not walked: a pointer below a key without bound would be without bound itself, once for every flaw.
            longest = limits.max_key_length
            flaws.append(Flaw(f"a key in it is longer than {longest} characters or holds a NUL character", path))
            continue
        for step, value in node.items() if isinstance(node, dict) else enumerate(node):
            kind = value.__class__
            if kind is str and "\0" not in value:  # most are
                continue
            if kind is dict or kind is list:
                pending.append((value, f"{path}/{escape_pointer(step)}", depth + 1))
            elif kind is jiter.LosslessFloat and (number := exact_float(value)) is not None:
                cast("dict[object, object]", node)[step] = number
            elif (complaint := _complaint(value)) is not None:
                flaws.append(Flaw(complaint, f"{path}/{escape_pointer(step)}"))
    return keys


def exact_float(decimal: jiter.LosslessFloat) -> float | None:
    """The float64 that stands for exactly this decimal when written again, or None if there is none."""
    number = float(decimal)
    text = bytes(decimal).decode()
    written = repr(number)
    if written == text:
        return number
    if number in (float("inf"), float("-inf")):
        return None
    try:
        return number if Decimal(written) == Decimal(text) else None
    except InvalidOperation:  # an exponent beyond even those of `decimal`
        return None


def _has_bad_key(node: JsonObject, limits: EventSettings) -> bool:
    return max(map(len, node), default=0) > limits.max_key_length or "\0" in "".join(node)


def _complaint(value: object) -> str | None:
    kind = value.__class__
    if kind is str:
        return _NUL if "\0" in cast("str", value) else None
    if kind is int:
        fits = INT64_MIN <= cast("int", value) <= INT64_MAX
        return None if fits else "is an integer beyond 64 bits; send it as a string"
    if kind is jiter.LosslessFloat:
        return "would not keep its value as a float64; send it as a string"
    return None
