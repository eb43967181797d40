"""Settings of the doors: what comes in, who may, how much, and what is said of it."""

from pathlib import Path
from typing import Literal

from pydantic import Field, IPvAnyNetwork, SecretStr, field_validator

from tallystick.settings.group import Group, Seconds


class ApiSettings(Group):
    """The HTTP door."""

    processes: int = Field(
        default=1, ge=1, le=64, description="API processes that `tallystick up` runs on the one port."
    )
    max_body_bytes: int = Field(
        default=16 * 1024 * 1024,
        ge=1024,
        description="Largest body, before and after decompression, in bytes.",
    )
    max_event_bytes: int = Field(default=256 * 1024, ge=1024, description="Largest single event as sent, in bytes.")
    max_bulk_events: int = Field(default=10_000, ge=1, le=100_000, description="Most events in one bulk request.")
    head_timeout: Seconds = Field(
        default=20, description="Seconds for the head of a request to arrive, and for a connection to send its first."
    )
    body_timeout: Seconds = Field(default=30, description="Seconds for a whole body to arrive; beyond it, 408.")
    max_exports: int = Field(
        default=2,
        ge=1,
        le=100,
        description="Exports a process sends at once, beyond which 503: each takes one reader connection.",
    )
    read_timeout: Seconds = Field(
        default=60,
        description="Seconds in which the client of an export must take 64 KiB, that of a stream something; else it is"
        " cut off.",
    )
    max_streams: int = Field(
        default=10_000, ge=1, description="Streams that a process keeps open, beyond which 503 or close code 1013."
    )
    max_streams_per_principal: int = Field(
        default=100,
        ge=1,
        description="Streams of one principal that a process keeps open, beyond which 429 or close code 4429.",
    )
    stream_buffer: int = Field(
        default=8 * 1024 * 1024,
        ge=1024,
        description="Bytes that a process keeps for the slowest of those who stream the same; all together, eight times"
        " as much.",
    )
    trusted_proxies: tuple[IPvAnyNetwork, ...] = Field(
        default=(),
        description="Addresses or networks of proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed;"
        " none by default.",
    )
    tls_certificate: Path | None = Field(
        default=None,
        description="File of the certificate, in PEM, with which the API itself speaks TLS; without one it speaks plain"
        " HTTP.",
    )
    tls_key: Path | None = Field(default=None, description="File of that certificate's key, in PEM.")
    hsts: int = Field(
        default=31_536_000,
        ge=0,
        description="Seconds for which who came by https is told to come by nothing else; 0 says nothing of it.",
    )
    drain_notice: float = Field(
        default=0,
        ge=0,
        description="Seconds from `/readyz` saying no to the end of service, for a balancer to see it; 0 is at once.",
    )
    drain_timeout: Seconds = Field(default=20, description="Seconds that requests in flight get to end at shutdown.")
    keep_alive: int = Field(default=75, ge=1, description="Seconds an idle connection is kept.")

    @field_validator("trusted_proxies")
    @classmethod
    def _not_everybody(cls, networks: tuple[IPvAnyNetwork, ...]) -> tuple[IPvAnyNetwork, ...]:
        if any(network.prefixlen == 0 for network in networks):
            raise ValueError("a network of everybody lets everybody pass for anybody: name those of the proxies alone")
        return networks


class EventSettings(Group):
    """What an event may hold. Lengths count Unicode code points."""

    max_depth: int = Field(default=16, ge=1, le=64, description="Deepest nesting in `before`, `after` and `metadata`.")
    max_keys: int = Field(default=1000, ge=1, description="Most object keys and array items in one event.")
    max_key_length: int = Field(default=256, ge=1, description="Longest key in `before`, `after` and `metadata`.")
    max_past: int = Field(
        default=7 * 86_400,
        ge=60,
        description="Seconds a `timestamp` may lie in the past without `logs:import`.",
    )
    max_future: int = Field(default=300, ge=0, le=3600, description="Seconds a `timestamp` may lie in the future.")


class AuthSettings(Group):
    """Who may come in."""

    issuer: str = Field(default="tallystick", description="`iss` of the tokens that this installation makes.")
    audience: str = Field(default="tallystick", description="`aud` that every token must carry.")
    algorithms: tuple[Literal["EdDSA", "RS256", "ES256", "HS256"], ...] = Field(
        default=("EdDSA", "RS256", "ES256"),
        description="Signature algorithms that are accepted. HS256 only when named here.",
    )
    external_issuers: dict[str, str] = Field(
        default_factory=dict,
        description="Further issuers as JSON: `iss` to the URL of its JWKS (https, or http on loopback).",
    )
    jwks_cache: Seconds = Field(default=300, description="Seconds that a JWKS is used before it is fetched again.")
    leeway: float = Field(
        default=10,
        ge=0,
        le=300,
        description="Seconds of clock difference forgiven in `exp`, `nbf` and `iat`.",
    )
    max_token_bytes: int = Field(default=8192, ge=256, description="Longest token that is looked at.")
    tenants_claim: str = Field(
        default="tenants",
        description='Claim with the tenants a token may use; `["*"]` is a platform admin\'s.',
    )
    tenant_claim: str = Field(default="tenant_id", description="Claim with the tenant used when a request names none.")
    role_claim: str = Field(default="role", description="Claim with the role, or with an object of tenant to role.")
    user_claim: str = Field(
        default="sub", description="Claim whose value is the `user_id` of a principal's own events."
    )
    scope_claim: str = Field(default="scope", description="Claim with space-separated scopes that narrow a token.")
    freshness: Seconds = Field(
        default=5,
        le=60,
        description="Seconds within which a revocation or suspension holds on every process.",
    )


class RateSettings(Group):
    """Rate limits. An event costs one; every other request costs one."""

    enabled: bool = Field(default=True, description="Whether rates are limited at all.")
    principal_per_minute: int = Field(default=3_000_000, ge=1, description="Cost that one principal may use a minute.")
    tenant_per_minute: int = Field(
        default=6_000_000, ge=1, description="Cost that all principals of one tenant may use a minute."
    )
    failures_per_minute: int = Field(
        default=3_000,
        ge=1,
        description="Requests a minute without a valid token from one address (of IPv6: one /64), beyond which the"
        " answer is 429 in place of 401. One with a valid token is never refused by it.",
    )
    on_failure: Literal["closed", "open"] = Field(
        default="closed",
        description="What happens when the limiter itself fails: refuse with 503, or let pass.",
    )
    url: str | None = Field(
        default=None,
        description="URL of a Valkey or Redis server in which all processes count, `valkeys://host:6379` over TLS or"
        " `valkey://…` without (`rediss://` and `redis://` say the same). Each process counts for itself when absent.",
    )
    user: str | None = Field(default=None, description="User of that server, where it asks for one.")
    password: SecretStr | None = Field(default=None, description="Password for that server.")
    password_file: Path | None = Field(default=None, description="File with that password, in place of it.")
    ca_file: Path | None = Field(
        default=None, description="File of the certificates that vouch for that server; the system's when absent."
    )
    timeout: Seconds = Field(
        default=2, description="Seconds that it may take to count a request; beyond it the limiter has failed."
    )


class LogSettings(Group):
    """Our own log lines. They never hold an event's content or a token."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(default="INFO", description="Least severity written.")
    format: Literal["auto", "json", "pretty"] = Field(
        default="auto", description="JSON, or coloured text; auto is text in a terminal."
    )
