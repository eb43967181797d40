"""SQL for cursors: how far each follower is in each log, who works on it, and what it could not handle."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from tallystick.database.pools import Connection
from tallystick.query.timestamps import microseconds, moment


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a follower is in a log.

    Attributes:
        seq: The last it has handled; -1 for none.
        received_us: Arrival of the event there in Unix microseconds, if known.
    """

    seq: int
    received_us: int | None


@dataclass(frozen=True, slots=True)
class Lag:
    """How far a follower is behind in one log.

    Attributes:
        follower: Its name.
        log_id: The log.
        tenant_id: Whose log it is.
        log: The log's name.
        size: Events of the log.
        seq: The last that the follower has handled.
        seconds: Age of the oldest event it has not handled, by its arrival; 0 where it has handled all.
        quarantined: Events it could not handle.
    """

    follower: str
    log_id: int
    tenant_id: str
    log: str
    size: int
    seq: int
    seconds: float
    quarantined: int

    @property
    def events(self) -> int:
        """Events it has not handled yet."""
        return self.size - 1 - self.seq


async def handled_through(connection: Connection, follower: str, log_id: int) -> int:
    """The last seq of a log that a follower has handled; -1 for none."""
    seq: int | None = await connection.fetchval(
        "select seq from tallystick.cursors where follower = $1 and log_id = $2", follower, log_id
    )
    return -1 if seq is None else seq


async def find_behind(connection: Connection, followers: Sequence[str]) -> list[tuple[int, int]]:
    """Logs that have grown beyond a follower's cursor, and their sizes. Looks at every log: for now and then."""
    records = await connection.fetch(
        """
        select log.id, log.size
          from tallystick.logs log
         cross join unnest($1::text[]) as follower (name)
          left join tallystick.cursors cursor on cursor.follower = follower.name and cursor.log_id = log.id
         where log.size > 0 and coalesce(cursor.seq, -1) < log.size - 1
         group by log.id""",
        followers,
    )
    return [(record["id"], record["size"]) for record in records]


async def find_grown(connection: Connection, followers: Sequence[str], seconds: float) -> list[tuple[int, int]]:
    """Those of them to which something was appended of late, in seconds: cheap however many logs are idle."""
    records = await connection.fetch(
        """
        select log.id, log.size
          from tallystick.logs log
         where log.last_at > clock_timestamp() - make_interval(secs => $2)
           and exists (select from unnest($1::text[]) as follower (name)
                         left join tallystick.cursors cursor
                           on cursor.follower = follower.name and cursor.log_id = log.id
                        where coalesce(cursor.seq, -1) < log.size - 1)""",
        followers,
        seconds,
    )
    return [(record["id"], record["size"]) for record in records]


async def lease(connection: Connection, follower: str, log_id: int, holder: str, seconds: float) -> Cursor | None:
    """Take a log for a follower, alone; None while another holds it."""
    record = await connection.fetchrow(
        """
        insert into tallystick.cursors as cursor (follower, log_id, leased_by, leased_until)
        values ($1, $2, $3, clock_timestamp() + make_interval(secs => $4))
        on conflict (follower, log_id) do update
           set leased_by = excluded.leased_by, leased_until = excluded.leased_until
         where cursor.leased_by = excluded.leased_by
            or cursor.leased_until is null
            or cursor.leased_until < clock_timestamp()
        returning seq, received_at""",
        follower,
        log_id,
        holder,
        seconds,
    )
    if record is None:
        return None
    received_at = record["received_at"]
    return Cursor(record["seq"], None if received_at is None else microseconds(received_at))


async def advance(
    connection: Connection, follower: str, log_id: int, holder: str, cursor: Cursor, seconds: float
) -> bool:
    """Move a cursor and renew its lease; false when the lease is another's now, and nothing was moved."""
    status = await connection.execute(
        """
        update tallystick.cursors
           set seq = $4, received_at = $5, leased_until = clock_timestamp() + make_interval(secs => $6)
         where follower = $1 and log_id = $2 and leased_by = $3""",
        follower,
        log_id,
        holder,
        cursor.seq,
        None if cursor.received_us is None else moment(cursor.received_us),
        seconds,
    )
    return status == "UPDATE 1"


