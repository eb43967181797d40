"""The leaf of the Merkle tree: one event's body, hashed as RFC 6962 §2.1 hashes a leaf."""

import hashlib
import re

_LEAF_PREFIX = b"\x00"
_ANSWER_PREFIX = re.compile(rb'\{"seq":(0|[1-9][0-9]{0,18}),"leaf_hash":"([0-9a-f]{64})",')


def leaf_hash(body: bytes) -> bytes:
    """Hash an event's body.

    Args:
        body: The exact UTF-8 JSON bytes that the server stored.

    Returns:
        32 bytes: SHA-256(0x00 ‖ body), RFC 6962 §2.1.
    """
    return hashlib.sha256(_LEAF_PREFIX + body).digest()


def body_of(item: bytes) -> bytes:
    """Cut the stored body out of an event as the API answers it.

    Args:
        item: The exact bytes of one event: ``{"seq":N,"leaf_hash":"<64 hex>",`` and the body without its first brace.

    Returns:
        The body, byte for byte as it was hashed.

    Raises:
        ValueError: The bytes do not begin as an answered event does.
    """
    match = _ANSWER_PREFIX.match(item)
    if match is None:
        raise ValueError('an event starts with {"seq":N,"leaf_hash":"<64 hex digits>",')
    return b"{" + item[match.end() :]


def verify_event(item: bytes) -> bool:
    """Tell whether an answered event's body is what its leaf hash commits to.

    Args:
        item: The exact bytes of one event as the API answered it (an NDJSON line without its newline).

    Raises:
        ValueError: The bytes do not begin as an answered event does.
    """
    match = _ANSWER_PREFIX.match(item)
    if match is None:
        raise ValueError('an event starts with {"seq":N,"leaf_hash":"<64 hex digits>",')
    return leaf_hash(b"{" + item[match.end() :]).hex().encode() == match[2]
