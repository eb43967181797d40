"""What a principal may see, as data that outlives its request, read back by a reader that never widens it."""

import json
from typing import cast

from tallystick.query.ast import And, Equals, Everything, Node, OneOf, canonical

written = canonical
"""A narrowing as text, the same text for the same narrowing."""


def read(text: str) -> Node:
    """Read what `written` wrote of a narrowing.

    Raises:
        ValueError: It is no narrowing that this release knows: nothing may be shown by it.
    """
    return _node(json.loads(text))


def _node(form: object) -> Node:
    if not isinstance(form, list) or not form:
        raise ValueError("no narrowing")
    kind, *rest = cast("list[object]", form)
    if kind == "everything" and not rest:
        return Everything()
    if kind == "and" and rest:
        return And(tuple(map(_node, rest)))
    if kind == "is" and rest and all(isinstance(each, str) for each in rest):
        field, *values = cast("list[str]", rest)
        return Equals(field, values[0]) if len(values) == 1 else OneOf(field, frozenset(values))
    raise ValueError("a narrowing of a kind that is not known")
