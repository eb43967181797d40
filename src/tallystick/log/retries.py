"""Retries made safe: a key, and a keyed digest of what came with it."""

import hashlib
import hmac
from dataclasses import dataclass
from typing import Literal

from tallystick.auth.keys import SigningKeys

Scope = Literal["event", "request"]


@dataclass(frozen=True, slots=True)
class RequestKey:
    """The `Idempotency-Key` of a whole request (draft-ietf-httpapi-idempotency-key-header).

    Attributes:
        key: As the client sent it.
        content: SHA-256 of everything that makes the request the same: operation, options and decompressed body.
    """

    key: str
    content: bytes


class Digests:
    """HMAC-SHA-256 over what a key came with. Keyed, so that a stolen table does not confirm a guessed event.

    Args:
        keys: Of kind `retry_digest`; an old one stays for as long as digests made with it are looked at (48 hours).
    """

    def __init__(self, keys: SigningKeys) -> None:
        self._keys = keys

    def make(self, scope: Scope, content: bytes) -> tuple[str, bytes]:
        """Digest with the active key; returns that key's id and 32 bytes."""
        key_id = self._keys.active_id
        return key_id, _digest(self._keys.keys[key_id], scope, content)

    def match(self, scope: Scope, content: bytes, *, digest: bytes, key_id: str) -> bool:
        """Tell whether a stored digest was made of this content. False where its key is gone."""
        secret = self._keys.keys.get(key_id)
        return secret is not None and hmac.compare_digest(_digest(secret, scope, content), digest)


def _digest(secret: bytes, scope: Scope, content: bytes) -> bytes:
    return hmac.digest(secret, scope.encode() + b"\0" + content, hashlib.sha256)
