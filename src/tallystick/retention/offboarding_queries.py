"""SQL of the removal of whole tenants; see `migrations`, 0016."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import asyncpg

from tallystick.database.pools import Connection


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the removal of a tenant is.

    Attributes:
        tenant_id: Which.
        job_id: The job that does it.
        reason: Why.
        issuer: Of the principal whom the last exports are for.
        subject: That principal.
        asked_at: When it was ordered.
        removal_at: Until when it can be undone.
        begun_at: When it began, or None.
        exports_until: Until when its last exports can be fetched, once they are complete.
        keys_erased_at: When the tenant's keys were erased, or None.
        removed_at: When nothing was left, or None.
    """

    tenant_id: str
    job_id: str
    reason: str
    issuer: str
    subject: str
    asked_at: datetime
    removal_at: datetime
    begun_at: datetime | None
    exports_until: datetime | None
    keys_erased_at: datetime | None
    removed_at: datetime | None


class LogHead(NamedTuple):
    """A log of a tenant.

    Attributes:
        id: Its id.
        name: `events` or `access`.
        size: Events that were ever in it.
    """

    id: int
    name: str
    size: int


_COLUMNS = """tenant_id, job_id::text, reason, issuer, subject, asked_at, removal_at, begun_at, exports_until,
    keys_erased_at, removed_at"""


async def lock_offboardings(connection: Connection) -> None:
    """Let nobody else order a removal until the transaction ends, so that one tenant stays."""
    await connection.execute("select pg_advisory_xact_lock(hashtext('tallystick.offboardings'))")


async def standing_of(connection: Connection, tenant_id: str) -> Standing | None:
    """The removal of a tenant, if one was ordered."""
    record = await connection.fetchrow(
        f"select {_COLUMNS} from tallystick.offboardings where tenant_id = $1",  # noqa: S608  # a constant
        tenant_id,
    )
    return None if record is None else Standing(**dict(record))


async def standing_by(connection: Connection, job_id: str) -> Standing | None:
    """The removal that a job does; None where the tenant was restored, or another job does it now."""
    record = await connection.fetchrow(
        f"select {_COLUMNS} from tallystick.offboardings where job_id = $1::text::uuid",  # noqa: S608  # a constant
        job_id,
    )
    return None if record is None else Standing(**dict(record))


async def has_others(connection: Connection, tenant_id: str) -> bool:
    """Whether there is another tenant that stays."""
    return await connection.fetchval(
        "select exists (select from tallystick.tenants where id not in ($1, '_platform')"
        " and not exists (select from tallystick.offboardings where offboardings.tenant_id = tenants.id))",
        tenant_id,
    )


async def suspend(connection: Connection, tenant_id: str) -> None:
    """Suspend a tenant, if it is not."""
    await connection.execute(
        "update tallystick.tenants set suspended_at = date_trunc('milliseconds', clock_timestamp())"
        " where id = $1 and suspended_at is null",
        tenant_id,
    )


async def insert_offboarding(
    connection: Connection, tenant_id: str, job_id: str, reason: str, recipient: tuple[str, str], wait_days: int
) -> None:
    """Record that a tenant is to be removed, so many times 24 hours from now.

    Its suspension by this order is no older than the order, in the connection's transaction: see `restore_tenant`.

    Args:
        connection: Of the control role.
        tenant_id: Which.
        job_id: The job.
        reason: Why.
        recipient: Issuer and subject of whom the last exports are for.
        wait_days: How many days.
    """
    await connection.execute(
        """
        insert into tallystick.offboardings (tenant_id, job_id, reason, issuer, subject, asked_at, removal_at)
        select $1, $2::text::uuid, $3, $4, $5, at, at + make_interval(hours => 24 * $6)
          from (select date_trunc('milliseconds', now()) as at) as moment""",
        tenant_id,
        job_id,
        reason,
        *recipient,
        wait_days,
    )


async def take_over(connection: Connection, tenant_id: str, job_id: str) -> None:
    """Let another job go on with a removal."""
    await connection.execute(
        "update tallystick.offboardings set job_id = $2::text::uuid where tenant_id = $1", tenant_id, job_id
    )


async def restore(connection: Connection, tenant_id: str) -> str | None:
    """Let a tenant in again; the id of the job that was to remove it, or None where it was not to be removed.

    Raises:
        asyncpg.ObjectNotInPrerequisiteStateError: Its removal has begun.
    """
    return await connection.fetchval("select tallystick.restore_tenant($1)::text", tenant_id)


async def begin(connection: Connection, job_id: str) -> bool:
    """Begin with what cannot be undone; false where the tenant was restored."""
    return await connection.fetchval("select tallystick.begin_tenant_removal($1::text::uuid)", job_id)


async def note_exported(connection: Connection, tenant_id: str, until: datetime) -> None:
    """Note that the last exports are complete, and until when they can be fetched."""
    await connection.execute(
        "update tallystick.offboardings set exports_until = $2 where tenant_id = $1", tenant_id, until
    )


async def erase_keys(connection: Connection, job_id: str) -> None:
    """Erase the keys of a tenant.

    Raises:
        asyncpg.ObjectNotInPrerequisiteStateError: Something is left that they open.
    """
    await connection.execute("select tallystick.erase_tenant_keys($1::text::uuid)", job_id)


async def finish(connection: Connection, job_id: str) -> None:
    """Leave nothing of a tenant but its id, and why and when it went.

    Raises:
        asyncpg.ObjectNotInPrerequisiteStateError: Something is left of it.
    """
    await connection.execute("select tallystick.finish_tenant_removal($1::text::uuid)", job_id)


async def logs_of(connection: Connection, tenant_id: str) -> list[LogHead]:
    """The logs of a tenant, `events` first."""
    records = await connection.fetch(
        "select id, name, size from tallystick.logs where tenant_id = $1 order by name desc", tenant_id
    )
    return [LogHead(*record) for record in records]


async def end_others(connection: Connection, tenant_id: str, job_id: str) -> int:
    """Ask that every other job of a tenant ends; how many have not. Exports that are kept are left alone.

    Args:
        connection: Of the worker role.
        tenant_id: Whose.
        job_id: The one that asks.
    """
    records: list[asyncpg.Record] = await connection.fetch(
        """
        update tallystick.jobs set cancel_requested = true
         where tenant_id = $1 and id <> $2::text::uuid and state in ('queued', 'running')
           and not exists (select from tallystick.exports where job_id = jobs.id and kept_until is not null)
        returning 1""",
        tenant_id,
        job_id,
    )
    return len(records)
