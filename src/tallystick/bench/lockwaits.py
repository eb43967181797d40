"""How long anybody waits for a lock on a table: what a drop holds up, and not what a busy machine does."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

import asyncpg

_LOOK_SECONDS: Final = 0.005
"""A wait is seen this much shorter than it was, at most, and not at all where it was shorter."""

_LONGEST: Final = """
select coalesce(max(extract(epoch from clock_timestamp() - waitstart)), 0)::float8
  from pg_locks
 where locktype = 'relation' and not granted
   and database = (select oid from pg_database where datname = current_database())"""


class LockWaits:
    """What has been seen.

    Attributes:
        longest: The longest wait, in seconds; 0 where none was seen.
        looks: How often was looked.
    """

    def __init__(self) -> None:
        self.longest = 0.0
        self.looks = 0


@asynccontextmanager
async def watching_lock_waits(url: str) -> AsyncGenerator[LockWaits]:
    """Look at ``pg_locks`` every few milliseconds while the block runs.

    Args:
        url: Of the database, whose waits for locks on tables are looked at.
    """
    waits = LockWaits()
    connection = await asyncpg.connect(url)
    try:
        looking = asyncio.create_task(_look(connection, waits))
        try:
            yield waits
        finally:
            looking.cancel()
            (ended,) = await asyncio.gather(looking, return_exceptions=True)
        if isinstance(ended, Exception):
            raise ended
    finally:
        connection.terminate()


async def _look(connection: "asyncpg.Connection[asyncpg.Record]", waits: LockWaits) -> None:
    while True:
        waits.longest = max(waits.longest, await connection.fetchval(_LONGEST))
        waits.looks += 1
        await asyncio.sleep(_LOOK_SECONDS)