async def advance_from(
    connection: Connection, follower: str, log_id: int, holder: str, after: int, cursor: Cursor
) -> bool:
    """Move a cursor from where its holder believes it to be; false when it is elsewhere, or the lease is another's.

    Its row stays locked until the transaction ends.
    """
    status = await connection.execute(
        "update tallystick.cursors set seq = $5, received_at = $6"
        " where follower = $1 and log_id = $2 and leased_by = $3 and seq = $4",
        follower,
        log_id,
        holder,
        after,
        cursor.seq,
        None if cursor.received_us is None else moment(cursor.received_us),
    )
    return status == "UPDATE 1"


async def holds(connection: Connection, follower: str, log_id: int, holder: str, seq: int) -> bool:
    """Whether a log is leased to a holder and its cursor is at a seq. Both stay so until the transaction ends."""
    held = await connection.fetchval(
        "select true from tallystick.cursors"
        " where follower = $1 and log_id = $2 and leased_by = $3 and seq = $4 for update",
        follower,
        log_id,
        holder,
        seq,
    )
    return held is not None


async def renew(connection: Connection, follower: str, log_ids: Sequence[int], holder: str, seconds: float) -> None:
    """Keep the leases of logs, as far as they are still the holder's. One whose row is locked is being worked on."""
    await connection.execute(
        """
        with mine as (select log_id from tallystick.cursors
                       where follower = $1 and log_id = any($2) and leased_by = $3 for update skip locked)
        update tallystick.cursors set leased_until = clock_timestamp() + make_interval(secs => $4)
         where follower = $1 and leased_by = $3 and log_id in (select log_id from mine)""",
        follower,
        log_ids,
        holder,
        seconds,
    )


async def release(connection: Connection, follower: str, log_id: int, holder: str) -> None:
    """Let go of a log."""
    await connection.execute(
        "update tallystick.cursors set leased_by = null, leased_until = null"
        " where follower = $1 and log_id = $2 and leased_by = $3",
        follower,
        log_id,
        holder,
    )


async def reset(connection: Connection, follower: str, log_id: int) -> bool:
    """Send a follower back to the start of a log; whoever works on it stops. False where it has no cursor."""
    await forget_quarantined(connection, follower, log_id)
    status = await connection.execute(
        "update tallystick.cursors set seq = -1, received_at = null, leased_by = null, leased_until = null"
        " where follower = $1 and log_id = $2",
        follower,
        log_id,
    )
    return status == "UPDATE 1"


async def forget_quarantined(connection: Connection, follower: str, log_id: int) -> None:
    """Forget which events of a log could not be handled: they are tried again."""
    await connection.execute("delete from tallystick.quarantine where follower = $1 and log_id = $2", follower, log_id)


async def quarantine(connection: Connection, follower: str, log_id: int, seq: int, error: str) -> None:
    """Note an event that a follower could not handle."""
    await connection.execute(
        "insert into tallystick.quarantine (follower, log_id, seq, error) values ($1, $2, $3, $4)"
        " on conflict do nothing",
        follower,
        log_id,
        seq,
        error,
    )


