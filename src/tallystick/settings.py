"""All settings, in one frozen object read once from the environment (prefix ``TALLYSTICK_``).

Groups nest with two underscores: ``TALLYSTICK_DATABASE__READER_CONNECTIONS=20``.
`docs/reference/settings.md` is generated from the descriptions here.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

Seconds = Annotated[float, Field(gt=0)]


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class DatabaseSettings(_Group):
    """PostgreSQL: where it is, and how it is used."""

    url: SecretStr | None = Field(
        default=None,
        description="Connection URL of an external PostgreSQL as the schema's owner; the embedded server when absent.",
    )
    role_passwords: Path | None = Field(
        default=None,
        description="File of `role=password` lines for the login roles; absent where the server trusts its socket.",
    )
    timescaledb: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="Use TimescaleDB: where present, always or never. The first migration decides for good.",
    )
    partition_interval: Literal["day", "month"] = Field(
        default="month",
        description="Span of a partition of the events, by arrival. Day at high volume; keep them under 150.",
    )
    writer_connections: int = Field(
        default=3, ge=2, le=32, description="Connections a process appends over; one is for large bodies."
    )
    reader_connections: int = Field(default=8, ge=1, le=200, description="Most connections a process reads over.")
    control_connections: int = Field(
        default=3, ge=1, le=50, description="Most connections a process uses for tenants and revocations."
    )
    connect_timeout: Seconds = Field(default=5, description="Seconds to wait for a new connection.")
    acquire_timeout: Seconds = Field(
        default=5, description="Seconds to wait for a free pooled connection before a 503."
    )
    statement_timeout: Seconds = Field(
        default=15, description="Seconds after which the server ends a reader's or control statement."
    )
    append_timeout: Seconds = Field(
        default=15, description="Seconds after which an append is given up; its requests get a 503."
    )
    lock_timeout: Seconds = Field(default=5, description="Seconds to wait for a lock, appends and migrations included.")
    idle_in_transaction_timeout: Seconds = Field(
        default=30, description="Seconds a transaction may idle: no read holds a snapshot longer."
    )
    statement_cache: int = Field(
        default=256,
        ge=0,
        description="Prepared statements kept per connection; 0 behind a pooler that cannot keep them.",
    )


class ApiSettings(_Group):
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
    body_timeout: Seconds = Field(default=30, description="Seconds for a whole body to arrive; beyond it, 408.")
    max_exports: int = Field(
        default=2,
        ge=1,
        le=100,
        description="Exports a process sends at once, beyond which 503: each takes up to three reader connections.",
    )
    read_timeout: Seconds = Field(
        default=60, description="Seconds in which the client of an export must take 64 KiB; else it is cut off."
    )
    trusted_proxies: tuple[str, ...] = Field(
        default=(), description="Addresses or networks whose `X-Forwarded-For` is believed; none by default."
    )
    drain_notice: float = Field(
        default=0,
        ge=0,
        description="Seconds from `/readyz` saying no to the end of service, for a balancer to see it; 0 is at once.",
    )
    drain_timeout: Seconds = Field(default=20, description="Seconds that requests in flight get to end at shutdown.")
    keep_alive: int = Field(default=75, ge=1, description="Seconds an idle connection is kept.")


class EventSettings(_Group):
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


class WriterSettings(_Group):
    """Group commit."""

    queue_events: int = Field(default=50_000, ge=100, description="Most events waiting in a process; beyond it, 503.")
    queue_bytes: int = Field(
        default=64 * 1024 * 1024,
        ge=1024 * 1024,
        description="Most bytes waiting in a process; beyond it, 503.",
    )
    batch_events: int = Field(default=2_000, ge=1, description="Most events in one transaction.")
    batch_bytes: int = Field(default=4 * 1024 * 1024, ge=1024, description="Most bytes in one transaction.")
    large_events: int = Field(
        default=100,
        ge=1,
        description="A request of more events is stored over a connection for large bodies.",
    )
    access_share: float = Field(default=0.2, gt=0, lt=1, description="Share of the queue reserved for access logs.")


class SearchSettings(_Group):
    """The search index, made of the log by the worker."""

    engine: Literal["tantivy", "opensearch"] = Field(
        default="tantivy", description="Tantivy in the state directory, or an OpenSearch cluster."
    )
    url: str | None = Field(default=None, description="URL of the OpenSearch cluster.")
    user: str | None = Field(default=None, description="User of the OpenSearch cluster, where it asks for one.")
    password_file: Path | None = Field(default=None, description="File with that user's password.")
    ca_file: Path | None = Field(
        default=None, description="File of the certificates that vouch for the cluster; the system's when absent."
    )
    prefix: str = Field(
        default="tallystick",
        pattern="^[a-z0-9][a-z0-9_]{0,62}$",
        description="Names of our indices, aliases and template in the cluster begin so.",
    )
    connections: int = Field(default=16, ge=1, le=1_000, description="Most connections a process has to the cluster.")
    timeout: Seconds = Field(default=10, description="Seconds that a search in the cluster may take; beyond it, 503.")
    shared_logs: int = Field(
        default=100, ge=1, description="Logs whose events begin in one index of the cluster; later logs take the next."
    )
    shared_events: int = Field(
        default=2_000_000,
        ge=1,
        description="Events of a log in such an index, after which its next ones go to an index of its own.",
    )
    index_events: int = Field(
        default=20_000_000, ge=1, description="Events in an index of its own, after which a log begins another."
    )
    tail_events: int = Field(
        default=20_000,
        ge=1,
        description="Most events behind the index that a search looks at itself; beyond it, `complete` is false.",
    )
    commit_events: int = Field(
        default=2_500, ge=1, description="Events of a log after which they are committed to its index at once."
    )
    commit_seconds: Seconds = Field(default=1, description="Seconds after which fewer are committed to it, too.")
    slow_events: int = Field(
        default=100, ge=0, description="Fewer of a log that was committed a moment ago wait for `slow_seconds`."
    )
    slow_seconds: Seconds = Field(default=5, description="Seconds between two commits of a log that grows so slowly.")
    roll_events: int = Field(
        default=560_000, ge=1_000, description="Events after which a log's index in Tantivy begins a new roll."
    )
    open_indexes: int = Field(
        default=64, ge=1, description="Most logs whose Tantivy index a process keeps open; the least used is closed."
    )


class QueueSettings(_Group):
    """How the worker learns that there is work. Messages hold ids only."""

    kind: Literal["embedded", "sqs"] = Field(
        default="embedded", description="Look into the database, or two FIFO queues of Amazon SQS."
    )
    region: str = Field(default="us-east-1", description="AWS region of the queues.")
    endpoint: str | None = Field(
        default=None, description="URL of another service that speaks SQS; that of the region when absent."
    )
    prefix: str = Field(
        default="tallystick",
        description="The queues are `<prefix>-wake-ups.fifo` and `<prefix>-jobs.fifo`, their dead-letter queues"
        " `…-dead.fifo`. Credentials are found as AWS's own tools find them.",
    )
    wake_interval: Seconds = Field(default=0.25, description="Seconds between two wake-ups of one log at least.")
    sweep_interval: Seconds = Field(
        default=30, description="Seconds between two looks at what lost messages would have said."
    )


class AuthSettings(_Group):
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


class RateSettings(_Group):
    """Rate limits. An event costs one; every other request costs one."""

    enabled: bool = Field(default=True, description="Whether rates are limited at all.")
    principal_per_minute: int = Field(default=3_000_000, ge=1, description="Cost that one principal may use a minute.")
    tenant_per_minute: int = Field(
        default=6_000_000, ge=1, description="Cost that all principals of one tenant may use a minute."
    )
    on_failure: Literal["closed", "open"] = Field(
        default="closed",
        description="What happens when the limiter itself fails: refuse with 503, or let pass.",
    )


class LogSettings(_Group):
    """Our own log lines. They never hold an event's content or a token."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(default="INFO", description="Least severity written.")
    format: Literal["auto", "json", "pretty"] = Field(
        default="auto", description="JSON, or coloured text; auto is text in a terminal."
    )


