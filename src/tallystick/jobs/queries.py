"""SQL for jobs."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import orjson

from tallystick.database.pools import Connection
from tallystick.jobs.model import Job, JobState

if TYPE_CHECKING:
    import asyncpg

_COLUMNS: Final = """id::text, tenant_id, log_id, kind, arguments, state, done, total, checkpoint, attempts, error,
    created_by, created_at, started_at, finished_at, cancel_requested"""


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
) -> Job:
    """Record a new job."""
    record = await connection.fetchrow(
        f"""
        insert into tallystick.jobs (tenant_id, log_id, kind, arguments, created_by)
        values ($1, $2, $3, $4::text::jsonb, $5::text::jsonb) returning {_COLUMNS}""",  # noqa: S608  # a constant
        tenant_id,
        log_id,
        kind,
        orjson.dumps(dict(arguments)).decode(),
        orjson.dumps(dict(created_by)).decode(),
    )
    if record is None:
        raise LookupError("an insertion returned nothing")
    return _job(record)


async def get_job(connection: Connection, tenant_id: str, job_id: str) -> Job | None:
    """Read a job of a tenant."""
    record = await connection.fetchrow(
        f"select {_COLUMNS} from tallystick.jobs where tenant_id = $1 and id = $2::text::uuid",  # noqa: S608  # a constant
        tenant_id,
        job_id,
    )
    return None if record is None else _job(record)


async def open_job_of(connection: Connection, log_id: int, kind: str) -> Job | None:
    """A job of this kind for a log that has not ended, if there is one."""
    record = await connection.fetchrow(
        f"select {_COLUMNS} from tallystick.jobs"  # noqa: S608  # a constant
        " where log_id = $1 and kind = $2 and state in ('queued', 'running') order by created_at limit 1",
        log_id,
        kind,
    )
    return None if record is None else _job(record)


async def list_jobs(connection: Connection, tenant_id: str, before: tuple[int, str] | None, limit: int) -> list[Job]:
    """Jobs of a tenant, the newest first.

    Args:
        connection: Of the control role.
        tenant_id: Whose.
        before: Creation in Unix milliseconds, and id, of the job after which to go on; exclusive.
        limit: Most of them.
    """
    records = await connection.fetch(
        f"""
        select {_COLUMNS} from tallystick.jobs
         where tenant_id = $1
           and ($2::bigint is null
                or (created_at, id) < (to_timestamp($2::bigint::numeric / 1000), $3::text::uuid))
         order by created_at desc, id desc limit $4""",  # noqa: S608  # a constant
        tenant_id,
        *(before or (None, None)),
        limit,
    )
    return [_job(record) for record in records]


async def request_cancel(connection: Connection, tenant_id: str, job_id: str) -> None:
    """Ask that a job ends."""
    await connection.execute(
        "update tallystick.jobs set cancel_requested = true where tenant_id = $1 and id = $2::text::uuid",
        tenant_id,
        job_id,
    )


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
    connection: Connection, job_id: str, holder: str, done: int, total: int, checkpoint: Mapping[str, Any]
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


async def end_job(connection: Connection, job_id: str, holder: str, state: JobState, error: str | None) -> bool:
    """Record how a job ended; false where its lease is another's."""
    status = await connection.execute(
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
    return status == "UPDATE 1"


async def postpone_job(
    connection: Connection, job_id: str, holder: str, seconds: float, error: str, *, counted: bool
) -> bool:
    """Leave a job to whoever takes it after some seconds; false where its lease is another's.

    Args:
        connection: Of the worker role.
        job_id: The job.
        holder: Who had it.
        seconds: How long nobody takes it.
        error: Why, without anything of an event.
        counted: Whether this attempt counts.
    """
    status = await connection.execute(
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
    return status == "UPDATE 1"
