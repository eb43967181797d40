"""From a token to a principal: JWT verification (RFC 7519, RFC 8725) and the memory of tokens verified before."""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, cast

import httpx
import jwt

from tallystick.auth.claims import principal_of
from tallystick.auth.issuers import Issuer, Keys, LocalIssuer, VerificationKey
from tallystick.auth.jwks import RemoteIssuer, http_client
from tallystick.auth.keys import Keyring
from tallystick.auth.model import Principal
from tallystick.auth.refusals import challenge
from tallystick.errors import ConfigurationError, UnauthenticatedError
from tallystick.settings import AuthSettings

REQUIRED_CLAIMS: Final = ("iss", "aud", "exp", "sub")
REMEMBERED: Final = 10_000
"""Most verified tokens that a process remembers."""


@dataclass(frozen=True, slots=True)
class _Verified:
    """A principal, and the keys as they were when its token was verified."""

    principal: Principal
    issuer: Issuer
    keys: Keys


class TokenVerifier:
    """Verifies tokens of the local issuer and of the configured external ones.

    Args:
        settings: Issuers, audience, algorithms, leeway and claim names.
        keyring: The local issuer's keys.
        capacity: Most verified tokens to remember; the least recently used go first.
        clock: Monotonic seconds.
        now: Unix seconds.

    Raises:
        ConfigurationError: An issuer cannot be used as configured.
    """

    def __init__(
        self,
        settings: AuthSettings,
        keyring: Keyring,
        *,
        capacity: int = REMEMBERED,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        if settings.issuer in settings.external_issuers:
            raise ConfigurationError(f"`{settings.issuer}` is both auth.issuer and among auth.external_issuers")
        self._settings = settings
        self._capacity = capacity
        self._now = now
        # Reading the system's certificates takes longer than all else here, so only who asks others does.
        self._client: httpx.AsyncClient | None = http_client() if settings.external_issuers else None
        self._remote: dict[str, RemoteIssuer] = {}
        if self._client is not None:
            for name, url in settings.external_issuers.items():
                self._remote[name] = RemoteIssuer(url, self._client, settings.algorithms, settings.jwks_cache, clock)
        self._issuers: Mapping[str, Issuer] = {
            settings.issuer: LocalIssuer(keyring, settings.algorithms, clock),
            **self._remote,
        }
        self._verified: OrderedDict[bytes, _Verified] = OrderedDict()

    def remembered(self, token: str) -> Principal | None:
        """The principal of a token that was verified before and still holds, without waiting.

        A token is forgotten when it expires and when its issuer's keys change: the key may be one that was withdrawn.
        """
        digest = _digest(token)
        entry = self._verified.get(digest)
        if entry is None:
            return None
        expired = entry.principal.expires_at <= self._now() - self._settings.leeway
        if expired or entry.issuer.current() is not entry.keys:
            del self._verified[digest]
            return None
        self._verified.move_to_end(digest)
        return entry.principal

    async def verify(self, token: str) -> Principal:
        """Verify a token and remember it.

        Raises:
            UnauthenticatedError: It does not hold; the message says why.
            UnavailableError: The issuer's keys cannot be had now.
        """
        if len(token) > self._settings.max_token_bytes:
            raise challenge(f"the token is longer than {self._settings.max_token_bytes} bytes")
        header, unverified = _peek(token)
        named = unverified.get("iss")
        issuer = self._issuers.get(named) if isinstance(named, str) else None
        if issuer is None:
            raise challenge("the token's issuer (claim `iss`) is not one that is configured here")
        kid = header.get("kid")
        if not isinstance(kid, str):
            raise challenge("the token's header names no key (`kid`)")
        keys = issuer.current()
        if kid not in keys:
            keys = await issuer.look_again()
        if kid not in keys:
            raise challenge("the token was signed with a key that its issuer does not have, or not any more")
        claims = self._check(token, keys[kid], cast("str", named), unverified)
        principal = principal_of(claims, self._settings)
        self._remember(token, _Verified(principal, issuer, keys))
        return principal

    async def aclose(self) -> None:
        """End what is under way and close the HTTP client."""
        for issuer in self._remote.values():
            await issuer.aclose()
        if self._client is not None:
            await self._client.aclose()

    def _remember(self, token: str, entry: _Verified) -> None:
        self._verified[_digest(token)] = entry
        if len(self._verified) > self._capacity:
            self._verified.popitem(last=False)

    def _check(self, token: str, key: VerificationKey, issuer: str, unverified: Mapping[str, Any]) -> dict[str, Any]:
        """The claims, once signature, times, issuer and audience hold. PyJWT looks at the signature before all else."""
        try:
            return jwt.decode(
                token,
                key.key,
                algorithms=[key.algorithm],
                audience=self._settings.audience,
                issuer=issuer,
                leeway=self._settings.leeway,
                options={"require": list(REQUIRED_CLAIMS)},
            )
        except jwt.ExpiredSignatureError as error:
            raise challenge(f"the token expired at {_moment(unverified['exp'])}") from error
        except jwt.InvalidTokenError as error:
            raise self._explained(error) from error

    def _explained(self, error: jwt.InvalidTokenError) -> UnauthenticatedError:
        match error:
            case jwt.ImmatureSignatureError():
                problem = "the token is not valid yet: its `nbf` or `iat` lies in the future"
            case jwt.InvalidAudienceError():
                problem = f"the token is for another audience (`aud`); it must name `{self._settings.audience}`"
            case jwt.MissingRequiredClaimError(claim=claim):
                problem = f"the token lacks the claim `{claim}`"
            case jwt.InvalidAlgorithmError():
                problem = "the token's `alg` is not the algorithm of its key"
            case jwt.InvalidSignatureError():
                problem = "the token's signature does not match"
            case _:
                problem = "a claim of the token has another type than RFC 7519 gives it, or the token is malformed"
        return challenge(problem)


def _peek(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims, believed in nothing but which issuer and key to try."""
    try:
        parts = jwt.decode_complete(token, options={"verify_signature": False})
    except (jwt.InvalidTokenError, ValueError) as error:
        raise challenge("the token is malformed: it is no signed JWT") from error
    return parts["header"], parts["payload"]


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _moment(seconds: object) -> str:
    try:
        return datetime.fromtimestamp(int(cast("int", seconds)), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError):
        return "a time before all calendars"
