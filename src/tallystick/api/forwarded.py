"""Whom proxies name: the client and the scheme in `X-Forwarded-For` and `X-Forwarded-Proto`, from trusted ones alone.

Each proxy appends whom it was spoken to by, so the list is true from its right end as far as trusted proxies reach, and
the rest is whatever a client likes to send. (`Forwarded`, RFC 7239, is not read: balancers that send it send these,
too, and two ways to say one thing are two ways to lie.)
"""

import re
from collections.abc import Iterable, MutableMapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any, Final, TypeAlias

Network: TypeAlias = IPv4Network | IPv6Network

_REMEMBERED: Final = 4_096
_LONGEST: Final = 64
"""Characters of a hop, port and brackets included; so what is remembered is bounded."""

_WITH_PORT: Final = re.compile(r"\[(?P<bracketed>[^\]]*)\](?::[0-9]{1,5})?|(?P<bare>[0-9.]+):[0-9]{1,5}")


class Proxies:
    """The proxies that are believed.

    Args:
        trusted: Where they are. Whoever speaks from there can pass for anybody, so name no more than they need.
    """

    def __init__(self, trusted: Sequence[Network]) -> None:
        self._trusted = tuple(trusted)
        self._seen = lru_cache(_REMEMBERED)(self._look)

    def settle(self, scope: MutableMapping[str, Any]) -> bool:
        """Give a request's scope the client and the scheme that a trusted peer names; another's is left as it is.

        Returns:
            Whether the peer is trusted.
        """
        peer = scope.get("client")
        if not self._trusted or peer is None or not self._believed(peer[0]):
            return False
        headers = scope["headers"]
        client = self.client(peer[0], _joined(headers, b"x-forwarded-for"))
        if client != peer[0]:
            scope["client"] = (client, 0)
        scope["scheme"] = scheme_of(_joined(headers, b"x-forwarded-proto"), scope.get("scheme", "http"))
        return True

    def client(self, peer: str, forwarded_for: bytes) -> str:
        """Who sent a request: the nearest one that is no trusted proxy.

        Args:
            peer: The trusted proxy that opened the connection.
            forwarded_for: All `X-Forwarded-For` of the request, in their order, joined by commas.

        Returns:
            An address without port, brackets and zone. Where a hop is no address, the one that named it; where all are
            trusted, the farthest.
        """
        client = peer
        for text in reversed(forwarded_for.decode("latin-1").split(",")):
            hop = text.strip()
            if not hop:  # RFC 9110 §5.6.1: empty elements of a list count for nothing
                continue
            found = self._hop(hop)
            if found is None:
                break
            client, trusted = found
            if not trusted:
                break
        return client

    def _believed(self, peer: str) -> bool:
        found = self._hop(peer)
        return found is not None and found[1]

    def _hop(self, text: str) -> tuple[str, bool] | None:
        return self._seen(text) if len(text) <= _LONGEST else None

    def _look(self, text: str) -> tuple[str, bool] | None:
        """A hop's address and whether it is trusted; None where it is no address."""
        address = _address_in(text)
        if address is None:
            return None
        return str(address), any(address in network for network in self._trusted)


NO_PROXIES: Final = Proxies(())


def scheme_of(forwarded_proto: bytes, given: str) -> str:
    """The scheme by which a client came, as the nearest proxy tells it.

    Args:
        forwarded_proto: All `X-Forwarded-Proto` of the request, in their order, joined by commas.
        given: The scheme without it: `http`, `https`, `ws` or `wss`.
    """
    told = forwarded_proto.rpartition(b",")[2].strip().lower()
    if told not in (b"http", b"https", b"ws", b"wss"):
        return given
    plain = "ws" if given in ("ws", "wss") else "http"
    return plain + "s" if told in (b"https", b"wss") else plain


def _joined(headers: Iterable[tuple[bytes, bytes]], wanted: bytes) -> bytes:
    """The lines of a header as the one list that they are (RFC 9110 §5.3)."""
    return b",".join([value for name, value in headers if name == wanted])


def _address_in(text: str) -> IPv4Address | IPv6Address | None:
    """The address of a hop: `192.0.2.1`, `192.0.2.1:443`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:443`."""
    match = _WITH_PORT.fullmatch(text)
    bare = text if match is None else match["bracketed"] or match["bare"] or ""
    try:
        address = ip_address(bare.partition("%")[0])
    except ValueError:
        return None
    # A socket that takes both families names an IPv4 peer so.
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address
