"""SQL for jobs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import orjson

from tallystick.database.pools import Connection
from tallystick.jobs.model import Job, JobState

if TYPE_CHECKING:
    import asyncpg

_COLUMNS: Final = """id::text, tenant_id, log_id, (select name from tallystick.logs where logs.id = log_id) as log,
    kind, arguments, state, done, total, checkpoint, attempts, error,
    created_by, created_at, started_at, finished_at, cancel_requested"""


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs are listed; None lets all pass.

    Attributes:
        tenant_id: Whose.
        state: Where they are.
        kind: What they do.
        created_by: Issuer and subject of who asked for them.
    """

    tenant_id: str | None = None
    state: JobState | None = None
    kind: str | None = None
    created_by: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class JobPlace:
    """Where a job is in a listing."""

    created_at: datetime
    id: str


def _job(record: "asyncpg.Record") -> Job:
    fields: dict[str, Any] = dict(record)
    for name in ("arguments", "checkpoint", "created_by"):
        fields[name] = orjson.loads(fields[name])
    fields["state"] = JobState(fields["state"])
    return Job(**fields)


async def insert_job(
    connection: Connection,
    tenant_id: str,
    log_id: int | None,
    kind: str,
    arguments: Mapping[str, Any],
    created_by: Mapping[str, str],
) -> Job | None:
    """Record a new job; None where one of the kind is open for the log."""
    record = await connection.fetchrow(
        f"""
        insert into tallystick.jobs (tenant_id, log_id, kind, arguments, created_by)
        values ($1, $2, $3, $4::text::jsonb, $5::text::jsonb)
        on conflict (log_id, kind) where state in ('queued', 'running') do nothing returning {_COLUMNS}""",  # noqa: S608  # a constant
        tenant_id,
        log_id,
        kind,
        orjson.dumps(dict(arguments)).decode(),
        orjson.dumps(dict(created_by)).decode(),
    )
    return None if record is None else _job(record)


async def get_job(connection: Connection, tenant_id: str, job_id: str) -> Job | None:
    """Read a job of a tenant."""
    record = await connection.fetchrow(
        f"select {_COLUMNS} from tallystick.jobs where tenant_id = $1 and id = $2::text::uuid",  # noqa: S608  # a constant
        tenant_id,
        job_id,
    )
    return None if record is None else _job(record)


async def find_jobs(connection: Connection, job_ids: Sequence[str]) -> list[Job]:
    """Read jobs, whosever they are, from the oldest to the newest."""
    records = await connection.fetch(
        f"select {_COLUMNS} from tallystick.jobs where id = any ($1::text[]::uuid[]) order by created_at, jobs.id",  # noqa: S608  # a constant
        job_ids,
    )
    return [_job(record) for record in records]


async def open_job_of(connection: Connection, log_id: int, kind: str) -> Job | None:
    """A job of this kind for a log that has not ended, if there is one."""
    record = await connection.fetchrow(
        f"select {_COLUMNS} from tallystick.jobs"  # noqa: S608  # a constant
        " where log_id = $1 and kind = $2 and state in ('queued', 'running')",
        log_id,
        kind,
    )
    return None if record is None else _job(record)


async def list_jobs(
    connection: Connection, chosen: JobFilter, after: JobPlace | None, limit: int, *, backwards: bool = False
) -> list[Job]:
    """Read jobs, the newest first.

    Args:
        connection: Of the control role.
        chosen: Which.
        after: Where to go on, exclusive; None starts at the newest.
        limit: Most of them.
        backwards: Read the last ones before that place instead of the first after it; the answer still descends.
    """
    comparison, direction = (">", "asc") if backwards else ("<", "desc")
    records = await connection.fetch(
        f"""
        select {_COLUMNS} from tallystick.jobs
         where ($1::text is null or tenant_id = $1)
           and ($2::text is null or state = $2) and ($3::text is null or kind = $3)
           and ($4::timestamptz is null or (created_at, jobs.id) {comparison} ($4, $5::text::uuid))
           and ($7::text::jsonb is null or created_by = $7::text::jsonb)
         order by created_at {direction}, jobs.id {direction} limit $6""",  # noqa: S608  # constants
        chosen.tenant_id,
        chosen.state,
        chosen.kind,
        None if after is None else after.created_at,
        None if after is None else after.id,
        limit,
        None if chosen.created_by is None else orjson.dumps(dict(chosen.created_by)).decode(),
    )
    jobs = [_job(record) for record in records]
    return jobs[::-1] if backwards else jobs


async def request_cancel(connection: Connection, tenant_id: str, job_id: str) -> Job | None:
    """Ask that a job ends; one that has ended stays as it is. None where the tenant has no such job."""
    record = await connection.fetchrow(
        f"""
        update tallystick.jobs set cancel_requested = cancel_requested or state in ('queued', 'running')
         where tenant_id = $1 and id = $2::text::uuid returning {_COLUMNS}""",  # noqa: S608  # a constant
        tenant_id,
        job_id,
    )
    return None if record is None else _job(record)


async def count_jobs(connection: Connection) -> dict[JobState, int]:
    """How many jobs are in each state."""
    records = await connection.fetch("select state, count(*) as jobs from tallystick.jobs group by state")
    return dict.fromkeys(JobState, 0) | {JobState(record["state"]): record["jobs"] for record in records}


