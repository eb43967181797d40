"""What is asked of an export, and what is recorded of one in the object store."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

from tallystick.export.formats import Format
from tallystick.jobs.model import JobState
from tallystick.search.model import SearchQuery

StoredState: TypeAlias = Literal["queued", "running", "succeeded", "failed", "cancelled", "deleted", "expired"]


@dataclass(frozen=True, slots=True)
class ExportQuery:
    """What an export asks for.

    Attributes:
        search: Which events; its order, page size and cursor are not looked at.
        format: How they are written.
        columns: Of CSV.
        through: The seq that it is complete through, as an export that is gone on with answered; None for the newest.
        after_id: The id of the event after which to go on, or None.
    """

    search: SearchQuery
    format: Format
    columns: tuple[str, ...]
    through: int | None = None
    after_id: str | None = None


@dataclass(frozen=True, slots=True)
class Owner:
    """The one principal that an export in the object store is for, and where."""

    tenant_id: str
    issuer: str
    subject: str


@dataclass(frozen=True, slots=True)
class Finished:
    """What was written of an export.

    Attributes:
        key: Of the object.
        events: How many it holds.
        size: Of its content, in bytes.
        sha256: Of its content.
        key_id: The data key that encrypts it.
    """

    key: str
    events: int
    size: int
    sha256: bytes
    key_id: str | None


@dataclass(frozen=True, slots=True)
class ExportSums:
    """All exports of an installation together.

    Attributes:
        states: How many wait, run, or are kept, by state.
        kept_bytes: What those that are kept take in the store.
        written: Exports that were ever written.
        written_bytes: Their size.
        removed: How many of them were removed.
    """

    states: Mapping[str, int]
    kept_bytes: int
    written: int
    written_bytes: int
    removed: int


@dataclass(frozen=True, slots=True)
class StoredExport:
    """An export in the object store, or on its way there.

    Attributes:
        id: Its job's.
        owner: Who may have it, and nobody else.
        log: The name of the log.
        asked: The parameters, as sent.
        narrowing: What the owner might see when it was asked for; see `export.narrowing`.
        through_seq: It is complete through this seq.
        key: Of the object; None before it is there.
        events: How many it holds, as what follows known when the object is there.
        size: Of its content, in bytes.
        sha256: Of its content.
        key_id: The data key that encrypts it; None where a former release wrote it as it is.
        expired: Its time is over.
        deleted: Its owner no longer wants it.
        removed: Nothing of it is in the store any more.
        kept_until: Of an export that is made before its log goes: the moment before which it does not expire.
        state: Of the job, as what follows.
    """

    id: str
    owner: Owner
    log_id: int
    log: str
    asked: Mapping[str, list[str]]
    narrowing: str
    through_seq: int
    key: str | None
    events: int | None
    size: int | None
    sha256: bytes | None
    key_id: str | None
    expires_at: datetime | None
    expired: bool
    deleted: bool
    removed: bool
    kept_until: datetime | None
    state: JobState
    done: int
    total: int | None
    attempts: int
    error: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested: bool

    @property
    def folder(self) -> str:
        """What the keys of its objects begin with: each attempt to write it has a key of its own."""
        return f"tenants/{self.owner.tenant_id}/exports/{self.id}"

    @property
    def stands(self) -> StoredState:
        """Where it is, what happened after its job included."""
        if self.deleted:
            return "deleted"
        if self.state is JobState.SUCCEEDED and (self.expired or self.removed):
            return "expired"
        return self.state.value
