"""SQL for exports in the object store."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import orjson

from tallystick.database.pools import Connection
from tallystick.export.model import ExportSums, Finished, Owner, StoredExport
from tallystick.jobs.model import JobState

if TYPE_CHECKING:
    import asyncpg

_EXPORTS: Final = """
    select job_id::text as id, exports.tenant_id, exports.log_id, logs.name as log, issuer, subject, asked, narrowing,
           through_seq, object as key, events, bytes as size, sha256, key_id,
           expires_at, expires_at <= clock_timestamp() as expired, deleted_at is not null as deleted,
           removed_at is not null as removed, kept_until,
           state, done, total, attempts, error, created_at, started_at, finished_at, cancel_requested
      from tallystick.exports join tallystick.jobs on jobs.id = job_id
      join tallystick.logs on logs.id = exports.log_id"""

_IN_USE: Final = """removed_at is null and deleted_at is null and (expires_at is null or expires_at > clock_timestamp())
    and state in ('queued', 'running', 'succeeded')"""


def _export(record: "asyncpg.Record") -> StoredExport:
    fields: dict[str, Any] = dict(record)
    fields["asked"] = orjson.loads(fields["asked"])
    fields["state"] = JobState(fields["state"])
    fields["expired"] = bool(fields["expired"])
    owner = Owner(fields.pop("tenant_id"), fields.pop("issuer"), fields.pop("subject"))
    return StoredExport(owner=owner, **fields)


async def lock_quota(connection: Connection, tenant_id: str) -> None:
    """Let nobody else ask for an export of this tenant until the transaction ends, so that limits hold."""
    await connection.execute(
        "select pg_advisory_xact_lock(hashtextextended('tallystick exports ' || $1, 0))", tenant_id
    )


async def count_in_use(connection: Connection, owner: Owner) -> tuple[int, int, float | None]:
    """Exports that wait, run or are kept: the owner's, the tenant's, and in how many seconds the first expires."""
    record = await connection.fetchrow(
        f"""
        select count(*) filter (where (issuer, subject) = ($2, $3)) as own, count(*) as all,
               extract(epoch from min(expires_at) - clock_timestamp())::float8 as seconds
          from tallystick.exports join tallystick.jobs on jobs.id = job_id
         where exports.tenant_id = $1 and {_IN_USE}""",  # noqa: S608  # a constant
        owner.tenant_id,
        owner.issuer,
        owner.subject,
    )
    assert record is not None  # noqa: S101  # an aggregate has a row
    return record["own"], record["all"], record["seconds"]


async def insert_export(
    connection: Connection,
    job_id: str,
    owner: Owner,
    log_id: int,
    asked: Mapping[str, Sequence[str]],
    narrowing: str,
    through_seq: int,
    kept_until: datetime | None = None,
) -> None:
    """Record what the export of a job is to be, and before when it does not expire."""
    await connection.execute(
        """
        insert into tallystick.exports (job_id, tenant_id, log_id, issuer, subject, asked, narrowing, through_seq,
                                        kept_until)
        values ($1::text::uuid, $2, $3, $4, $5, $6::text::jsonb, $7, $8, $9)""",
        job_id,
        owner.tenant_id,
        log_id,
        owner.issuer,
        owner.subject,
        orjson.dumps(dict(asked)).decode(),
        narrowing,
        through_seq,
        kept_until,
    )


async def get_export(connection: Connection, owner: Owner, export_id: str) -> StoredExport | None:
    """Read an export of this owner; None where it is another's, or there is none."""
    record = await connection.fetchrow(
        f"{_EXPORTS} where job_id = $1::text::uuid and (exports.tenant_id, issuer, subject) = ($2, $3, $4)",
        export_id,
        owner.tenant_id,
        owner.issuer,
        owner.subject,
    )
    return None if record is None else _export(record)


async def find_exports(connection: Connection, export_ids: Sequence[str]) -> dict[str, StoredExport]:
    """Read exports, whosever they are, by id."""
    records = await connection.fetch(f"{_EXPORTS} where job_id = any ($1::text[]::uuid[])", export_ids)
    return {record["id"]: _export(record) for record in records}


