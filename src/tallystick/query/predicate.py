"""A tree as a function over one event's parsed body."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final, TypeAlias, cast

from tallystick.query.analysis import TEXT_FIELDS, TREES, number_text
from tallystick.query.ast import (
    SEVERITIES,
    And,
    Equals,
    Everything,
    Exists,
    InNetwork,
    Node,
    Not,
    NumberRange,
    OccurredBetween,
    OneOf,
    Or,
    Path,
    SeverityAtLeast,
    Words,
)
from tallystick.query.joining import every, some
from tallystick.query.sealed import compact_of
from tallystick.query.timestamps import parse_timestamp
from tallystick.query.tokens import tokens

Predicate: TypeAlias = Callable[[Mapping[str, object]], bool]

_SEALED: Final = object()


def compile_predicate(node: Node) -> Predicate:  # noqa: C901, PLR0911  # one for each kind of node
    """Make the function that tells whether a body matches.

    Strings are compared as they are, nothing folded; addresses by what they mean. A field that is absent, or of another
    type than the comparison, matches nothing.

    Raises:
        ValueError: A severity or a network of the tree is none; `query.filters` lets neither through.
    """
    match node:
        case Everything():
            return lambda _: True
        case And(parts):
            return every(tuple(map(compile_predicate, parts)))
        case Or(parts):
            return some(tuple(map(compile_predicate, parts)))
        case Not(part):
            refused = compile_predicate(part)
            return lambda body: not refused(body)
        case Equals(field, value):
            return lambda body: body.get(field) == value
        case OneOf(field, values):
            return _one_of(field, values)
        case SeverityAtLeast(severity):
            return _one_of("severity", frozenset(SEVERITIES[SEVERITIES.index(severity) :]))
        case InNetwork(field, network):
            return _in_network(field, network)
        case Words(path, wanted, prefix):
            return _words(path, wanted, prefix=prefix)
        case NumberRange():
            return _in_range(node)
        case Exists(path):
            return lambda body: any(value is not None for value in _at(body, path))
        case OccurredBetween(from_us, to_us):
            return _occurred(from_us, to_us)


def _one_of(field: str, values: frozenset[str]) -> Predicate:
    def matches(body: Mapping[str, object]) -> bool:
        value = body.get(field)
        return isinstance(value, str) and value in values

    return matches


def _in_network(field: str, network: str) -> Predicate:
    parsed = ip_network(network)
    version, first, mask = parsed.version, int(parsed.network_address), int(parsed.netmask)

    def matches(body: Mapping[str, object]) -> bool:
        value = body.get(field)
        if not isinstance(value, str):
            return False
        try:
            address = ip_address(value)
        except ValueError:
            return False
        if isinstance(address, IPv6Address) and (mapped := address.ipv4_mapped) is not None:
            address = mapped
        return address.version == version and int(address) & mask == first

    return matches


def _words(path: Path | None, wanted: Sequence[str], *, prefix: bool) -> Predicate:
    def matches(body: Mapping[str, object]) -> bool:
        return any(_follow(tokens(text), wanted, prefix=prefix) for text in _texts(body, path))

    return matches


def _follow(found: Sequence[str], wanted: Sequence[str], *, prefix: bool) -> bool:
    """Whether the wanted tokens stand in the found ones one after the other."""
    *first, last = wanted
    for start in range(len(found) - len(wanted) + 1):
        end = start + len(first)
        if list(found[start:end]) == first and (found[end].startswith(last) if prefix else found[end] == last):
            return True
    return False


def _texts(body: Mapping[str, object], path: Path | None) -> Iterator[str]:
    """The texts of an event, or those at a path; numbers and truth values as they are found by words."""
    values = map(body.get, (*TEXT_FIELDS, *TREES)) if path is None else _at(body, path)
    for leaf in _leaves(values, deep=path is None):
        if isinstance(leaf, str):
            yield leaf
        elif isinstance(leaf, int | float):
            yield number_text(leaf)


def _at(body: Mapping[str, object], path: Path) -> Iterable[object]:
    """What lies at a path; the items of an array lie where the array does."""
    values: Iterable[object] = (body,)
    for key in path:
        objects = (cast("Mapping[str, object]", item) for item in _leaves(values) if isinstance(item, dict))
        values = [item[key] for item in objects if key in item]
    return values


def _leaves(values: Iterable[object], *, deep: bool = False) -> Iterator[object]:
    """The values themselves, the items of arrays instead of the arrays, and if deep those of objects likewise.

    What is sealed is a value of its own kind: it is there, and has neither text nor members.
    """
    for value in values:
        if isinstance(value, str | dict) and compact_of(cast("object", value)) is not None:
            yield _SEALED
        elif isinstance(value, list):
            yield from _leaves(cast("list[object]", value), deep=deep)
        elif deep and isinstance(value, dict):
            yield from _leaves(cast("dict[str, object]", value).values(), deep=deep)
        else:
            yield value


def _in_range(node: NumberRange) -> Predicate:
    def within(value: object) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        number = float(value)
        above = node.low is None or (number > node.low if node.low_open else number >= node.low)
        below = node.high is None or (number < node.high if node.high_open else number <= node.high)
        return above and below

    return lambda body: any(map(within, _leaves(_at(body, node.path))))


def _occurred(from_us: int | None, to_us: int | None) -> Predicate:
    def matches(body: Mapping[str, object]) -> bool:
        timestamp = body.get("timestamp")
        if not isinstance(timestamp, str):
            return False
        moment = parse_timestamp(timestamp)
        return (from_us is None or moment >= from_us) and (to_us is None or moment < to_us)

    return matches
