"""A job: a command that takes long, and how far it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

MAX_ATTEMPTS = 5
"""Runs after which a job that never ended is given up."""


class JobState(StrEnum):
    """Where a job is."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether nothing more happens to it."""
        return self not in (JobState.QUEUED, JobState.RUNNING)


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it is recorded.

    Attributes:
        id: A UUID.
        tenant_id: Whose job it is.
        log_id: The log it is about, or None.
        log: That log's name.
        kind: What it does, in a word.
        arguments: What it was asked for.
        state: Where it is.
        done: How much of `total` is done, in units of the job.
        total: How much there is, once that is known.
        checkpoint: Where to go on after a crash.
        attempts: How often it was begun.
        error: Why it failed, without anything of an event.
        created_by: Issuer and subject of the token that asked for it.
        created_at: When it was asked for.
        started_at: When it was begun first.
        finished_at: When it ended.
        cancel_requested: Somebody wants it to end.
    """

    id: str
    tenant_id: str
    log_id: int | None
    log: str | None
    kind: str
    arguments: Mapping[str, Any]
    state: JobState
    done: int
    total: int | None
    checkpoint: Mapping[str, Any]
    attempts: int
    error: str | None
    created_by: Mapping[str, str]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested: bool


class JobFailedError(Exception):
    """A job cannot succeed, however often it is tried; the message is shown to who asked for it."""


class JobPostponedError(Exception):
    """A job has nothing to do before a moment. It is gone on with then, and this attempt does not count.

    Args:
        until: The moment.
        reason: Why, for who looks at the job.
    """

    def __init__(self, until: datetime, reason: str) -> None:
        super().__init__(reason)
        self.until = until
        self.reason = reason


class Progress(Protocol):
    """What a running job tells, now and then."""

    async def report(self, done: int, total: int | None, checkpoint: Mapping[str, Any]) -> None:
        """Record how far it is. After a crash it is run again with the last checkpoint.

        Raises:
            JobCancelledError: Somebody wants it to end, or another worker has taken it over: stop at once.
        """
        ...


class JobCancelledError(Exception):
    """A job is to stop."""


class Handler(Protocol):
    """Runs jobs of one kind."""

    async def run(self, job: Job, progress: Progress) -> None:
        """Run a job, or go on with it from its checkpoint. Whatever it does must bear being done again.

        Raises:
            JobFailedError: It cannot succeed.
            JobPostponedError: It has nothing to do for now.
            UnavailableError: What it needs does not answer: it is tried again later.
        """
        ...

    async def discard(self, job: Job) -> None:
        """Remove what a job left that was cancelled or has failed."""
        ...
