"""The tree that every query becomes, whatever engine answers it."""

import json
from dataclasses import dataclass
from typing import Final, TypeAlias

SEVERITIES: Final = ("INFO", "WARNING", "ERROR", "CRITICAL")
"""All severities, the least first."""


@dataclass(frozen=True, slots=True)
class Everything:
    """Every event."""


@dataclass(frozen=True, slots=True)
class And:
    """The events that all parts match; every event if there are none."""

    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Or:
    """The events that at least one part matches; none if there are none."""

    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The events that the part does not match, those without its field included."""

    part: "Node"


@dataclass(frozen=True, slots=True)
class Equals:
    """The events whose field is this string, byte for byte.

    Attributes:
        field: Top-level name of the field on the wire.
        value: What it must be. A field that is absent, or no string, equals nothing.
    """

    field: str
    value: str


@dataclass(frozen=True, slots=True)
class OneOf:
    """The events whose field is one of these strings, byte for byte."""

    field: str
    values: frozenset[str]


@dataclass(frozen=True, slots=True)
class SeverityAtLeast:
    """The events of this severity or a worse one.

    Attributes:
        severity: One of `SEVERITIES`.
    """

    severity: str


@dataclass(frozen=True, slots=True)
class InNetwork:
    """The events whose field is an address in this network.

    Attributes:
        field: Top-level name of the field on the wire.
        network: In CIDR notation without host bits; a single address is a network of one.
    """

    field: str
    network: str


Path: TypeAlias = tuple[str, ...]
"""Keys from the root of an event to a value: ``("metadata", "order", "total")``. Items of an array have its path."""


@dataclass(frozen=True, slots=True)
class Words:
    """The events with a value in which these tokens follow each other (`query.tokens` makes them).

    Attributes:
        path: Where the value is; None is anywhere.
        tokens: One or more; a word of several tokens (an address, an id) is a phrase as well.
        prefix: The last token need only begin so.
    """

    path: Path | None
    tokens: tuple[str, ...]
    prefix: bool = False


@dataclass(frozen=True, slots=True)
class NumberRange:
    """The events with a number at a path within bounds. Numbers are compared as binary64 (IEEE 754).

    Attributes:
        path: Where the number is.
        low: Least number, or None.
        high: Greatest number, or None.
        low_open: The least number itself is left out.
        high_open: The greatest number itself is left out.
    """

    path: Path
    low: float | None
    high: float | None
    low_open: bool = False
    high_open: bool = False


@dataclass(frozen=True, slots=True)
class Exists:
    """The events that have a value other than null at this path, or below it."""

    path: Path


@dataclass(frozen=True, slots=True)
class OccurredBetween:
    """The events that occurred at or after `from_us` and before `to_us`, in Unix microseconds; None is unbounded."""

    from_us: int | None
    to_us: int | None


Node: TypeAlias = (
    Everything
    | And
    | Or
    | Not
    | Equals
    | OneOf
    | SeverityAtLeast
    | InNetwork
    | Words
    | NumberRange
    | Exists
    | OccurredBetween
)


def conjunction(*nodes: Node | None) -> Node:
    """Join nodes so that an event must match all of them; None and `Everything` ask for nothing."""
    parts: list[Node] = []
    for node in nodes:
        if isinstance(node, And):
            parts.extend(node.parts)
        elif node is not None and not isinstance(node, Everything):
            parts.append(node)
    if not parts:
        return Everything()
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def canonical(node: Node) -> str:
    """Write a tree so that two which differ only in the order or repetition of their parts are written alike.

    Returns:
        JSON in ASCII, stable between processes and releases: cursors are bound to it.
    """
    return _dump(_form(node))


_Form: TypeAlias = "list[str | _Form]"


def _form(node: Node) -> _Form:  # noqa: C901, PLR0911  # one for each kind of node
    match node:
        case Everything():
            return ["everything"]
        case And(parts) | Or(parts):
            name = "and" if isinstance(node, And) else "or"
            forms = {_dump(form): form for form in map(_form, parts)}
            return [name, *(forms[text] for text in sorted(forms))]
        case Not(part):
            return ["not", _form(part)]
        case Equals(field, value):
            return ["is", field, value]
        case OneOf(field, values):
            return ["is", field, *sorted(values)]
        case SeverityAtLeast(severity):
            return ["severity", severity]
        case InNetwork(field, network):
            return ["network", field, network]
        case Words(path, tokens, prefix):
            return ["words", list(path or ()), list(tokens), str(prefix)]
        case NumberRange(path, low, high, low_open, high_open):
            return ["numbers", list(path), repr(low), repr(high), str(low_open), str(high_open)]
        case Exists(path):
            return ["exists", list(path)]
        case OccurredBetween(from_us, to_us):
            return ["occurred", str(from_us), str(to_us)]


def _dump(form: _Form) -> str:
    return json.dumps(form, separators=(",", ":"))
