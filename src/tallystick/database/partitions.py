"""Partitions made well ahead of the rows, and dropped when their day is over. Run by the worker's maintenance loop."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from tallystick.database.pools import Database

Span: TypeAlias = Literal["day", "month"]
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"

AHEAD_DAYS = {"day": 8, "month": 93}
"""How far ahead event partitions are made: at least 7 days and at least 3 intervals."""

RETRY_KEY_AHEAD_DAYS = 14
"""How far ahead partitions of retry keys are made."""

PROMISED_DAYS = {"day": 7, "month": 92}
"""Event partitions that end sooner than this were not looked after: at least 7 days and at least 3 intervals."""

RETRY_KEY_PROMISED_DAYS = 7
"""The same for retry keys."""

READY_DAYS = 2
"""`/readyz` says no when appends would run out of partitions within this many days."""

_NONE = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Reach:
    """Until when appends find partitions, in UTC; the year 1 without any.

    Attributes:
        events: ``datetime.max`` where they are made on arrival.
        retry_keys: For appends with a retry key.
    """

    events: datetime
    retry_keys: datetime

    def lasts(self, days: float, retry_key_days: float, now: datetime) -> bool:
        """Whether both are there for so many days from now on."""
        return self.events >= now + timedelta(days=days) and self.retry_keys >= now + timedelta(days=retry_key_days)


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
    keys = await _names(
        connection,
        "select tallystick.make_retry_key_partitions((now() at time zone 'UTC')::date + $1::int)",
        RETRY_KEY_AHEAD_DAYS,
    )
    return [*events, *keys]


async def maintain(database: Database, span: Span) -> dict[str, list[str]]:
    """Make the partitions that will be needed and drop what nobody asks for any more.

    Old retry keys that somebody holds, a backup for example, are left to the next round.

    Returns:
        Names by what was done: ``made``, ``dropped``.

    Raises:
        DatabaseDownError: PostgreSQL does not answer, or somebody holds what is to get partitions.
    """
    async with database.worker_session() as connection:
        made = await make_partitions(connection, span)
        try:
            dropped = await _names(connection, "select tallystick.drop_old_retry_keys()")
        except asyncpg.LockNotAvailableError:
            dropped = []
        await connection.execute("delete from tallystick.revocations where expires_at < now()")
    return {"made": made, "dropped": dropped}


async def partitions_until(database: Database) -> Reach:
    """Until when appends find a partition.

    Raises:
        DatabaseDownError: PostgreSQL does not answer.
    """
    async with database.control_session() as connection:
        row = await connection.fetchrow(
            "select tallystick.event_partitions_until(), tallystick.retry_key_partitions_until()"
        )
    events, retry_keys = row or (None, None)
    return Reach(_in_utc(events), _in_utc(retry_keys))


def _in_utc(until: datetime | None) -> datetime:
    if until is None:
        return _NONE
    return until.replace(tzinfo=UTC) if until.tzinfo is None else until  # the driver gives infinity without a zone
