"""SQL of removal: what may leave a log, and the functions that take it out (see `migrations`, 0014 and 0015)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from tallystick.database.pools import Connection


class Leaf(NamedTuple):
    """An event that is to leave.

    Attributes:
        seq: Position in the log.
        received_at: Arrival.
        leaf_hash: 32 bytes.
    """

    seq: int
    received_at: datetime
    leaf_hash: bytes


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition of the log.

    Attributes:
        name: Of the table or chunk.
        begins: Its first moment of arrival.
        ends: The moment before which arrivals are in it.
    """

    name: str
    begins: datetime
    ends: datetime


@dataclass(frozen=True, slots=True)
class Orders:
    """On whose behalf events leave.

    Attributes:
        job_id: The job that removes them.
        reason: What a reader who asks for one of them is told.
    """

    job_id: str
    reason: str


async def arrived_before(
    connection: Connection, after_seq: int, since: datetime, until: datetime, most: int
) -> list[Leaf]:
    """The first events of the session's log after a seq that arrived from one moment to before another."""
    records = await connection.fetch(
        "select seq, received_at, leaf_hash from tallystick.log_events"
        " where seq > $1 and received_at >= $2 and received_at < $3 order by seq limit $4",
        after_seq,
        since,
        until,
        most,
    )
    return [Leaf(*record) for record in records]


async def first_left(connection: Connection, log_id: int) -> int:
    """A seq before which nothing is left of a log, as far as that was noted; 0 where nothing was.

    Whoever looks for what is left begins there: the index still leads to what was removed, and until that is vacuumed
    each of its entries costs a look at the table.
    """
    noted = await connection.fetchval("select seq from tallystick.removal_floors where log_id = $1", log_id)
    return 0 if noted is None else noted


async def note_left(connection: Connection, log_id: int, seq: int) -> None:
    """Note that nothing is left of a log before a seq."""
    await connection.execute(
        "insert into tallystick.removal_floors as floor (log_id, seq) values ($1, $2)"
        " on conflict (log_id) do update set seq = greatest(floor.seq, excluded.seq)",
        log_id,
        seq,
    )


async def passed_by(connection: Connection, log_id: int, followers: Sequence[str]) -> int:
    """The last seq that all of some followers have handled; -1 for none."""
    return await connection.fetchval(
        "select coalesce(min(coalesce(seq, -1)), -1) from unnest($2::text[]) as follower (name)"
        " left join tallystick.cursors on cursors.follower = name and log_id = $1",
        log_id,
        followers,
    )


async def hold_log(connection: Connection, log_id: int) -> None:
    """Let nobody else remove anything of a log until the transaction ends.

    To be called before any of its cursors is held: two who took those and the log in another order would wait for each
    other.
    """
    await connection.execute("select pg_advisory_xact_lock_shared(hashtext('tallystick.removal'))")
    await connection.execute("select pg_advisory_xact_lock(hashtext('tallystick.removal'), $1)", log_id)


async def remove_events(
    connection: Connection, log_id: int, leaves: Sequence[Leaf], followers: Sequence[str], orders: Orders, key: str
) -> int:
    """Take events out of a log; returns how many of them were still there.

    Args:
        connection: Of the worker role.
        log_id: The log.
        leaves: The events.
        followers: Who must have passed them.
        orders: On whose behalf.
        key: Of the object that holds their leaf hashes.

    Raises:
        asyncpg.ObjectNotInPrerequisiteStateError: A follower is behind, or the job does not run.
    """
    arrivals = [leaf.received_at for leaf in leaves]
    return await connection.fetchval(
        "select tallystick.remove_events($1, $2, $3, $4, $5, $6::text::uuid, $7, $8)",
        log_id,
        [leaf.seq for leaf in leaves],
        min(arrivals),
        max(arrivals),
        followers,
        orders.job_id,
        orders.reason,
        key,
    )


