"""Asking for a cleanup, and looking first at what it would take."""

from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime
from time import monotonic
from typing import Final

from tallystick.database.pools import Database
from tallystick.errors import ConflictError
from tallystick.export.admission import Admission
from tallystick.followers.model import LoggedEvent, Source
from tallystick.jobs.model import Job
from tallystick.jobs.queries import insert_job, open_job_of
from tallystick.jobs.service import JobService
from tallystick.query.timestamps import microseconds
from tallystick.retention import queries
from tallystick.retention.cleanup import CLEANUP, Selection, select
from tallystick.retention.model import MinimumRetention

SAMPLE: Final = 10
"""Events that a dry run shows."""

DRY_SECONDS: Final = 10.0
"""How long a dry run looks."""

DRY_RUNS: Final = 2
"""Dry runs of one process at once."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What a cleanup would take.

    Attributes:
        events: How many, as far as was looked.
        first_seq: The first of them, or None.
        last_seq: The last that was found.
        sample: The first few.
        looked_through: Up to which seq was looked.
        complete: That is all of it.
        protected_from: What arrived at this moment or later stays.
    """

    events: int
    first_seq: int | None
    last_seq: int | None
    sample: tuple[LoggedEvent, ...]
    looked_through: int
    complete: bool
    protected_from: datetime


class CleanupService:
    """Cleanups, as those see them who may ask for them.

    Args:
        database: Used as the control role.
        jobs: Tells the workers.
        source: Reads the log.
        minimum: What is kept at least.
    """

    def __init__(self, database: Database, jobs: JobService, source: Source, minimum: MinimumRetention) -> None:
        self._database = database
        self._jobs = jobs
        self._source = source
        self._minimum = minimum
        self._looking = Admission(DRY_RUNS, "others look what a cleanup would take: try again")

    async def look(self, client: str, log_id: int, log: str, asked: Mapping[str, list[str]]) -> Preview:
        """Count what a cleanup would take, for some seconds. Nothing is stored.

        Raises:
            InvalidError: What is asked for is not valid.
            OverloadedError: As many look as may at once.
            DatabaseDownError: PostgreSQL does not answer.
        """
        protected_from = await self._protected_from(log)
        selection = Selection.of(asked, microseconds(protected_from), await self._source.size(log_id) - 1)
        preview = Preview(0, None, None, (), -1, complete=False, protected_from=protected_from)
        until = monotonic() + DRY_SECONDS
        with self._looking.admitted(client):
            async with aclosing(select(self._source, log_id, selection)) as found:
                async for chosen in found:
                    events = chosen.events
                    preview = replace(
                        preview,
                        events=preview.events + len(events),
                        first_seq=events[0].seq if events and preview.first_seq is None else preview.first_seq,
                        last_seq=events[-1].seq if events else preview.last_seq,
                        sample=(*preview.sample, *events)[:SAMPLE],
                        looked_through=chosen.through,
                        complete=chosen.ended,
                    )
                    if monotonic() >= until:
                        break
        return preview

    async def ask(
        self,
        tenant_id: str,
        log_id: int,
        log: str,
        asked: Mapping[str, list[str]],
        reason: str,
        created_by: Mapping[str, str],
    ) -> Job:
        """Ask for a cleanup of what the log holds now.

        Raises:
            InvalidError: What is asked for is not valid.
            ConflictError: Another one of the log has not ended.
            DatabaseDownError: PostgreSQL does not answer.
        """
        protected_us = microseconds(await self._protected_from(log))
        through = await self._source.size(log_id) - 1
        Selection.of(asked, protected_us, through)
        arguments = {
            "asked": {name: list(given) for name, given in asked.items()},
            "received_before_us": protected_us,
            "through_seq": through,
            "reason": reason,
        }
        async with self._database.control_session() as connection:
            job = await insert_job(connection, tenant_id, log_id, CLEANUP, arguments, created_by)
            other = await open_job_of(connection, log_id, CLEANUP) if job is None else None
        if job is None:
            which = "" if other is None else f" ({other.id})"
            raise ConflictError(f"another cleanup of this log is under way{which}: wait for its end, or cancel it")
        await self._jobs.tell(job.id)
        return job

    async def _protected_from(self, log: str) -> datetime:
        async with self._database.control_session() as connection:
            return self._minimum.protected_from(log, await queries.today(connection))