class Settings(BaseSettings):
    """Everything that can be set."""

    model_config = SettingsConfigDict(env_prefix="TALLYSTICK_", env_nested_delimiter="__", frozen=True, extra="ignore")

    home: Path = Field(default=Path(".tallystick"), description="State directory: data, keys, logs and `run.json`.")
    host: str = Field(default="127.0.0.1", description="Address the API listens on.")
    port: int = Field(default=8080, ge=0, le=65535, description="Port the API listens on; 0 takes any free one.")
    key_dir: Path | None = Field(
        default=None,
        description="Folder of the secret key files; `keys` under the state directory when absent.",
    )
    max_scan: int = Field(
        default=20_000,
        ge=100,
        description="Most events that one filtered listing looks at before it answers with a cursor.",
    )
    database: DatabaseSettings = DatabaseSettings()
    api: ApiSettings = ApiSettings()
    events: EventSettings = EventSettings()
    writer: WriterSettings = WriterSettings()
    search: SearchSettings = SearchSettings()
    queue: QueueSettings = QueueSettings()
    auth: AuthSettings = AuthSettings()
    rates: RateSettings = RateSettings()
    logging: LogSettings = LogSettings()

    @property
    def keys(self) -> Path:
        """The folder of the secret key files."""
        return self.key_dir or self.home / "keys"