async def removed_by(connection: Connection, job_id: str, log_id: int) -> "Taken":
    """What a job has removed of a log so far."""
    record = await connection.fetchrow(
        """
        select coalesce(sum(events), 0)::bigint as events, min(first_seq) as first_seq, max(last_seq) as last_seq,
               coalesce(array_agg(leaves order by first_seq), '{}') as leaves
          from (select first_seq, last_seq, leaves,
                       (select sum(upper(part) - lower(part)) from unnest(seqs) as part) as events
                  from tallystick.removed where job_id = $1 and log_id = $2) as removed""",
        job_id,
        log_id,
    )
    return Taken(**dict(record)) if record is not None else Taken(0, None, None, [])


@dataclass(frozen=True, slots=True)
class Taken:
    """What was removed.

    Attributes:
        events: How many.
        first_seq: The first of them, if any.
        last_seq: The last.
        leaves: Keys of the objects with their leaf hashes.
    """

    events: int
    first_seq: int | None
    last_seq: int | None
    leaves: list[str]


async def find_partitions(connection: Connection, ended_before: datetime) -> list[Partition]:
    """The partitions that end no later than a moment, the oldest first."""
    records = await connection.fetch(
        "select * from tallystick.event_partitions() where ends <= $1 order by begins", ended_before
    )
    return [Partition(*record) for record in records]


async def logs_in(connection: Connection, partition: Partition) -> list[int]:
    """Which logs have events in a partition."""
    records = await connection.fetch("select tallystick.logs_between($1, $2)", partition.begins, partition.ends)
    return sorted(record[0] for record in records)


async def is_prepared(connection: Connection, partition: Partition, log_id: int) -> bool:
    """Whether the leaf hashes of what a partition holds of a log are stored and noted."""
    return await connection.fetchval(
        "select exists (select from tallystick.leaving where begins = $1 and log_id = $2)", partition.begins, log_id
    )


async def keep_running(connection: Connection, job_id: str) -> bool:
    """Keep the end of a job from being recorded until the transaction ends; false where it does not run any more.

    What an ended job stored of leaf hashes and no row names is tidied up.
    """
    statement = "select true from tallystick.jobs where id = $1::text::uuid and state = 'running' for share"
    return await connection.fetchval(statement, job_id) is True


async def note_prepared(
    connection: Connection, partition: Partition, log_id: int, runs: Sequence[tuple[int, int]], job_id: str, key: str
) -> None:
    """Note that the leaf hashes of what a partition holds of a log are stored, unless another worker did so.

    Args:
        connection: Of the worker role.
        partition: The partition.
        log_id: The log.
        runs: First and last seq of each run of consecutive ones, ascending.
        job_id: The job that stored them.
        key: Of the object.
    """
    await connection.execute(
        """
        insert into tallystick.leaving (begins, log_id, first_seq, last_seq, seqs, job_id, leaves)
        select $1, $2, min(first), max(last), range_agg(int8range(first, last, '[]')), $5::text::uuid, $6
          from unnest($3::bigint[], $4::bigint[]) as run (first, last)
            on conflict do nothing""",
        partition.begins,
        log_id,
        [first for first, _ in runs],
        [last for _, last in runs],
        job_id,
        key,
    )


async def forget_prepared(connection: Connection, partition: Partition) -> None:
    """Forget what was noted of a partition: it is prepared anew."""
    await connection.execute("delete from tallystick.leaving where begins = $1", partition.begins)


async def drop_partition(
    connection: Connection, name: str, followers: Sequence[str], orders: Orders, platform_days: int | None
) -> int:
    """Drop a partition that is prepared; returns how many events went with it.

    Raises:
        asyncpg.LockNotAvailableError: Somebody holds the table: ask again.
        asyncpg.ObjectNotInPrerequisiteStateError: Something of it may not go.
    """
    return await connection.fetchval(
        "select tallystick.drop_event_partition($1, $2, $3::text::uuid, $4, $5)",
        name,
        followers,
        orders.job_id,
        orders.reason,
        platform_days,
    )


async def find_named(connection: Connection, keys: Sequence[str]) -> set[str]:
    """Which of these objects of leaf hashes something refers to."""
    records = await connection.fetch(
        "select leaves from tallystick.removed where leaves = any ($1::text[])"
        " union select leaves from tallystick.leaving where leaves = any ($1::text[])",
        keys,
    )
    return {record["leaves"] for record in records}
