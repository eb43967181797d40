"""A tree as a function over one event's parsed body."""

from collections.abc import Callable, Mapping
from ipaddress import IPv6Address, ip_address, ip_network
from typing import TypeAlias

from tallystick.query.ast import (
    SEVERITIES,
    And,
    Equals,
    Everything,
    InNetwork,
    Node,
    Not,
    OneOf,
    Or,
    SeverityAtLeast,
)

Predicate: TypeAlias = Callable[[Mapping[str, object]], bool]


def compile_predicate(node: Node) -> Predicate:  # noqa: PLR0911  # one for each kind of node
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
            return _all(tuple(map(compile_predicate, parts)))
        case Or(parts):
            return _any(tuple(map(compile_predicate, parts)))
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


def _all(parts: tuple[Predicate, ...]) -> Predicate:
    def matches(body: Mapping[str, object]) -> bool:
        for part in parts:  # noqa: SIM110  # a generator for each event costs more than the comparisons
            if not part(body):
                return False
        return True

    return matches


def _any(parts: tuple[Predicate, ...]) -> Predicate:
    def matches(body: Mapping[str, object]) -> bool:
        for part in parts:  # noqa: SIM110  # as above
            if part(body):
                return True
        return False

    return matches


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
