"""Whose tokens hold: the keys of the local issuer, and what a key may verify."""

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Protocol

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from tallystick.auth.keys import Keyring, KeySet
from tallystick.errors import ConfigurationError

_LOOK_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A key with the one algorithm it verifies (RFC 8725 §3.1): a token's ``alg`` header must agree, it never decides.

    Attributes:
        algorithm: ``EdDSA``, ``RS256``, ``ES256`` or ``HS256``.
        key: The public key, or the shared secret of HS256.
    """

    algorithm: str
    key: Ed25519PublicKey | RSAPublicKey | EllipticCurvePublicKey | bytes


Keys = Mapping[str, VerificationKey]


class Issuer(Protocol):
    """Where the keys of one ``iss`` come from."""

    def current(self) -> Keys:
        """The keys by id as they are known now; the same object as long as they do not change."""
        ...

    async def look_again(self) -> Keys:
        """The keys, after looking for new ones: somebody came with an id that is not known.

        Raises:
            UnavailableError: The keys cannot be had now, so it cannot be told whether the id is one of them.
        """
        ...


class LocalIssuer:
    """This installation's own issuer: the keys in its key files, looked at every second.

    Args:
        keyring: The key files.
        algorithms: The accepted algorithms; the HS256 secrets count only when it is among them.
        clock: Monotonic seconds.

    Raises:
        ConfigurationError: HS256 is accepted and there is no key file for it.
    """

    def __init__(
        self, keyring: Keyring, algorithms: Collection[str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        if "HS256" in algorithms and keyring.hs256 is None:
            raise ConfigurationError(
                "HS256 is among auth.algorithms and there is no key file `hs256.json`: "
                "run `tallystick token rotate-key --kind hs256`"
            )
        self._signing = keyring.token_signing if "EdDSA" in algorithms else None
        self._shared = keyring.hs256 if "HS256" in algorithms else None
        self._clock = clock
        self._looked_at = float("-inf")
        self._sets: tuple[KeySet | None, KeySet | None] = (None, None)
        self._keys: Keys = MappingProxyType({})

    def current(self) -> Keys:
        """The keys of the key files, at most a second old."""
        now = self._clock()
        if now - self._looked_at >= _LOOK_SECONDS:
            self._looked_at = now
            self._look()
        return self._keys

    async def look_again(self) -> Keys:
        """The keys of the key files now: a key may have been added this very second."""
        self._look()
        return self._keys

    def _look(self) -> None:
        signing = None if self._signing is None else self._signing.current
        shared = None if self._shared is None else self._shared.current
        if signing is self._sets[0] and shared is self._sets[1]:
            return
        keys: dict[str, VerificationKey] = {}
        if shared is not None:
            keys |= {kid: VerificationKey("HS256", secret) for kid, secret in shared.secrets.items()}
        if signing is not None:
            keys |= {kid: VerificationKey("EdDSA", _public(seed)) for kid, seed in signing.secrets.items()}
        self._sets = (signing, shared)
        self._keys = MappingProxyType(keys)


def _public(seed: bytes) -> Ed25519PublicKey:
    return Ed25519PrivateKey.from_private_bytes(seed).public_key()
