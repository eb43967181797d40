"""Asking for jobs, looking at them and ending them: what the API and the commands do. The worker runs them."""

import re
import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import UUID

from tallystick.database.pools import Database
from tallystick.errors import ConflictError, NotFoundError, UnavailableError
from tallystick.jobs import queries
from tallystick.jobs.model import Job
from tallystick.jobs.queries import JobFilter, JobPlace
from tallystick.ports import Queue
from tallystick.query.cursor import CursorCodec, Position
from tallystick.query.timestamps import microseconds, moment

_ID: Final = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}")
_HALVES: Final = struct.Struct(">qq")


@dataclass(frozen=True, slots=True)
class JobPage:
    """A page of the listing, with the cursors of its neighbours."""

    jobs: Sequence[Job]
    next: str | None
    prev: str | None


class JobService:
    """Jobs, as those see them who may ask for them.

    Args:
        database: Used as the control role.
        queue: Tells the workers.
        cursors: Sign the listing's positions.
        instead: By kind that nobody cancels, what to do instead.
    """

    def __init__(
        self, database: Database, queue: Queue, cursors: CursorCodec, instead: Mapping[str, str] | None = None
    ) -> None:
        self._database = database
        self._queue = queue
        self._cursors = cursors
        self._instead = dict(instead or {})

    async def create(
        self,
        tenant_id: str,
        log_id: int,
        kind: str,
        arguments: Mapping[str, Any],
        created_by: Mapping[str, str],
    ) -> Job:
        """Ask for a job. While one of its kind is open for the log, that one is the answer.

        Args:
            tenant_id: Whose.
            log_id: The log it is about.
            kind: What it does.
            arguments: What its handler needs to know.
            created_by: Issuer and subject of who asks.

        Raises:
            DatabaseDownError: PostgreSQL does not answer.
        """
        job = None
        async with self._database.control_session() as connection:
            while job is None:  # an open one may end between the two
                job = await queries.insert_job(connection, tenant_id, log_id, kind, arguments, created_by)
                job = job or await queries.open_job_of(connection, log_id, kind)
        await self.tell(job.id)
        return job

    async def tell(self, job_id: str) -> None:
        """Tell the workers of a new job, as far as that goes: they look for what no message told."""
        with suppress(UnavailableError):
            await self._queue.submit(job_id)

    async def get(self, tenant_id: str, job_id: str) -> Job:
        """Read a job of a tenant.

        Raises:
            NotFoundError: The tenant has none by that id.
            DatabaseDownError: PostgreSQL does not answer.
        """
        _check(job_id)
        async with self._database.control_session() as connection:
            return _found(await queries.get_job(connection, tenant_id, job_id), job_id)

    async def cancel(self, tenant_id: str, job_id: str) -> Job:
        """Ask that a job ends, which its worker sees within a second or so. One that has ended stays as it is.

        Raises:
            NotFoundError: The tenant has none by that id.
            ConflictError: Jobs of its kind are not cancelled.
            DatabaseDownError: PostgreSQL does not answer.
        """
        job = await self.get(tenant_id, job_id)
        if job.kind in self._instead:
            raise ConflictError(self._instead[job.kind])
        async with self._database.control_session() as connection:
            return _found(await queries.request_cancel(connection, tenant_id, job_id), job_id)

    async def page(self, tenant_id: str, chosen: JobFilter, cursor: str | None, limit: int) -> JobPage:
        """List a tenant's jobs, the newest first.

        Raises:
            InvalidError: The cursor is not one of this listing.
            DatabaseDownError: PostgreSQL does not answer.
        """
        chosen = replace(chosen, tenant_id=tenant_id)
        binding = f"jobs:{tenant_id}:{chosen.state}:{chosen.kind}:{dict(chosen.created_by or {})}".encode()
        start = None if cursor is None else self._cursors.decode(cursor, binding)
        backwards = start is not None and start.backwards
        async with self._database.control_session() as connection:
            # One more than asked for tells whether there is a page beyond.
            place = None if start is None else _place(start)
            jobs = await queries.list_jobs(connection, chosen, place, limit + 1, backwards=backwards)
        more = len(jobs) > limit
        if more:
            jobs = jobs[1:] if backwards else jobs[:limit]
        following = self._cursor(jobs[-1:], binding, backwards=False) if more or backwards else None
        preceding = self._cursor(jobs[:1], binding, backwards=True) if start and (more or not backwards) else None
        return JobPage(jobs, following, preceding)

    async def newest(self, chosen: JobFilter, limit: int) -> list[Job]:
        """List jobs of all tenants, or of the one chosen, for who has the database at hand.

        Raises:
            DatabaseDownError: PostgreSQL does not answer.
        """
        async with self._database.control_session() as connection:
            return await queries.list_jobs(connection, chosen, None, limit)

    async def find(self, job_ids: Sequence[str]) -> list[Job]:
        """Read jobs, whosever they are, likewise; those that are not there are left out.

        Raises:
            DatabaseDownError: PostgreSQL does not answer.
        """
        async with self._database.control_session() as connection:
            return await queries.find_jobs(connection, [job_id for job_id in job_ids if _ID.fullmatch(job_id)])

    def _cursor(self, jobs: Sequence[Job], binding: bytes, *, backwards: bool) -> str | None:
        """The cursor of a page that goes on from a job, if there is one."""
        for job in jobs:
            high, low = _HALVES.unpack(UUID(job.id).bytes)
            created_us = microseconds(job.created_at)
            return self._cursors.encode(Position(backwards, created_us, high, low), binding)
        return None


def _place(position: Position) -> JobPlace:
    """Where a cursor points: the id of the job is in the two numbers that take an event's place."""
    job_id = UUID(bytes=_HALVES.pack(position.seq, position.received_us))
    return JobPlace(moment(position.occurred_us), str(job_id))


def _check(job_id: str) -> None:
    if not _ID.fullmatch(job_id):
        raise _missing(job_id)


def _found(job: Job | None, job_id: str) -> Job:
    if job is None:
        raise _missing(job_id)
    return job


def _missing(job_id: str) -> NotFoundError:
    return NotFoundError(f"there is no job {job_id[:50]}")
