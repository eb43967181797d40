"""The structured filters of a listing: query parameters in, a tree out."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_network
from types import MappingProxyType
from typing import Final

from tallystick.errors import Flaw, InvalidError
from tallystick.query.ast import SEVERITIES, Equals, InNetwork, Node, OneOf, Or, SeverityAtLeast, conjunction

MAX_VALUES: Final = 100
"""Most values of one repeated parameter."""

NAMED_FIELDS: Final = (
    "user_id",
    "session_id",
    "action",
    "resource_type",
    "resource_id",
    "request_id",
    "event_id",
    "user_agent",
    "severity",
)
"""Parameters that bear the name of the field they compare, byte for byte."""

PARAMETERS: Final = (*NAMED_FIELDS, "min_severity", "ip")
"""Every parameter that filters."""


@dataclass(frozen=True, slots=True)
class FilterParams:
    """What a listing may be filtered by. Values of one parameter are alternatives; all parameters must hold.

    Attributes:
        fields: Values by name, each one of `NAMED_FIELDS`.
        min_severity: At most one severity, the least to be listed.
        ip: Addresses or networks in CIDR notation, of either family.
    """

    fields: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    min_severity: tuple[str, ...] = ()
    ip: tuple[str, ...] = ()

    @classmethod
    def from_values(cls, values: Mapping[str, Iterable[str]]) -> "FilterParams":
        """Pick the filters out of query parameters; names that do not filter are the caller's business."""
        return cls(
            fields=MappingProxyType({name: tuple(values[name]) for name in NAMED_FIELDS if values.get(name)}),
            min_severity=tuple(values.get("min_severity", ())),
            ip=tuple(values.get("ip", ())),
        )


def to_filter(params: FilterParams) -> Node:
    """Make the tree of a listing's filters.

    Raises:
        InvalidError: With a flaw for each parameter that has a value which cannot be.
    """
    flaws: list[Flaw] = []
    nodes: list[Node] = []

    def add(name: str, values: tuple[str, ...], make: Callable[[tuple[str, ...]], Node]) -> None:
        try:
            nodes.append(make(_checked(values)))
        except ValueError as error:
            flaws.append(Flaw(str(error), parameter=name))

    for name, values in params.fields.items():
        add(name, values, _severities if name == "severity" else _values_of(name))
    if params.min_severity:
        add("min_severity", params.min_severity, _least_severity)
    if params.ip:
        add("ip", params.ip, _networks)
    if flaws:
        raise InvalidError("a filter is not valid; each entry of `errors` names its parameter", flaws=flaws)
    return conjunction(*nodes)


def _checked(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(values) > MAX_VALUES:
        raise ValueError(f"has more than {MAX_VALUES} values; ask in several requests")
    if "" in values:
        raise ValueError("is empty: leave it out, or give it a value")
    return values


def _is_one_of(name: str, values: tuple[str, ...]) -> Node:
    distinct = frozenset(values)
    return Equals(name, values[0]) if len(distinct) == 1 else OneOf(name, distinct)


def _values_of(name: str) -> Callable[[tuple[str, ...]], Node]:
    return lambda values: _is_one_of(name, values)


def _severity(value: str) -> str:
    if value not in SEVERITIES:
        raise ValueError(f"must be one of {', '.join(SEVERITIES)}")
    return value


def _severities(values: tuple[str, ...]) -> Node:
    return _is_one_of("severity", tuple(map(_severity, values)))


def _least_severity(values: tuple[str, ...]) -> Node:
    first, *others = values
    if others:
        raise ValueError("may be given once")
    return SeverityAtLeast(_severity(first))


def _networks(values: tuple[str, ...]) -> Node:
    networks = dict.fromkeys(map(network_of, values))
    nodes: tuple[Node, ...] = tuple(InNetwork("ip_address", network) for network in networks)
    return nodes[0] if len(nodes) == 1 else Or(nodes)


def network_of(value: str) -> str:
    """Read an address or a network, of either family, as a network in CIDR notation without host bits.

    Raises:
        ValueError: The message says what it must be.
    """
    if "%" in value:
        raise ValueError("has a zone, which means nothing on another host: leave out the % and what follows")
    try:
        network = ip_network(value, strict=False)
    except ValueError:
        raise ValueError("must be an IPv4 or IPv6 address, or a network as in 10.1.0.0/16 or 2001:db8::/32") from None
    return str(_as_ipv4(network) if isinstance(network, IPv6Network) else network)


def _as_ipv4(network: IPv6Network) -> IPv4Network | IPv6Network:
    """An IPv4 network that was written as IPv4-mapped IPv6 (RFC 4291 §2.5.5.2) is what it maps."""
    mapped = IPv6Address(network.network_address).ipv4_mapped
    if mapped is None or network.prefixlen < 96:
        return network
    return IPv4Network((mapped, network.prefixlen - 96))
