"""A ring of master keys in a file on this machine: it needs nothing but the key folder."""

import os
from collections.abc import Mapping
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tallystick.auth.keys import SigningKeys
from tallystick.ports import MasterKeyLostError, Wrapped
from tallystick.privacy.sealing import NONCE_BYTES, expand, join

_WRAP: Final = b"tallystick wrap 1"


class LocalKeyRing:
    """Implements `KeyRing` by AES-256-GCM. It always answers: the keys are in memory.

    Args:
        keys: The master keys. When their file changes, so do they.
    """

    def __init__(self, keys: SigningKeys) -> None:
        self._keys = keys

    async def active_id(self) -> str:
        """See `ports.KeyRing`."""
        return self._keys.active_id

    async def wrap(self, key: bytes, context: Mapping[str, str]) -> Wrapped:
        """See `ports.KeyRing`."""
        master_key_id = self._keys.active_id
        nonce = os.urandom(NONCE_BYTES)
        content = self._cipher(master_key_id).encrypt(nonce, key, _bound(master_key_id, context))
        return Wrapped(master_key_id, nonce + content)

    async def unwrap(self, wrapped: Wrapped, context: Mapping[str, str]) -> bytes:
        """See `ports.KeyRing`."""
        nonce, content = wrapped.content[:NONCE_BYTES], wrapped.content[NONCE_BYTES:]
        try:
            return self._cipher(wrapped.master_key_id).decrypt(nonce, content, _bound(wrapped.master_key_id, context))
        except (KeyError, InvalidTag, ValueError) as error:
            raise MasterKeyLostError(f"the master key {wrapped.master_key_id} is not held, or not the one") from error

    async def rewrap(self, wrapped: Wrapped, context: Mapping[str, str]) -> Wrapped:
        """See `ports.KeyRing`."""
        return await self.wrap(await self.unwrap(wrapped, context), context)

    def _cipher(self, master_key_id: str) -> AESGCM:
        return AESGCM(expand(self._keys.keys[master_key_id], _WRAP))


def _bound(master_key_id: str, context: Mapping[str, str]) -> bytes:
    pairs = [part.encode() for name in sorted(context) for part in (name, context[name])]
    return join(_WRAP, master_key_id.encode(), *pairs)
