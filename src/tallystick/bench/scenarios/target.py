"""The deployment under load: where it is, its tenants and their tokens, and what must be so before the clock starts."""

import json
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import urlsplit

import httpx

from tallystick.bench.payloads import Payloads
from tallystick.errors import ConfigurationError

PREFIX: Final = "bench-load"
"""How the ids of tenants begin that are made for scenarios, and used again by the next."""

_SEEDS: Final = 100
_TIMEOUT: Final = 30.0


@dataclass(frozen=True, slots=True)
class Target:
    """A deployment.

    Attributes:
        url: Its base, without a path.
        tokens: Of each tenant, the busiest first.
        ca_file: Whose certificates are trusted; the system's where it is None.
        makes_tenants: Whether those that are absent are made: the token is a platform admin's.
    """

    url: str
    tokens: Mapping[str, str]
    ca_file: str | None
    makes_tenants: bool

    @property
    def tenants(self) -> Sequence[str]:
        """Their ids."""
        return list(self.tokens)

    def tls(self) -> ssl.SSLContext | None:
        """Whose certificates are trusted; None without TLS.

        Raises:
            ConfigurationError: The file has no certificate.
        """
        if urlsplit(self.url).scheme != "https":
            return None
        try:
            return ssl.create_default_context(cafile=self.ca_file)
        except OSError as error:  # an ssl.SSLError is one as well
            raise ConfigurationError(f"cannot read certificates from {self.ca_file}: {error}") from error


@dataclass(frozen=True, slots=True)
class Seed:
    """An event that was stored before the clock started.

    Attributes:
        tenant_id: Whose.
        id: The server's.
        event: As it was sent.
    """

    tenant_id: str
    id: str
    event: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Ground:
    """What a run starts from.

    Attributes:
        version: The server's.
        starts: The last seq of each tenant before the run.
        seeds: What reads may ask for from the first moment on.
    """

    version: str
    starts: Mapping[str, int]
    seeds: Sequence[Seed]


def aim(url: str, token_file: Path, count: int, ca_file: Path | None) -> Target:
    """Find out where to send what as whom.

    Args:
        url: The deployment's base.
        token_file: A platform admin's token, with which tenants are made where they are absent; or a JSON object of
            tenant ids and a token for each, the busiest first.
        count: Tenants that are wanted.
        ca_file: Whose certificates are trusted.

    Raises:
        ConfigurationError: A file cannot be read, or there are too few tenants in it.
    """
    parts = urlsplit(url)
    if parts.username is not None:
        raise ConfigurationError("--url takes no user and no password: reports show it, and the token says who you are")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/"):
        raise ConfigurationError(f"--url takes http://HOST:PORT or https://HOST:PORT without a path; not `{url}`")
    base = f"{parts.scheme}://{parts.netloc}"
    try:
        told = token_file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigurationError(f"cannot read the token in {token_file}: {error.strerror}") from error
    certificates = None if ca_file is None else str(ca_file)
    if not told.startswith("{"):
        names = [f"{PREFIX}-{number:03d}" for number in range(count)]
        return Target(base, dict.fromkeys(names, told), certificates, makes_tenants=True)
    tokens = _tokens(told, token_file)
    if len(tokens) < count:
        raise ConfigurationError(
            f"{token_file} has tokens of {len(tokens)} tenants: add some, or ask for --tenants {len(tokens)}"
        )
    return Target(base, dict(list(tokens.items())[:count]), certificates, makes_tenants=False)


def _tokens(told: str, file: Path) -> dict[str, str]:
    try:
        tokens: object = json.loads(told)
    except ValueError as error:
        raise ConfigurationError(
            f"{file} is neither a token nor a JSON object of tenants and tokens: {error}"
        ) from error
    items = cast("dict[str, object]", tokens).items()
    if not all(isinstance(token, str) for _, token in items):
        raise ConfigurationError(f"{file} must have one token, a text, for each tenant")
    return {tenant_id: str(token) for tenant_id, token in items}


def prepare(target: Target, run: str, *, seeded: bool) -> Ground:
    """Make the tenants that are absent, and store a first event of each, so that a refusal is shown in full.

    Args:
        target: The deployment.
        run: The run's name.
        seeded: Whether there must be something to read from the first moment on.

    Raises:
        ConfigurationError: It does not answer, or refuses.
    """
    starts: dict[str, int] = {}
    seeds: list[Seed] = []
    payloads = Payloads(seed=83)
    # No proxy of the environment: the load does not go by one, either.
    with httpx.Client(base_url=target.url, verify=target.tls() or True, timeout=_TIMEOUT, trust_env=False) as client:
        version = str(_ask(client, "GET", "/openapi.json", None, None)["info"]["version"])
        for tenant_id, token in target.tokens.items():
            if target.makes_tenants:
                named = {"id": tenant_id, "name": f"Load {tenant_id}"}
                _ask(client, "POST", "/api/v1/tenants", token, named, known=HTTPStatus.CONFLICT)
            first = {**payloads.one(tenant_id), "event_id": f"start-{run}"}
            starts[tenant_id] = _ask(client, "POST", "/api/v1/logs", token, first)["seq"]
            if seeded:
                events = list(payloads.many(tenant_id, _SEEDS))
                ids = _ask(client, "POST", "/api/v1/logs/bulk", token, events)["ids"]
                seeds += [Seed(tenant_id, id_, event) for id_, event in zip(ids, events, strict=True)]
    return Ground(version, starts, seeds)


def _ask(
    client: httpx.Client, method: str, path: str, token: str | None, body: object, *, known: HTTPStatus | None = None
) -> Any:  # noqa: ANN401 - JSON
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    try:
        answer = client.request(method, path, headers=headers, json=body)
    except httpx.TransportError as error:
        raise ConfigurationError(f"{client.base_url} does not answer: {error}") from error
    if not answer.is_success and answer.status_code != known:
        raise ConfigurationError(f"{method} {path} is refused: {answer.status_code} {answer.text[:500]}")
    return answer.json()
