"""One day long past, with events of ten logs in equal parts: what the job of retention removes in `bench retention`."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import asyncpg

from tallystick.bench.rows import VACUUMED, Share, StoredEvents, day_of_rows
from tallystick.errors import ConfigurationError
from tallystick.log import copyrows
from tallystick.search.follower import NAME as SEARCH
from tallystick.stats.follower import NAME as ROLLUPS
from tallystick.tenants.queries import insert_tenant

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"
Progress: TypeAlias = Callable[[int, int], None]

LASTING: Final = 9
"""Logs beside the one whose events go first."""

_AGO: Final = timedelta(days=400)
_BLOCK: Final = 50_000
_CHUNK: Final = 500
_LOOK_SECONDS: Final = 0.5
_PATIENCE_SECONDS: Final = 120.0

_BEHIND: Final = """
select coalesce(sum(log.size - 1 - coalesce(cursor.seq, -1)), 0)::bigint as behind, sum(log.size)::bigint as events
  from tallystick.logs log
 cross join unnest($1::text[]) as follower (name)
  left join tallystick.cursors cursor on cursor.log_id = log.id and cursor.follower = follower.name"""


@dataclass(frozen=True, slots=True)
class Day:
    """The day, and whose events lie in it.

    Attributes:
        partition: Name of its table.
        begins: Its midnight.
        going: The log whose events go first.
        lasting: The others, each with as many.
        passed: Whether the followers' cursors were put behind the events, which they have never seen.
    """

    partition: str
    begins: datetime
    going: Share
    lasting: tuple[Share, ...]
    passed: bool

    @property
    def shares(self) -> tuple[Share, ...]:
        """All of them."""
        return (self.going, *self.lasting)


async def fill(connection: Connection, events: int, progress: Progress, *, passed: bool) -> Day:
    """Make the day and fill it by COPY, as the schema's owner; its tenants are new.

    Args:
        connection: As the owner.
        events: Events of the nine logs together; the tenth has as many as each of them.
        progress: Called with events stored and in all.
        passed: Put the followers' cursors behind the events, instead of leaving them to be followed.

    Raises:
        ConfigurationError: The database has no partitions.
    """
    begins, partition = await _make_day(connection)
    run = secrets.token_hex(3)
    names = [f"bench-expiring-{run}", *(f"bench-lasting-{run}-{number}" for number in range(1, LASTING + 1))]
    shares: list[Share] = []
    for number, name in enumerate(names):
        await insert_tenant(connection, name, f"Benchmark {name}", {})
        log_id = await connection.fetchval(
            "select id from tallystick.logs where tenant_id = $1 and name = 'events'", name
        )
        shares.append(Share(StoredEvents(log_id, name, 0, seed=number), events // LASTING))
    day = Day(partition, begins, shares[0], tuple(shares[1:]), passed)
    total = sum(share.count for share in shares)
    rows = day_of_rows(shares, int(begins.timestamp() * 1000), 1, 0)
    for stored in range(0, total, _BLOCK):
        await _store(connection, day, islice(rows, _BLOCK), begins + timedelta(days=1) * (stored / total))
        progress(min(stored + _BLOCK, total), total)
    # What autovacuum would have done by the time they expire.
    await connection.execute(f'vacuum (analyze) tallystick."{partition}"', timeout=3600)
    return day


async def _make_day(connection: Connection) -> tuple[datetime, str]:
    oldest: datetime | None = await connection.fetchval("select min(begins) from tallystick.event_partitions()")
    if oldest is None:
        raise ConfigurationError("the log has no partitions that could be dropped: is it a hypertable?")
    end = min(oldest, datetime.now(UTC) - _AGO).replace(hour=0, minute=0, second=0, microsecond=0)
    begins = end - timedelta(days=1)
    name = f"events_{begins:%Y%m%d}"
    await connection.execute(
        f'create table tallystick."{name}" partition of tallystick.events '
        f"for values from ('{begins.isoformat()}') to ('{end.isoformat()}') {VACUUMED}"
    )
    return begins, name


async def _store(connection: Connection, day: Day, rows: Iterator[bytes], last_at: datetime) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield copyrows.HEADER
        while chunk := b"".join(islice(rows, _CHUNK)):
            yield chunk
        yield copyrows.TRAILER

    async with connection.transaction():
        await connection.copy_to_table(
            "events", schema_name="tallystick", columns=copyrows.COLUMNS, source=pieces(), format="binary", timeout=600
        )
        grown = ([share.events.log_id for share in day.shares], [share.events.size for share in day.shares])
        await connection.execute(
            """update tallystick.logs as log set size = grown.size, last_at = greatest(last_at, $3)
                 from unnest($1::int[], $2::bigint[]) as grown (id, size) where log.id = grown.id""",
            *grown,
            last_at,
        )
        if day.passed:
            await connection.execute(
                """insert into tallystick.cursors as cursor (follower, log_id, seq)
                   select follower, id, size - 1
                     from unnest($1::int[], $2::bigint[]) as grown (id, size)
                    cross join unnest($3::text[]) as follower
                   on conflict (follower, log_id) do update set seq = excluded.seq""",
                *grown,
                [SEARCH, ROLLUPS],
            )


async def until_followed(connection: Connection, home: Path, progress: Progress) -> None:
    """Wait until index and statistics have followed all logs to their ends.

    Args:
        connection: As the owner.
        home: The state directory, whose worker follows.
        progress: Called with events followed and those there are, each as often as it has followers.

    Raises:
        ConfigurationError: The worker does not get on.
    """
    followers = [SEARCH, ROLLUPS]
    moved, before = time.monotonic(), -1
    while True:
        row = await connection.fetchrow(_BEHIND, followers)
        if row is None:
            raise ValueError("an aggregate has a row")
        progress(row["events"] - row["behind"], row["events"])
        if not row["behind"]:
            return
        if row["behind"] != before:
            moved, before = time.monotonic(), row["behind"]
        elif time.monotonic() - moved > _PATIENCE_SECONDS:
            raise ConfigurationError(f"the worker follows nothing (see {home / 'logs' / 'worker.log'})")
        await asyncio.sleep(_LOOK_SECONDS)


async def left_of(connection: Connection, day: Day, shares: Sequence[Share]) -> int:
    """How many events some logs have left in the day."""
    return await connection.fetchval(
        "select count(*) from tallystick.events"
        " where log_id = any ($1::int[]) and received_at >= $2 and received_at < $3",
        [share.events.log_id for share in shares],
        day.begins,
        day.begins + timedelta(days=1),
        timeout=600,
    )


async def table_bytes(connection: Connection, day: Day) -> int:
    """What the day takes on disk, indexes included."""
    return await connection.fetchval("select pg_total_relation_size($1::text::regclass)", f"tallystick.{day.partition}")


async def is_dropped(connection: Connection, day: Day) -> bool:
    """Whether the day's table is gone. Asks the catalogue alone: nobody waits for that."""
    return await connection.fetchval("select to_regclass($1) is null", f"tallystick.{day.partition}")
