"""Millions of stored events in minutes, by COPY as the schema's owner into partitions of the past. Kept for reuse."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, TypeAlias

import asyncpg
import orjson

from tallystick.bench.rows import VACUUMED, Share, StoredEvents, day_of_rows
from tallystick.errors import ConfigurationError
from tallystick.log import copyrows
from tallystick.tenants.queries import insert_tenant

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"

HOT: Final = "bench-hot"
"""The tenant with most of the events: reads and searches are measured on it."""

_FACT: Final = "bench_load"
_BESIDE: Final = 19
_BESIDE_SHARE: Final = 100
_CHUNK: Final = 500


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a database was filled with; recorded in it, in the transaction of each day.

    Attributes:
        events: Events of the tenant `HOT`.
        beside: Events of each of the other tenants.
        first_day: The first day that has events, in UTC.
        partitions: Days that have events, a partition each.
        days_done: How many of them are loaded; a load that was broken off goes on from there.
    """

    events: int
    beside: int
    first_day: str
    partitions: int
    days_done: int

    @property
    def complete(self) -> bool:
        """Whether all of it is there."""
        return self.days_done == self.partitions

    @property
    def start(self) -> datetime:
        """Midnight at which the first day begins."""
        return datetime.fromisoformat(self.first_day).replace(tzinfo=UTC)


def tenants() -> list[str]:
    """The tenants that are filled, the hot one first."""
    return [HOT, *(f"bench-beside-{number}" for number in range(1, _BESIDE + 1))]


async def recorded(connection: Connection) -> Loaded | None:
    """Read what the database was filled with; None when it was not."""
    text = await connection.fetchval("select value from tallystick.facts where name = $1", _FACT)
    return None if text is None else Loaded(**orjson.loads(text))


async def load(
    url: str, events: int, partitions: int, progress: Callable[[int, int], None] = lambda _done, _all: None
) -> Loaded:
    """Fill a database, or find that it is filled.

    Args:
        url: As the schema's owner.
        events: Events of the tenant `HOT`; nineteen more tenants get a hundredth of it each.
        partitions: Over how many days, each a partition, that end where the oldest partition begins.
        progress: Called with events stored so far and in all.

    Raises:
        ConfigurationError: It was filled otherwise before, or the tenants already have events of their own.
    """
    async with (
        asyncpg.create_pool(url, min_size=1, max_size=1, server_settings={"timezone": "UTC"}) as pool,
        pool.acquire() as connection,
    ):
        plan = await recorded(connection)
        if plan is None:
            plan = await _begin(connection, events, partitions)
        elif (plan.events, plan.beside, plan.partitions) != (events, events // _BESIDE_SHARE, partitions):
            raise ConfigurationError(
                f"this database was filled with {plan.events} events in {plan.partitions} partitions: ask "
                "for the same, or name another state directory with --home"
            )
        if not plan.complete:
            shares = await _shares(connection, plan)
            for day in range(plan.partitions):
                if day < plan.days_done:
                    for share in shares:
                        share.events.size = _until(share.count, plan.partitions, day + 1)
                    continue
                plan = await _load_day(connection, plan, shares, day)
                progress(sum(share.events.size for share in shares), sum(share.count for share in shares))
            # What autovacuum would have done by the time the log is this big: hint bits, visibility, statistics.
            await connection.execute("vacuum analyze tallystick.events", timeout=1800)
        return plan


def _until(count: int, partitions: int, days: int) -> int:
    return count * days // partitions


async def _begin(connection: Connection, events: int, partitions: int) -> Loaded:
    async with connection.transaction():
        first_day = await _make_partitions(connection, partitions)
        for tenant_id in tenants():
            await insert_tenant(connection, tenant_id, f"Benchmark {tenant_id}", {})
        plan = Loaded(events, events // _BESIDE_SHARE, f"{first_day:%Y-%m-%d}", partitions, days_done=0)
        await connection.execute(
            "insert into tallystick.facts (name, value) values ($1, $2)", _FACT, orjson.dumps(asdict(plan)).decode()
        )
    return plan


async def _make_partitions(connection: Connection, days: int) -> datetime:
    """Make day partitions before the oldest one; returns where the first begins. A hypertable makes its own."""
    if await connection.fetchval("select value from tallystick.facts where name = 'timescaledb'") == "on":
        today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return today - timedelta(days=days)
    oldest: datetime | None = await connection.fetchval(
        r"""select min((regexp_match(bounds, 'FROM \(''([^'']+)''\)'))[1]::timestamptz)
              from pg_inherits join pg_class child on child.oid = inhrelid,
                   pg_get_expr(child.relpartbound, child.oid) as bounds
             where inhparent = 'tallystick.events'::regclass"""
    )
    if oldest is None:
        raise ConfigurationError("the log has no partition: run `tallystick migrate` first")
    end = oldest.replace(hour=0, minute=0, second=0, microsecond=0)
    for day in range(days, 0, -1):
        lower, upper = end - timedelta(days=day), end - timedelta(days=day - 1)
        await connection.execute(
            f"create table tallystick.events_{lower:%Y%m%d} partition of tallystick.events "
            f"for values from ('{lower.isoformat()}') to ('{upper.isoformat()}') {VACUUMED}"
        )
    return end - timedelta(days=days)


async def _shares(connection: Connection, plan: Loaded) -> list[Share]:
    shares: list[Share] = []
    for number, tenant_id in enumerate(tenants()):
        row = await connection.fetchrow(
            "select id, size from tallystick.logs where tenant_id = $1 and name = 'events'", tenant_id
        )
        count = plan.events if tenant_id == HOT else plan.beside
        expected = _until(count, plan.partitions, plan.days_done)
        if row is None or row["size"] != expected:
            raise ConfigurationError(
                f"the log of {tenant_id} does not hold the {expected} events that were loaded: "
                "name another state directory with --home"
            )
        shares.append(Share(StoredEvents(row["id"], tenant_id, 0, seed=number), count))
    return shares


async def _load_day(connection: Connection, plan: Loaded, shares: Sequence[Share], day: int) -> Loaded:
    start_ms = int(plan.start.timestamp() * 1000)

    async def rows() -> AsyncIterator[bytes]:
        yield copyrows.HEADER
        chunk: list[bytes] = []
        for row in day_of_rows(shares, start_ms, plan.partitions, day):
            chunk.append(row)
            if len(chunk) == _CHUNK:
                yield b"".join(chunk)
                chunk.clear()
        yield b"".join(chunk)
        yield copyrows.TRAILER

    done = Loaded(plan.events, plan.beside, plan.first_day, plan.partitions, day + 1)
    async with connection.transaction():
        await connection.copy_to_table(
            "events", schema_name="tallystick", columns=copyrows.COLUMNS, source=rows(), format="binary", timeout=600
        )
        await connection.execute(
            """update tallystick.logs as log set size = grown.size, last_at = greatest(last_at, $3)
                 from unnest($1::int[], $2::bigint[]) as grown (id, size) where log.id = grown.id""",
            [share.events.log_id for share in shares],
            [share.events.size for share in shares],
            plan.start + timedelta(days=day + 1),
        )
        await connection.execute(
            "update tallystick.facts set value = $2 where name = $1", _FACT, orjson.dumps(asdict(done)).decode()
        )
    return done
