"""Jobs on the wire."""

from typing import Annotated, Any, Final, Literal, Protocol, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from tallystick.jobs.model import Job, JobState
from tallystick.jobs.service import JobPage
from tallystick.query.timestamps import format_moment

JobKind: TypeAlias = Literal["rebuild_index"]
"""What may be asked for."""

LogName: TypeAlias = Literal["events", "access"]

Moment = Annotated[str, Field(description="RFC 3339, UTC.", json_schema_extra={"format": "date-time"})]

EXAMPLE_JOB: Final[dict[str, Any]] = {
    "id": "3f0c9a52-6f0e-4b7e-9d35-1f1f0e6f7c11",
    "kind": "rebuild_index",
    "log": "events",
    "state": "running",
    "progress": {"done": 250_000, "total": 1_204_113, "fraction": 0.2076},
    "attempts": 1,
    "error": None,
    "created_by": {"issuer": "tallystick", "subject": "ada@example.com"},
    "created_at": "2026-11-24T17:21:36.123Z",
    "started_at": "2026-11-24T17:21:36.406Z",
    "finished_at": None,
    "cancel_requested": False,
}
EXAMPLE_QUEUED_JOB: Final[dict[str, Any]] = {
    **EXAMPLE_JOB,
    "state": "queued",
    "progress": {"done": 0, "total": None, "fraction": None},
    "attempts": 0,
    "started_at": None,
}


class NewJob(BaseModel):
    """A job to be run."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    kind: JobKind = Field(description="`rebuild_index` makes a log's search index anew, beside the one that answers.")
    log: LogName = Field("events", description="Which of the tenant's logs.")


class JobProgress(BaseModel):
    """How far a job is, in units of its kind; for `rebuild_index` in events."""

    done: int = Field(ge=0, description="What is done of it.")
    total: int | None = Field(ge=0, description="Null until it is known. It may grow.")
    fraction: float | None = Field(ge=0, le=1, description="Done of the total; null until that is known.")


class CreatedBy(BaseModel):
    """Who asked for a job."""

    issuer: str = Field(description="`iss` of the token; `cli` for a command.")
    subject: str = Field(description="`sub` of the token; for a command the account that gave it.")


class JobDocument(BaseModel):
    """A job."""

    id: str = Field(description="Made by the server.", json_schema_extra={"format": "uuid"})
    kind: str = Field(description="What it does.")
    log: str | None = Field(description="The log it is about.")
    state: JobState = Field(description="`queued` and `running` come first; the other states are final.")
    progress: JobProgress
    attempts: int = Field(ge=0, description="How often a worker began it, or went on with it after a crash.")
    error: str | None = Field(description="Why it failed, or why it was put off.")
    created_by: CreatedBy
    created_at: Moment = Field(description="When it was asked for.")
    started_at: Moment | None = Field(description="When a worker began it; null before.")
    finished_at: Moment | None = Field(description="When it ended; null before.")
    cancel_requested: bool = Field(description="Somebody wants it to end.")

    @classmethod
    def of(cls, job: Job) -> "JobDocument":
        """Put a job on the wire."""
        return cls(
            id=job.id,
            kind=job.kind,
            log=job.log,
            state=job.state,
            progress=JobProgress(done=job.done, total=job.total, fraction=fraction(job)),
            attempts=job.attempts,
            error=job.error,
            created_by=CreatedBy(**job.created_by),
            created_at=format_moment(job.created_at),
            started_at=job.started_at and format_moment(job.started_at),
            finished_at=job.finished_at and format_moment(job.finished_at),
            cancel_requested=job.cancel_requested,
        )


class JobList(BaseModel):
    """A page of jobs, the newest first."""

    items: list[JobDocument]
    next: str | None = Field(description="Cursor of the page after it; null at the end.")
    prev: str | None = Field(description="Cursor of the page before; null at the start.")

    @classmethod
    def of(cls, page: JobPage) -> "JobList":
        """Put a page on the wire."""
        return cls(items=[JobDocument.of(job) for job in page.jobs], next=page.next, prev=page.prev)


class Measured(Protocol):
    """Something whose progress is known."""

    @property
    def done(self) -> int:
        """How much of `total` is done."""
        ...

    @property
    def total(self) -> int | None:
        """How much there is, once that is known."""
        ...


def fraction(job: Measured) -> float | None:
    """How much of a job is done, from 0 to 1; None while nobody knows how much there is."""
    if job.total is None:
        return None
    return round(min(job.done / job.total, 1.0), 4) if job.total else 1.0
