"""Takes removed events out of the rollups: batch by batch where single ones go, by days where a prefix does."""

import asyncio
from collections.abc import Sequence
from datetime import date
from typing import Final

import structlog

from tallystick.database.pools import Connection, Database
from tallystick.errors import UnavailableError
from tallystick.followers.model import LoggedEvent
from tallystick.followers.queries import reset
from tallystick.stats.follower import NAME
from tallystick.stats.removal_queries import cut_days, hold_cursor, subtract
from tallystick.stats.rolling import Increments

_SLICE: Final = 1_000

_log = structlog.get_logger("tallystick.stats")


class CountedOtherwiseError(UnavailableError):
    """The rollups do not hold what is to be taken out of them: they are to be counted anew."""


async def counted(events: Sequence[LoggedEvent]) -> Increments:
    """What some events have added to the rollups."""
    increments = Increments()
    for begin in range(0, len(events), _SLICE):
        increments.add(events[begin : begin + _SLICE])
        await asyncio.sleep(0)
    return increments


async def uncount(connection: Connection, log_id: int, last_seq: int, increments: Increments) -> None:
    """Take events out of the rollups of a log, in the transaction that removes them.

    Args:
        connection: Of the worker role, with a transaction.
        log_id: The log.
        last_seq: Of the events the last.
        increments: What they had added.

    Raises:
        UnavailableError: They are not counted yet.
        CountedOtherwiseError: They were counted otherwise.
    """
    if await hold_cursor(connection, NAME, log_id) < last_seq:
        raise UnavailableError("the statistics are behind: what they have not passed stays")
    if not await subtract(connection, log_id, increments):
        raise CountedOtherwiseError("the statistics are counted anew first", retry_after=5)


async def count_anew(database: Database, log_id: int) -> None:
    """Have the rollups of a log counted anew, by their follower.

    Raises:
        DatabaseDownError: PostgreSQL does not answer.
    """
    _log.warning("rollups_counted_anew", log_id=log_id)
    async with database.worker_session() as connection, connection.transaction():
        await reset(connection, NAME, log_id)


async def uncount_days(database: Database, log_id: int, before: date) -> None:
    """Take out of the rollups of a log what arrived before a day of UTC, all of which is removed from the log.

    Raises:
        DatabaseDownError: PostgreSQL does not answer.
    """
    async with database.worker_session() as connection, connection.transaction():
        await hold_cursor(connection, NAME, log_id)
        await cut_days(connection, log_id, before)
