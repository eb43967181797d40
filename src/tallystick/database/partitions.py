"""Partitions made well ahead of the rows, and dropped when their day is over. Run by the worker's maintenance loop."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, TypeAlias

from tallystick.database.outage import as_database_down
from tallystick.database.pools import Database

if TYPE_CHECKING:
    import asyncpg
    from asyncpg.pool import PoolConnectionProxy

Span: TypeAlias = Literal["day", "month"]
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"

AHEAD_DAYS = {"day": 8, "month": 93}
"""How far ahead event partitions are made: at least 7 days and at least 3 intervals."""

READY_DAYS = 2
"""`/readyz` says no when appends would run out of partitions within this many days."""


async def make_partitions(connection: Connection, span: Span) -> list[str]:
    """Make the partitions of events and retry keys that will be needed; returns the new ones' names."""
    events = await connection.fetch(
        "select tallystick.make_event_partitions($1, now() + make_interval(days => $2)) as name",
        span,
        AHEAD_DAYS[span],
    )
    keys = await connection.fetch(
        "select tallystick.make_retry_key_partitions((now() at time zone 'UTC')::date + 7) as name"
    )
    return [row["name"] for row in (*events, *keys)]


async def maintain(database: Database, span: Span) -> dict[str, list[str]]:
    """Make the partitions that will be needed and drop what nobody asks for any more.

    Returns:
        Names by what was done: ``made``, ``dropped``.

    Raises:
        DatabaseDownError: PostgreSQL does not answer.
    """
    async with (
        as_database_down(),
        database.worker.acquire(timeout=database.settings.acquire_timeout) as connection,
    ):
        made = await make_partitions(connection, span)
        dropped = await connection.fetch("select tallystick.drop_old_retry_keys() as name")
        await connection.execute("delete from tallystick.revocations where expires_at < now()")
    return {"made": made, "dropped": [row["name"] for row in dropped]}


async def partitions_until(database: Database) -> datetime | None:
    """Until when appends find a partition; ``datetime.max`` in UTC where they are made on arrival, None without any.

    Raises:
        DatabaseDownError: PostgreSQL does not answer.
    """
    async with database.control_session() as connection:
        until: datetime | None = await connection.fetchval("select tallystick.event_partitions_until()")
        if until is not None and until.tzinfo is None:  # the driver gives infinity so, and nothing compares with it
            return until.replace(tzinfo=UTC)
        return until
