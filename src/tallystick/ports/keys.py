"""The ring of master keys, which wrap the keys of tenants, and what it promises."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


class MasterKeyLostError(Exception):
    """A wrapped key cannot be unwrapped, now or later: its master key is not there, or it was altered or misplaced."""


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A key, encrypted by a master key.

    Attributes:
        master_key_id: Which: what `KeyRing.active_id` gave when it was wrapped.
        content: To be kept as it is.
    """

    master_key_id: str
    content: bytes


class KeyRing(Protocol):
    """Holds master keys, which wrap the data keys of tenants and never leave it.

    It keeps nothing of what it wraps: that is the caller's to store. A wrapped key can be unwrapped for as long as its
    master key is held, and only with the context that it was wrapped with, names and values alike. What was once
    active stays held until a person removes it. Methods may be called at once and again; each raises `KeysDownError`
    while the ring does not answer, refuses or is at its limit. Nothing that is secret is logged or put into an error.
    """

    async def active_id(self) -> str:
        """The id of the master key that wraps now."""
        ...

    async def wrap(self, key: bytes, context: Mapping[str, str]) -> Wrapped:
        """Encrypt a key of at most 64 bytes by the active master key.

        Args:
            key: What to wrap.
            context: Whose it is and what for: bound to it, not secret, and maybe in the ring's own audit log.
        """
        ...

    async def unwrap(self, wrapped: Wrapped, context: Mapping[str, str]) -> bytes:
        """Decrypt what `wrap` gave.

        Raises:
            MasterKeyLostError: It cannot be, now or later.
        """
        ...

    async def rewrap(self, wrapped: Wrapped, context: Mapping[str, str]) -> Wrapped:
        """Wrap by the active master key what was wrapped before, maybe by another; the key itself is not given out.

        Raises:
            MasterKeyLostError: It cannot be unwrapped, now or later.
        """
        ...
