"""Partitions made well ahead of the rows, and dropped when their day is over. Run by the worker's maintenance loop."""

import asyncio
from datetime import UTC, datetime
from typing import Final, Literal, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from tallystick.database.outage import as_database_down
from tallystick.database.pools import Database

Span: TypeAlias = Literal["day", "month"]
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"

AHEAD_DAYS = {"day": 8, "month": 93}
"""How far ahead event partitions are made: at least 7 days and at least 3 intervals."""

READY_DAYS = 2
"""`/readyz` says no when appends would run out of partitions within this many days."""


_LOCK_ATTEMPTS: Final = 10
_LOCK_PAUSE: Final = 0.1


async def _names(connection: Connection, statement: str, *arguments: object) -> list[str]:
    """The names that a function of ours returns.

    The function gives up a lock that it does not get at once, so that no append queues behind it for long; so it is
    asked a few times, with pauses in which appends go on.

    Raises:
        asyncpg.LockNotAvailableError: Somebody holds the table for longer.
    """
    for _ in range(_LOCK_ATTEMPTS - 1):
        try:
            return [row[0] for row in await connection.fetch(statement, *arguments)]
        except asyncpg.LockNotAvailableError:
            await asyncio.sleep(_LOCK_PAUSE)
    return [row[0] for row in await connection.fetch(statement, *arguments)]


async def make_partitions(connection: Connection, span: Span) -> list[str]:
    """Make the partitions of events and retry keys that will be needed; returns the new ones' names.

    Raises:
        asyncpg.LockNotAvailableError: Somebody holds a table for longer than a few attempts.
    """
    events = await _names(
        connection,
        "select tallystick.make_event_partitions($1, now() + make_interval(days => $2))",
        span,
        AHEAD_DAYS[span],
    )
    keys = await _names(connection, "select tallystick.make_retry_key_partitions((now() at time zone 'UTC')::date + 7)")
    return [*events, *keys]


async def maintain(database: Database, span: Span) -> dict[str, list[str]]:
    """Make the partitions that will be needed and drop what nobody asks for any more.

    Old retry keys that somebody holds, a backup for example, are left to the next round.

    Returns:
        Names by what was done: ``made``, ``dropped``.

    Raises:
        DatabaseDownError: PostgreSQL does not answer, or somebody holds what is to get partitions.
    """
    async with (
        as_database_down(),
        database.worker.acquire(timeout=database.settings.acquire_timeout) as connection,
    ):
        made = await make_partitions(connection, span)
        try:
            dropped = await _names(connection, "select tallystick.drop_old_retry_keys()")
        except asyncpg.LockNotAvailableError:
            dropped = []
        await connection.execute("delete from tallystick.revocations where expires_at < now()")
    return {"made": made, "dropped": dropped}


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
