"""The cursor of a listing: where a page ended, opaque, signed, and of use to the query that gave it alone.

The wire form is unpadded urlsafe base64 (RFC 4648 §5) of::

    1 byte    version, 1
    1 byte    direction: 0 next, 1 prev
    8 bytes   occurred_at, signed Unix microseconds, big-endian as all numbers here
    8 bytes   seq, signed
    8 bytes   received_at, signed Unix microseconds
    n bytes   key id, UTF-8
   16 bytes   HMAC-SHA-256 over all before it and the binding, cut to 128 bits
"""

import base64
import binascii
import hashlib
import hmac
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from tallystick.errors import Flaw, InvalidError

MAX_LENGTH: Final = 256
"""Longest cursor that is looked at, in characters."""

_VERSION: Final = 1
_FIELDS: Final = struct.Struct(">BBqqq")
_MAC_BYTES: Final = 16


class SigningKeys(Protocol):
    """The secrets that sign: one that is in use, and those that still verify."""

    @property
    def active_id(self) -> str:
        """Id of the key that signs now."""
        ...

    @property
    def keys(self) -> Mapping[str, bytes]:
        """Secrets by id, the active one among them."""
        ...


@dataclass(frozen=True, slots=True)
class Position:
    """Where in a listing to go on, exclusive.

    Attributes:
        backwards: Towards the first page (`prev`) instead of the last (`next`).
        occurred_us: Occurrence in Unix microseconds; 0 in a listing by seq.
        seq: Position in the log. One beyond an event's own makes the position include the event.
        received_us: Arrival in Unix microseconds, where the listing is bounded by it; 0 otherwise.
    """

    backwards: bool
    occurred_us: int
    seq: int
    received_us: int = 0


class CursorCodec:
    """Writes positions that only the same query can read back.

    Args:
        keys: Signs with the active key; a cursor whose key was rotated out is stale.
    """

    def __init__(self, keys: SigningKeys) -> None:
        self._keys = keys

    def encode(self, position: Position, binding: bytes) -> str:
        """Write a position.

        Args:
            position: Where to go on.
            binding: What the cursor holds for: the log, the canonical query, its order and time range.
        """
        key_id = self._keys.active_id
        fields = _FIELDS.pack(_VERSION, position.backwards, position.occurred_us, position.seq, position.received_us)
        signed = fields + key_id.encode()
        mac = _mac(self._keys.keys[key_id], signed, binding)
        return base64.urlsafe_b64encode(signed + mac).rstrip(b"=").decode()

    def decode(self, text: str, binding: bytes) -> Position:
        """Read a position back.

        Raises:
            InvalidError: Not a cursor of ours, not of this tenant and query, or its key was rotated out.
        """
        raw = _unbase64(text)
        signed, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
        if len(signed) < _FIELDS.size or signed[0] != _VERSION:
            raise _refusal()
        key = self._keys.keys.get(signed[_FIELDS.size :].decode(errors="replace"))
        if key is None or not hmac.compare_digest(mac, _mac(key, signed, binding)):
            raise _refusal()
        _, direction, occurred_us, seq, received_us = _FIELDS.unpack_from(signed)
        return Position(bool(direction), occurred_us, seq, received_us)


def _mac(key: bytes, signed: bytes, binding: bytes) -> bytes:
    # The length keeps the two parts apart: no byte of the one can be passed off as the other's.
    message = len(signed).to_bytes(4, "big") + signed + binding
    return hmac.digest(key, message, hashlib.sha256)[:_MAC_BYTES]


def _unbase64(text: str) -> bytes:
    if len(text) > MAX_LENGTH:
        raise _refusal()
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        raise _refusal() from None


def _refusal() -> InvalidError:
    detail = (
        "is not of this query: take `next` or `prev` as answered, change nothing but `limit`, or start anew without"
    )
    return InvalidError("the cursor does not belong to this query", flaws=[Flaw(detail, parameter="cursor")])
