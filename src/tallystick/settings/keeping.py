"""Settings of what is kept: the database and how it is written, objects, keys, exports, and for how long."""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr

from tallystick.settings.group import Group, Seconds


class DatabaseSettings(Group):
    """PostgreSQL: where it is, and how it is used."""

    url: SecretStr | None = Field(
        default=None,
        description="Connection URL of an external PostgreSQL as the schema's owner; the embedded server when absent.",
    )
    role_passwords: Path | None = Field(
        default=None,
        description="File of `role=password` lines for the login roles; absent where the server trusts its socket.",
    )
    passwords: SecretStr | None = Field(
        default=None,
        description="The same as a JSON object of role to password, in place of the file. `tallystick keys passwords`"
        " makes it.",
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


class WriterSettings(Group):
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


class ObjectSettings(Group):
    """Where large objects are kept: a folder, or S3. Credentials of S3 are found as AWS's own tools find them."""

    url: str | None = Field(
        default=None,
        description="`file:///folder` or `s3://bucket/prefix`; the folder `objects` in the state directory when absent."
        " All processes must reach it.",
    )
    region: str = Field(default="us-east-1", description="AWS region of the bucket.")
    endpoint: str | None = Field(
        default=None, description="URL of another service that speaks S3; that of the region when absent."
    )
    path_style: bool = Field(
        default=False, description="Name the bucket in the path, not in the host: what most services beside AWS want."
    )
    timeout: Seconds = Field(default=30, description="Seconds that one request to S3 may take, of up to 16 MiB.")


class KeySettings(Group):
    """The master key, which wraps the keys of tenants. Credentials of KMS are found as AWS's own tools find them."""

    kind: Literal["local", "kms"] = Field(
        default="local", description="The file `master.json` in the key folder, or a key of AWS KMS."
    )
    key_id: str | None = Field(
        default=None, description="Id, ARN or alias (`alias/tallystick`) of the symmetric key in KMS that wraps."
    )
    region: str = Field(default="us-east-1", description="AWS region of that key.")
    endpoint: str | None = Field(
        default=None, description="URL of another service that speaks KMS; that of the region when absent."
    )
    timeout: Seconds = Field(default=5, description="Seconds that one request to KMS may take; beyond it, 503.")
    cache: Seconds = Field(
        default=300,
        description="Seconds for which a tenant's unwrapped key is used before the master key is asked again: so long"
        " does an outage of KMS pass unnoticed, and so late does a key that was disabled there take effect.",
    )


class ExportSettings(Group):
    """Exports that are written into the object store by a job."""

    keep: int = Field(
        default=86_400,
        ge=60,
        description="Seconds after its end for which an export can be fetched; then it is removed.",
    )
    per_principal: int = Field(
        default=10, ge=1, description="Exports that one principal may have in a tenant, waiting, running or kept."
    )
    per_tenant: int = Field(default=100, ge=1, description="The same for all principals of a tenant together.")
    parallel: int = Field(
        default=2, ge=1, le=16, description="Exports that one worker runs at once, of one tenant one at a time."
    )
    max_bytes: int = Field(
        default=100 * 1024**3,
        ge=1,
        le=10_000 * 16 * 1024**2 * 999 // 1000,
        description="Largest export, in bytes of its file; a larger one fails.",
    )


class RetentionSettings(Group):
    """How long events are kept at least, whatever is asked for, and how they are removed."""

    min_days: int = Field(
        default=7,
        ge=0,
        le=36_500,
        description="Days for which the events of applications are kept at least, counted from their arrival.",
    )
    min_access_days: int = Field(default=90, ge=0, le=36_500, description="The same for access logs.")
    platform_days: int | None = Field(
        default=None,
        ge=1,
        le=36_500,
        description="Days after which the platform's own access log is removed; kept for ever when absent.",
    )
    batch_events: int = Field(
        default=100,
        ge=1,
        le=10_000,
        description="Events that are deleted in one transaction; the more, the longer others wait for the disk.",
    )
    load: float = Field(
        default=0.3, gt=0, le=1, description="Share of the time in which events are removed; in the rest, others write."
    )
    purge_days: float = Field(
        default=7,
        ge=0,
        description="Days after which what was removed is gone from the files of a search index, too; it is found no"
        " more within seconds.",
    )
    offboarding_days: int = Field(
        default=30,
        ge=0,
        le=3_650,
        description="Days that must pass at least between the order to remove a tenant and its removal; until then it"
        " can be restored.",
    )
    offboarding_keep_days: int = Field(
        default=30,
        ge=1,
        le=3_650,
        description="Days after the removal of a tenant began for which its last exports can be fetched. Then they are"
        " removed and its keys erased.",
    )
