"""Where a request comes from, as far as the server and trusted proxies tell."""

from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Final

from starlette.requests import HTTPConnection

UNKNOWN: Final = "unknown"
"""In place of an address where the server knows none."""


def address_of(request: HTTPConnection) -> str | None:
    """The client's address, without a zone; None where the server knows none."""
    host = None if request.client is None else request.client.host.partition("%")[0]
    try:
        address = None if host is None else ip_address(host)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return None if address is None else str(address)


def source_of(request: HTTPConnection) -> str:
    """Whose failures are counted together: an IPv4 address, or the /64 that one IPv6 client has to itself."""
    address = address_of(request) or UNKNOWN
    return str(IPv6Network(f"{address}/64", strict=False)) if ":" in address else address
