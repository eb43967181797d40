"""External issuers: their keys by JWKS URL (RFC 7517 §5), cached, and renewed without making anybody wait."""

import asyncio
import json
import time
from collections.abc import Callable, Collection, Mapping
from ipaddress import ip_address
from types import MappingProxyType
from typing import Any, Final, cast
from urllib.parse import urlsplit

import httpx
import jwt
import structlog
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from tallystick.auth.issuers import Keys, VerificationKey
from tallystick.errors import ConfigurationError, UnavailableError

_log = structlog.get_logger(__name__)

FETCH_SECONDS: Final = 5.0
"""How long a fetch may take in all."""
RETRY_SECONDS: Final = 10.0
"""Least time between two fetches of one set, whoever asks: unknown key ids must not let callers hammer an issuer."""
MAX_BYTES: Final = 256 * 1024
"""Largest set that is read."""
MIN_RSA_BITS: Final = 2048  # RFC 7518 §3.3

# The one algorithm of each key type and curve. Symmetric keys have no place in a public set.
_ALGORITHMS: Final[Mapping[tuple[str, str | None], str]] = MappingProxyType(
    {("RSA", None): "RS256", ("EC", "P-256"): "ES256", ("OKP", "Ed25519"): "EdDSA"}
)


def checked_url(url: str) -> str:
    """The URL of a JWKS if it may be fetched: https, or http on loopback.

    Raises:
        ConfigurationError: It may not.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError as error:
        raise ConfigurationError(f"auth.external_issuers: `{url}` is no URL") from error
    if host and (parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host))):
        return url
    raise ConfigurationError(f"auth.external_issuers: `{url}` must be https (http on loopback alone)")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def http_client() -> httpx.AsyncClient:
    """The client for JWKS: no redirects, no proxy to loopback, no compression that could hide a size."""
    direct: dict[str, httpx.AsyncBaseTransport | None] = dict.fromkeys(
        ("all://localhost", "all://127.0.0.1", "all://[::1]"), None
    )
    return httpx.AsyncClient(
        follow_redirects=False,
        timeout=FETCH_SECONDS,
        mounts=direct,
        headers={"Accept": "application/jwk-set+json, application/json", "Accept-Encoding": "identity"},
    )


class RemoteIssuer:
    """The keys of one external issuer.

    Once fetched, a set is used until a newer one is there: a set older than ``cache`` seconds is renewed in the
    background, and a fetch that fails leaves it in place. Only the first use and an unknown key id wait for a fetch.

    Args:
        url: Where the set is.
        client: The HTTP client to use.
        algorithms: The accepted algorithms; keys of others are left out.
        cache: Seconds after which a set is renewed.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        url: str,
        client: httpx.AsyncClient,
        algorithms: Collection[str],
        cache: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = checked_url(url)
        self._client = client
        self._algorithms = frozenset(algorithms)
        self._cache = cache
        self._clock = clock
        self._source: Mapping[str, Mapping[str, Any]] | None = None
        self._keys: Keys = MappingProxyType({})
        self._tried_at = float("-inf")
        self._renew_at = float("inf")
        self._failed = False
        self._fetching: asyncio.Task[None] | None = None

    def current(self) -> Keys:
        """The keys as last fetched; starts to renew them when it is time. Needs a running event loop."""
        if self._clock() >= self._renew_at:
            self._fetch_once()
        return self._keys

    async def look_again(self) -> Keys:
        """The keys after a fetch, unless one was tried in the last seconds.

        Raises:
            UnavailableError: The last fetch failed, so whether an unknown id is among the keys cannot be told.
        """
        fetching = self._fetch_once()
        if fetching is not None:
            await asyncio.shield(fetching)  # it is everybody's: a caller that hangs up must not end it
        if self._failed:
            raise UnavailableError(
                "the keys of the token's issuer cannot be fetched now; try again", retry_after=int(RETRY_SECONDS)
            )
        return self._keys

    async def aclose(self) -> None:
        """End a fetch that is under way."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])

    def _fetch_once(self) -> asyncio.Task[None] | None:
        """The fetch under way, or a new one, or None when it is too early for that."""
        if self._fetching is not None:
            return self._fetching
        now = self._clock()
        if now - self._tried_at < RETRY_SECONDS:
            return None
        self._tried_at = now
        self._fetching = asyncio.create_task(self._fetch())
        return self._fetching

    async def _fetch(self) -> None:
        try:
            self._take(await self._download())
            self._failed = False
            self._renew_at = self._clock() + self._cache
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, ValueError, RecursionError) as error:
            self._failed = True
            if self._source is not None:
                self._renew_at = self._clock() + RETRY_SECONDS
            _log.warning("jwks_not_fetched", url=self._url, error=type(error).__name__)
        finally:
            self._fetching = None

    async def _download(self) -> bytes:
        async with asyncio.timeout(FETCH_SECONDS), self._client.stream("GET", self._url) as response:
            if response.status_code != 200:
                raise ValueError(response.status_code)
            content = bytearray()
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > MAX_BYTES:
                    raise ValueError("too large")
            return bytes(content)

    def _take(self, content: bytes) -> None:
        source = _by_id(json.loads(content))
        if source == self._source:
            return
        found = {kid: key for kid, data in source.items() if (key := _usable(data, self._algorithms)) is not None}
        self._source = source
        self._keys = MappingProxyType(found)
        if not found:
            _log.warning("jwks_without_usable_keys", url=self._url)


def _by_id(document: object) -> dict[str, dict[str, Any]]:
    """The keys of a set by id. One without an id cannot be named by a token; of two with the same the first counts."""
    listed = cast("dict[str, object]", document).get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise ValueError("no `keys`")  # noqa: TRY004  (what was downloaded is wrong, not what was passed)
    found: dict[str, dict[str, Any]] = {}
    for item in cast("list[object]", listed):
        if isinstance(item, dict):
            key = cast("dict[str, Any]", item)
            if isinstance(key.get("kid"), str):
                found.setdefault(key["kid"], key)
    return found


def _usable(data: Mapping[str, Any], algorithms: Collection[str]) -> VerificationKey | None:
    """The key, if it is a public one for signatures by an accepted algorithm; others may share the set."""
    kind, curve = data.get("kty"), data.get("crv")
    if not isinstance(kind, str) or not (curve is None or isinstance(curve, str)):
        return None
    algorithm = _ALGORITHMS.get((kind, curve))
    if algorithm is None or algorithm not in algorithms or data.get("alg", algorithm) != algorithm:
        return None
    if data.get("use", "sig") != "sig" or "d" in data:
        return None
    try:
        key = jwt.PyJWK.from_dict(dict(data), algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError):
        return None
    if isinstance(key, RSAPublicKey) and key.key_size < MIN_RSA_BITS:
        return None
    return VerificationKey(algorithm, key)
