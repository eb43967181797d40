"""Retries made safe: a key, and a keyed digest of what came with it."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tallystick.auth.keys import SigningKeys

Scope = Literal["event", "request"]


@dataclass(frozen=True, slots=True)
class RequestKey:
    """The `Idempotency-Key` of a whole request (draft-ietf-httpapi-idempotency-key-header).

    Attributes:
        sent: As the client sent it.
        content: SHA-256 of everything that makes the request the same: operation and decompressed body.
        client: Whose key it is: two principals of a tenant may use the same one.
    """

    sent: str
    content: bytes
    client: str = ""

    @property
    def stored(self) -> str:
        """What it is looked up by."""
        return hashlib.sha256(f"{self.client}\0{self.sent}".encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class DigestKeys:
    """The keys that one batch makes and matches digests with, however they are rotated meanwhile.

    Attributes:
        active_id: Id of the key that new digests are made with.
        secrets: All keys by id.
    """

    active_id: str
    secrets: Mapping[str, bytes]

    def make(self, scope: Scope, content: bytes) -> bytes:
        """Digest with the active key: 32 bytes."""
        return _digest(self.secrets[self.active_id], scope, content)

    def match(self, scope: Scope, content: bytes, *, digest: bytes, key_id: str) -> bool:
        """Tell whether a stored digest was made of this content. False where its key is gone."""
        secret = self.secrets.get(key_id)
        return secret is not None and hmac.compare_digest(_digest(secret, scope, content), digest)


class Digests:
    """HMAC-SHA-256 over what a key came with. Keyed, so that a stolen table does not confirm a guessed event.

    Args:
        keys: Of kind `retry_digest`; an old one stays for as long as digests made with it are looked at (48 hours).
    """

    def __init__(self, keys: SigningKeys) -> None:
        self._keys = keys

    def for_batch(self) -> DigestKeys:
        """The keys as they are now."""
        while True:
            active_id, secrets = self._keys.active_id, self._keys.keys
            if active_id in secrets:  # else they were rotated between the two looks
                return DigestKeys(active_id, secrets)


def _digest(secret: bytes, scope: Scope, content: bytes) -> bytes:
    return hmac.digest(secret, scope.encode() + b"\0" + content, hashlib.sha256)