async def exports_of(connection: Connection, tenant_id: str) -> list[StoredExport]:
    """The exports of a tenant of which something is, or will be, in the store; the oldest first."""
    records = await connection.fetch(
        f"{_EXPORTS} where exports.tenant_id = $1 and removed_at is null order by created_at, job_id", tenant_id
    )
    return [_export(record) for record in records]


async def keep_until(connection: Connection, export_id: str, until: datetime) -> None:
    """Let an export expire at a moment, if not later.

    Args:
        connection: Of the worker role.
        export_id: Which export.
        until: The moment.
    """
    await connection.execute(
        "update tallystick.exports set expires_at = greatest(expires_at, $2) where job_id = $1::text::uuid",
        export_id,
        until,
    )


async def delete_export(connection: Connection, export_id: str) -> None:
    """Record that the owner no longer wants an export; what is in the store is removed later."""
    await connection.execute(
        "update tallystick.exports set deleted_at = coalesce(deleted_at, clock_timestamp())"
        " where job_id = $1::text::uuid",
        export_id,
    )


async def finish_export(connection: Connection, export_id: str, finished: Finished, keep: int) -> bool:
    """Record the object of an export; false where another was recorded before, or none is wanted any more.

    Args:
        connection: Of the worker role.
        export_id: Which export.
        finished: What was written.
        keep: Seconds from now after which it expires, if it is not kept for longer.
    """
    recorded = await connection.fetchval(
        """
        with recorded as (
            update tallystick.exports
               set object = $2, events = $3, bytes = $4, sha256 = $5, key_id = $7,
                   expires_at = greatest(
                       date_trunc('milliseconds', clock_timestamp()) + make_interval(secs => $6), kept_until)
              from tallystick.jobs
             where job_id = $1::text::uuid and jobs.id = job_id and object is null and deleted_at is null
               and state = 'running' and not cancel_requested
            returning 1),
        counted as (
            update tallystick.export_totals set exports = exports + 1, bytes = bytes + $4
             where exists (select from recorded))
        select count(*) from recorded""",
        export_id,
        finished.key,
        finished.events,
        finished.size,
        finished.sha256,
        keep,
        finished.key_id,
    )
    return recorded == 1


async def find_removable(connection: Connection) -> list[StoredExport]:
    """Exports whose objects are no longer wanted, and that have not been removed."""
    records = await connection.fetch(
        f"""{_EXPORTS}
        where removed_at is null and state not in ('queued', 'running')
          and (state <> 'succeeded' or deleted_at is not null or expires_at <= clock_timestamp())
        order by job_id limit 1000"""
    )
    return [_export(record) for record in records]


async def mark_removed(connection: Connection, export_id: str) -> None:
    """Record that nothing of an export is in the store."""
    await connection.execute(
        """
        with marked as (
            update tallystick.exports set removed_at = clock_timestamp()
             where job_id = $1::text::uuid and removed_at is null returning object)
        update tallystick.export_totals set removed = removed + 1
         where exists (select from marked where object is not null)""",
        export_id,
    )


async def forget_exports(connection: Connection, days: int) -> int:
    """Forget exports, what was asked included, so many days after they were removed; returns how many."""
    return await connection.fetchval(
        """
        with forgotten as (
            delete from tallystick.exports where removed_at < clock_timestamp() - make_interval(days => $1) returning 1)
        select count(*) from forgotten""",
        days,
    )


async def sum_up(connection: Connection) -> ExportSums:
    """Sum up all exports."""
    states = await connection.fetch(
        f"""
        select state, count(*) as exports, coalesce(sum(bytes), 0)::bigint as bytes
          from tallystick.exports join tallystick.jobs on jobs.id = job_id where {_IN_USE} group by state"""  # noqa: S608  # a constant
    )
    totals = await connection.fetchrow("select exports, bytes, removed from tallystick.export_totals")
    assert totals is not None  # noqa: S101  # the migration made it
    return ExportSums(
        dict.fromkeys(("queued", "running", "succeeded"), 0)
        | {record["state"]: record["exports"] for record in states},
        sum(record["bytes"] for record in states),
        totals["exports"],
        totals["bytes"],
        totals["removed"],
    )
