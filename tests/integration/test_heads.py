"""The heads of logs, read together: never from before they were asked for."""

import asyncio
from dataclasses import dataclass, field
from typing import TypeAlias, cast

import asyncpg

from factories import make_log
from stored_events import fill_log
from tallystick.database.pools import Database
from tallystick.errors import DatabaseDownError
from tallystick.log.heads import Heads

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


@dataclass
class Slow:
    """A database that has read when it tells so, and answers when it is let go on."""

    database: Database
    readings: list[list[int]] = field(default_factory=list[list[int]])
    has_read: asyncio.Event = field(default_factory=asyncio.Event)
    goes_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def control_fetch(self, statement: str, *arguments: object) -> "list[asyncpg.Record]":
        self.readings.append(sorted(cast("list[int]", arguments[0])))
        found = await self.database.control_fetch(statement, *arguments)
        self.has_read.set()
        await self.goes_on.wait()
        return found


async def test_who_comes_while_a_reading_is_under_way_waits_for_the_next(
    database: Database, owner: Connection, log_id: int
) -> None:
    other = await make_log(owner)
    slow = Slow(database)
    heads = Heads(cast("Database", slow))
    first = asyncio.create_task(heads.size(log_id))
    await slow.has_read.wait()
    await fill_log(owner, log_id, 3)
    await fill_log(owner, other, 5)
    later = [asyncio.create_task(heads.size(each)) for each in (log_id, other, other, 1 << 30)]
    gone = asyncio.create_task(heads.size(other))
    await asyncio.sleep(0)
    gone.cancel()
    slow.goes_on.set()
    assert await first == 0
    assert await asyncio.gather(*later) == [3, 5, 5, 0]
    assert slow.readings == [[log_id], sorted([log_id, other, 1 << 30])]


@dataclass
class Down:
    """A database that fails once."""

    database: Database
    failed: bool = False

    async def control_fetch(self, statement: str, *arguments: object) -> "list[asyncpg.Record]":
        if self.failed:
            return await self.database.control_fetch(statement, *arguments)
        self.failed = True
        raise DatabaseDownError("it does not answer")


async def test_a_reading_that_fails_fails_for_those_who_wait_and_no_others(
    database: Database, owner: Connection, log_id: int
) -> None:
    await fill_log(owner, log_id, 3)
    heads = Heads(cast("Database", Down(database)))
    ends = await asyncio.gather(heads.size(log_id), heads.size(log_id), return_exceptions=True)
    assert [type(end) for end in ends] == [DatabaseDownError, DatabaseDownError]
    assert await heads.size(log_id) == 3