async def find_quarantined(connection: Connection, follower: str, log_id: int) -> set[int]:
    """The seqs of a log that a follower could not handle."""
    records = await connection.fetch(
        "select seq from tallystick.quarantine where follower = $1 and log_id = $2", follower, log_id
    )
    return {record["seq"] for record in records}


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a follower is behind in all logs together.

    Attributes:
        follower: Its name.
        events: Events it has not handled yet.
        seconds: Age of the oldest of them, by its arrival; 0 where it has handled all.
        logs: Logs that they are in.
        quarantined: Events it could not handle.
    """

    follower: str
    events: int
    seconds: float
    logs: int
    quarantined: int

    @property
    def summary(self) -> str:
        """All of it in a line."""
        told = "nothing behind"
        if self.events:
            events = "1 event" if self.events == 1 else f"{self.events:,} events"
            logs = "1 log" if self.logs == 1 else f"{self.logs:,} logs"
            told = f"{events} behind in {logs}, {self.seconds:,.0f} s"
        return f"{self.follower}: {told}" + (f", {self.quarantined:,} quarantined" if self.quarantined else "")


@dataclass(frozen=True, slots=True)
class LogHead:
    """A log, and how many events it has been given."""

    id: int
    tenant_id: str
    name: str
    size: int


@dataclass(frozen=True, slots=True)
class Quarantined:
    """An event that a follower could not handle.

    Attributes:
        error: The class of what was raised.
    """

    follower: str
    log_id: int
    tenant_id: str
    log: str
    seq: int
    error: str
    quarantined_at: datetime


async def find_lags(connection: Connection, followers: Sequence[str], tenant_id: str | None = None) -> list[Lag]:
    """How far each follower is in each log that has events, or in those of one tenant."""
    records = await connection.fetch(
        """
        select follower.name as follower, log.id, log.tenant_id, log.name, log.size,
               coalesce(cursor.seq, -1) as seq,
               case when coalesce(cursor.seq, -1) < log.size - 1
                    then greatest(extract(epoch from clock_timestamp()
                         - tallystick.arrival_after(log.id, coalesce(cursor.seq, -1), cursor.received_at)), 0)
                    else 0 end::float8 as seconds,
               (select count(*) from tallystick.quarantine
                 where quarantine.follower = follower.name and quarantine.log_id = log.id) as quarantined
          from tallystick.logs log
         cross join unnest($1::text[]) as follower (name)
          left join tallystick.cursors cursor on cursor.follower = follower.name and cursor.log_id = log.id
         where log.size > 0 and ($2::text is null or log.tenant_id = $2)
         order by log.tenant_id, log.name, follower.name""",
        followers,
        tenant_id,
    )
    return [Lag(*record) for record in records]


async def find_standings(connection: Connection, followers: Sequence[str]) -> list[Standing]:
    """How far each follower is behind in all logs together.

    Where it is not known when the event at the cursor arrived, every partition is looked into for the one after it.
    That is so of logs not followed yet, where the oldest hundred stand for all.
    """
    records = await connection.fetch(
        """
        select follower.name, coalesce(sum(behind.events), 0)::bigint as events,
               greatest(extract(epoch from clock_timestamp() - min(behind.arrival)), 0)::float8 as seconds,
               count(behind.events) as logs,
               (select count(*) from tallystick.quarantine where quarantine.follower = follower.name) as quarantined
          from unnest($1::text[]) as follower (name)
          left join lateral (
                select log.size - 1 - coalesce(cursor.seq, -1) as events,
                       case when row_number() over (partition by cursor.received_at is null order by log.id) <= 100
                              or cursor.received_at is not null
                            then tallystick.arrival_after(log.id, coalesce(cursor.seq, -1), cursor.received_at)
                       end as arrival
                  from tallystick.logs log
                  left join tallystick.cursors cursor on cursor.follower = follower.name and cursor.log_id = log.id
                 where coalesce(cursor.seq, -1) < log.size - 1) as behind on true
         group by follower.name
         order by follower.name""",
        followers,
    )
    return [Standing(*record) for record in records]


async def find_logs(connection: Connection, tenant_id: str | None = None, name: str | None = None) -> list[LogHead]:
    """All logs, or those of one tenant or name."""
    records = await connection.fetch(
        """
        select id, tenant_id, name, size from tallystick.logs
         where ($1::text is null or tenant_id = $1) and ($2::text is null or name = $2)
         order by tenant_id, name""",
        tenant_id,
        name,
    )
    return [LogHead(*record) for record in records]


async def list_quarantined(
    connection: Connection, followers: Sequence[str], tenant_id: str | None = None
) -> list[Quarantined]:
    """The events that followers could not handle, of all logs or of one tenant's."""
    records = await connection.fetch(
        """
        select follower, log_id, log.tenant_id, log.name, seq, error, quarantined_at
          from tallystick.quarantine
          join tallystick.logs log on log.id = log_id
         where follower = any ($1::text[]) and ($2::text is null or log.tenant_id = $2)
         order by log.tenant_id, log.name, follower, seq""",
        followers,
        tenant_id,
    )
    return [Quarantined(*record) for record in records]
