"""SQL of retention: policies, runs, and how far removals are followed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from tallystick.database.pools import Connection
from tallystick.jobs.queries import insert_job
from tallystick.retention.model import Policy


async def today(connection: Connection) -> date:
    """The day of UTC by the clock that events arrive by: a host's may run ahead, and what it thinks old is not."""
    return await connection.fetchval("select (now() at time zone 'UTC')::date")


async def read_policies(connection: Connection) -> list[Policy]:
    """The policy of every log, as the tenants set them."""
    records = await connection.fetch(
        "select log_id, tenant_id, name, days from tallystick.retention_policies order by log_id"
    )
    return [Policy(*record) for record in records]


async def read_policy(connection: Connection, log_id: int) -> Policy | None:
    """The policy of one log; None where there is no such log."""
    record = await connection.fetchrow(
        "select log_id, tenant_id, name, days from tallystick.retention_policies where log_id = $1", log_id
    )
    return None if record is None else Policy(*record)


async def count_before(connection: Connection, before: datetime, most: int) -> int:
    """How many events of the session's log arrived before a moment, up to so many."""
    return await connection.fetchval(
        "select count(*) from (select from tallystick.log_events where received_at < $1 limit $2) as going",
        before,
        most,
    )


async def lock_runs(connection: Connection) -> None:
    """Let nobody else ask for a run until the transaction ends."""
    await connection.execute("select pg_advisory_xact_lock(hashtext('tallystick.retention_runs'))")


async def begin_run(
    connection: Connection, day: date, tenant_id: str, kind: str, created_by: dict[str, str]
) -> str | None:
    """Record the job of a day, in the connection's transaction; None where the day has one."""
    if await connection.fetchval("select exists (select from tallystick.retention_runs where day = $1)", day):
        return None
    job = await insert_job(connection, tenant_id, None, kind, {"day": day.isoformat()}, created_by)
    if job is None:
        return None
    status = await connection.execute(
        "insert into tallystick.retention_runs (day, job_id) values ($1, $2::text::uuid) on conflict do nothing",
        day,
        job.id,
    )
    return job.id if status == "INSERT 0 1" else None


@dataclass(frozen=True, slots=True)
class Unforgotten:
    """What was removed of a log and not forgotten by a follower yet.

    Attributes:
        seqs: First and last of each range, ascending.
        number: Of the last removal among them.
    """

    seqs: list[tuple[int, int]]
    number: int


async def find_unforgotten(connection: Connection, follower: str) -> list[int]:
    """Logs of which something was removed that a follower has not forgotten."""
    records = await connection.fetch(
        """
        select removed.log_id
          from tallystick.removed
          left join tallystick.removal_cursors cursor on cursor.log_id = removed.log_id and cursor.follower = $1
         group by removed.log_id, cursor.number
        having max(removed.number) > coalesce(cursor.number, 0)
         order by 1""",
        follower,
    )
    return [record["log_id"] for record in records]


async def read_unforgotten(connection: Connection, follower: str, log_id: int) -> Unforgotten | None:
    """What a follower has still to forget of a log, if anything."""
    records = await connection.fetch(
        """
        with open as materialized (
            select seqs, number from tallystick.removed
             where log_id = $2 and number > coalesce((select number from tallystick.removal_cursors
                                                       where follower = $1 and log_id = $2), 0))
        select lower(part) as first, upper(part) - 1 as last, (select max(number) from open) as number
          from (select unnest(range_agg(each)) as part
                  from open cross join lateral unnest(seqs) as each) as joined
         order by 1""",
        follower,
        log_id,
    )
    if not records:
        return None
    return Unforgotten([(record["first"], record["last"]) for record in records], records[0]["number"])


async def note_forgotten(connection: Connection, follower: str, log_id: int, number: int) -> None:
    """Note up to which removal a follower has forgotten what was removed of a log. It never goes back."""
    await connection.execute(
        """
        insert into tallystick.removal_cursors as cursor (follower, log_id, number) values ($1, $2, $3)
        on conflict (follower, log_id) do update set number = greatest(cursor.number, excluded.number)""",
        follower,
        log_id,
        number,
    )


async def find_unpurged(connection: Connection, follower: str, days: float) -> list[tuple[int, int]]:
    """Logs of which something was removed so many days ago that is to leave the files now, and its last number."""
    records = await connection.fetch(
        """
        select removed.log_id, max(removed.number)
          from tallystick.removed
          left join tallystick.removal_cursors cursor on cursor.log_id = removed.log_id and cursor.follower = $1
         where removed.number > coalesce(cursor.number, 0)
         group by removed.log_id
        having min(removed.removed_at) <= clock_timestamp() - make_interval(secs => $2)
         order by 1""",
        follower,
        days * 86_400,
    )
    return [(record[0], record[1]) for record in records]


async def jobs_ended(connection: Connection, job_ids: Sequence[str]) -> set[str]:
    """Which of these jobs have ended, or are not there."""
    records = await connection.fetch(
        "select id from unnest($1::text[]) as given (id)"
        " where not exists (select from tallystick.jobs"
        " where jobs.id = given.id::uuid and state in ('queued', 'running'))",
        job_ids,
    )
    return {record["id"] for record in records}