async def find_open(connection: Connection) -> list[str]:
    """Ids of jobs that nobody runs and that have not ended, the oldest first."""
    records = await connection.fetch(
        """
        select id::text from tallystick.jobs
         where state in ('queued', 'running') and (leased_until is null or leased_until < clock_timestamp())
         order by created_at limit 100"""
    )
    return [record["id"] for record in records]


async def lease_job(connection: Connection, job_id: str, holder: str, seconds: float) -> Job | None:
    """Take a job, alone; None where it ended or another runs it."""
    record = await connection.fetchrow(
        f"""
        update tallystick.jobs
           set state = 'running', attempts = attempts + 1, leased_by = $2,
               leased_until = clock_timestamp() + make_interval(secs => $3),
               started_at = coalesce(started_at, date_trunc('milliseconds', clock_timestamp()))
         where id = $1::text::uuid and state in ('queued', 'running')
           and (leased_until is null or leased_until < clock_timestamp())
        returning {_COLUMNS}""",  # noqa: S608  # a constant
        job_id,
        holder,
        seconds,
    )
    return None if record is None else _job(record)


async def renew_job(connection: Connection, job_id: str, holder: str, seconds: float) -> bool | None:
    """Renew a lease; whether somebody wants the job to end, or None where the lease is another's."""
    return await connection.fetchval(
        """
        update tallystick.jobs set leased_until = clock_timestamp() + make_interval(secs => $3)
         where id = $1::text::uuid and leased_by = $2 and state = 'running' returning cancel_requested""",
        job_id,
        holder,
        seconds,
    )


async def report_job(
    connection: Connection, job_id: str, holder: str, done: int, total: int | None, checkpoint: Mapping[str, Any]
) -> bool | None:
    """Record progress; whether somebody wants the job to end, or None where the lease is another's."""
    return await connection.fetchval(
        """
        update tallystick.jobs set done = $3, total = $4, checkpoint = $5::text::jsonb
         where id = $1::text::uuid and leased_by = $2 and state = 'running' returning cancel_requested""",
        job_id,
        holder,
        done,
        total,
        orjson.dumps(dict(checkpoint)).decode(),
    )


async def set_aside(
    connection: Connection, job_id: str, kinds: Sequence[str], tenants: Sequence[str], seconds: float
) -> bool:
    """Leave a job for some seconds where there is no place for its kind; whether that was so.

    Args:
        connection: Of the worker role.
        job_id: The job.
        kinds: Those that have no place at all.
        tenants: Kinds and tenants, joined by a space, of which another job has the tenant's only place.
        seconds: How long nobody takes it.
    """
    found = await connection.fetchval(
        """
        update tallystick.jobs set leased_until = clock_timestamp() + make_interval(secs => $4)
         where id = $1::text::uuid and (kind = any ($2) or kind || ' ' || tenant_id = any ($3))
           and state in ('queued', 'running') and (leased_until is null or leased_until < clock_timestamp())
           and not cancel_requested
        returning id""",
        job_id,
        kinds,
        tenants,
        seconds,
    )
    return found is not None


async def end_job(connection: Connection, job_id: str, holder: str, state: JobState, error: str | None) -> bool:
    """Record how a job ended, unless its lease is another's; whether it was recorded."""
    tag = await connection.execute(
        """
        update tallystick.jobs
           set state = $3, error = $4, leased_by = null, leased_until = null,
               finished_at = date_trunc('milliseconds', clock_timestamp())
         where id = $1::text::uuid and leased_by = $2""",
        job_id,
        holder,
        str(state),
        error,
    )
    return tag == "UPDATE 1"


async def postpone_job(
    connection: Connection, job_id: str, holder: str, seconds: float, error: str, *, counted: bool
) -> None:
    """Leave a job to whoever takes it after some seconds, unless its lease is another's.

    Args:
        connection: Of the worker role.
        job_id: The job.
        holder: Who had it.
        seconds: How long nobody takes it.
        error: Why, without anything of an event.
        counted: Whether this attempt counts.
    """
    await connection.execute(
        """
        update tallystick.jobs
           set error = $4, leased_by = null, leased_until = clock_timestamp() + make_interval(secs => $3),
               attempts = attempts - $5
         where id = $1::text::uuid and leased_by = $2""",
        job_id,
        holder,
        seconds,
        error,
        0 if counted else 1,
    )


async def leave_jobs(connection: Connection, holder: str, error: str) -> list[tuple[str, str]]:
    """Leave all jobs of a worker to whoever takes them next; an attempt that was broken off counts none.

    Args:
        connection: Of the worker role.
        holder: Who has them.
        error: Why it leaves them, without anything of an event.

    Returns:
        The id and kind of each.
    """
    rows = await connection.fetch(
        """
        update tallystick.jobs
           set error = $2, leased_by = null, leased_until = clock_timestamp(), attempts = attempts - 1
         where leased_by = $1 and state = 'running'
        returning id::text, kind""",
        holder,
        error,
    )
    return [(row["id"], row["kind"]) for row in rows]
