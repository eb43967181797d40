"""One tenant's keys at work: values are sealed, unsealed and digested. Pure: who fetched the keys is not its business.

A value is sealed by AES-256-GCM (NIST SP 800-38D) under a key of its event's own, drawn by HKDF-Expand (RFC 5869) from
the tenant's data key and the event's salt. So a data key is never near the 2³² random nonces that GCM allows a key,
however many events a tenant has. Tenant, data key, salt and JSON Pointer are associated data: what was sealed for one
place opens at no other.
"""

import base64
import binascii
import hmac
import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tallystick.query.sealed import SEALED_MEMBER, SEALED_TEXT, compact_of

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
DIGEST_PREFIX: Final = "hmac:"

_VERSION: Final = "1"
_SEAL: Final = b"tallystick seal 1"
_DIGEST: Final = b"tallystick digest 1"

JsonValue: TypeAlias = "dict[str, Any] | list[Any] | str | float | bool | None"
Refusal: TypeAlias = Literal["not_sealed", "unknown_key", "refused"]


class UnsealError(Exception):
    """A value cannot be unsealed.

    Attributes:
        reason: ``not_sealed``: it has not the form of a sealed value. ``unknown_key``: its data key is not among the
            tenant's, as when it was erased. ``refused``: it was sealed for another place, or altered.
    """

    def __init__(self, reason: Refusal) -> None:
        super().__init__(reason)
        self.reason: Refusal = reason


class DataKeys:
    """The keys of one tenant: data keys by id, of which the active one seals, and the one that digests.

    Args:
        tenant_id: Whose they are.
        active_id: The id of the data key to seal with: lower-case letters, digits and hyphens.
        keys: Data keys of 32 bytes by id, the active one included.
        hash_key: 32 bytes. It does not change when the data key does: a digest can only be compared with one that was
            made with the same key, and events that are stored are never written again.
    """

    def __init__(self, tenant_id: str, active_id: str, keys: Mapping[str, bytes], hash_key: bytes) -> None:
        self.tenant_id = tenant_id
        self.active_id = active_id
        self.keys = MappingProxyType(dict(keys))
        self._tenant = tenant_id.encode()
        self._digest_key = expand(hash_key, _DIGEST, self._tenant)

    def __repr__(self) -> str:
        return f"DataKeys({self.tenant_id!r}, {self.active_id!r})"

    def digest(self, value: str) -> str:
        """What stands for a value that is not to be read, but to be found: equal for equal values of the tenant.

        Returns:
            ``hmac:`` and 32 hexadecimal digits: HMAC-SHA-256, cut to half as RFC 2104 §5 allows.
        """
        return DIGEST_PREFIX + hmac.digest(self._digest_key, value.encode(), "sha256")[:16].hex()

    def seal(self, value: JsonValue, salt: bytes, pointer: str) -> dict[str, str]:
        """Encrypt a JSON value for one place in one event.

        Args:
            value: What `orjson` can write.
            salt: The event's, 12 random bytes.
            pointer: JSON Pointer (RFC 6901) of the value in the event's body.

        Returns:
            The JSON value to put there: see `query.sealed`.
        """
        return {SEALED_MEMBER: self._seal(value, salt, pointer)}

    def seal_text(self, text: str, salt: bytes, pointer: str) -> str:
        """Encrypt a string where readers expect one, as in `message`: as `seal`, but the answer is a string."""
        return SEALED_TEXT + self._seal(text, salt, pointer)

    def unseal(self, sealed: object, salt: bytes, pointer: str) -> JsonValue:
        """Decrypt what `seal` or `seal_text` gave for this place.

        Raises:
            UnsealError: It is not sealed, its key is gone, or it was not sealed for this place.
        """
        compact = compact_of(sealed)
        if compact is None:
            raise UnsealError("not_sealed")
        _, key_id, nonce, ciphertext = compact.split(".")
        data_key = self.keys.get(key_id)
        if data_key is None:
            raise UnsealError("unknown_key")
        try:
            plain = self._cipher(data_key, salt).decrypt(
                _decode(nonce), _decode(ciphertext), self._place(key_id, salt, pointer)
            )
        except (InvalidTag, binascii.Error) as error:
            raise UnsealError("refused") from error
        return orjson.loads(plain)

    def _seal(self, value: JsonValue, salt: bytes, pointer: str) -> str:
        nonce = os.urandom(NONCE_BYTES)
        ciphertext = self._cipher(self.keys[self.active_id], salt).encrypt(
            nonce, orjson.dumps(value), self._place(self.active_id, salt, pointer)
        )
        return f"{_VERSION}.{self.active_id}.{_encode(nonce)}.{_encode(ciphertext)}"

    def _cipher(self, data_key: bytes, salt: bytes) -> AESGCM:
        return AESGCM(expand(data_key, _SEAL, self._tenant, salt))

    def _place(self, key_id: str, salt: bytes, pointer: str) -> bytes:
        return join(_SEAL, self._tenant, key_id.encode(), salt, pointer.encode())


def expand(key: bytes, *info: bytes) -> bytes:
    """Derive a key of 32 bytes for one use: the first block of HKDF-Expand with SHA-256 (RFC 5869 §2.3).

    Args:
        key: Uniformly random, so that HKDF-Extract adds nothing.
        info: What the use is, part by part.
    """
    return hmac.digest(key, join(*info) + b"\x01", "sha256")


def join(*parts: bytes) -> bytes:
    """Put parts together so that no other parts give the same: each after its length, as four bytes."""
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if _encode(raw) != text:
        raise binascii.Error("not the one way to write it")
    return raw
