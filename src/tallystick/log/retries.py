"""Retries made safe: a key, and a keyed digest of what came with it."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

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


@dataclass(frozen=True, slots=True)
class Digests:
    """HMAC-SHA-256 over what a key came with. Keyed, so that a stolen table does not confirm a guessed event.

    Attributes:
        active: Id of the key that new digests are made with.
        keys: Secrets by id; an old one stays for as long as digests made with it are looked at.
    """

    active: str
    keys: Mapping[str, bytes]

    def make(self, scope: Scope, content: bytes) -> bytes:
        """Digest with the active key: 32 bytes."""
        return self._digest(self.active, scope, content)

    def match(self, scope: Scope, content: bytes, *, digest: bytes, key_id: str) -> bool:
        """Tell whether a stored digest was made of this content. False where its key is gone."""
        return key_id in self.keys and hmac.compare_digest(self._digest(key_id, scope, content), digest)

    def _digest(self, key_id: str, scope: Scope, content: bytes) -> bytes:
        return hmac.digest(self.keys[key_id], scope.encode() + b"\0" + content, hashlib.sha256)
