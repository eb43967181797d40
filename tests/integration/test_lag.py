"""How far a follower is behind: in events, and by the age of the oldest of them."""

from typing import TypeAlias

import asyncpg
import pytest

from factories import make_log
from stored_events import DAY_US, Row, now_us, partitions_back, put, remove
from tallystick.database.pools import Database
from tallystick.followers import queries
from tallystick.followers.queries import Cursor, Lag, Standing

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

SECOND = 1_000_000


async def follow(database: Database, log_id: int, seq: int, received_us: int | None) -> None:
    """Handle a log up to a seq."""
    async with database.worker_session() as connection:
        assert await queries.lease(connection, "search", log_id, "tests", 60)
        assert await queries.advance(connection, "search", log_id, "tests", Cursor(seq, received_us), 60)


async def look(database: Database, log_id: int) -> tuple[Lag, Standing]:
    async with database.worker_session() as connection:
        (lag,) = [lag for lag in await queries.find_lags(connection, ["search"]) if lag.log_id == log_id]
    async with database.control_session() as connection:
        (standing,) = await queries.find_standings(connection, ["search"])
    return lag, standing


async def test_the_age_is_that_of_the_oldest_event_not_handled(
    database: Database, owner: Connection, log_id: int
) -> None:
    now = now_us()
    # Nothing for an hour, then one event a hundred seconds ago, and one just now.
    ages = (3_600, 100, 0)
    await put(owner, log_id, [Row(now - age * SECOND, now - age * SECOND) for age in ages])
    for seq, received_us in ((-1, None), (0, now - 3_600 * SECOND), (0, None), (1, now - 100 * SECOND)):
        await follow(database, log_id, seq, received_us)
        lag, standing = await look(database, log_id)
        assert lag.events == standing.events == 2 - seq
        assert ages[seq + 1] <= lag.seconds < ages[seq + 1] + 30
        assert lag.seconds <= standing.seconds < lag.seconds + 30
    await follow(database, log_id, 2, now)
    lag, standing = await look(database, log_id)
    assert (lag.events, lag.seconds) == (0, 0)
    assert standing == Standing("search", 0, 0, 0, 0)


async def test_it_is_found_in_an_older_partition_and_past_what_was_removed(
    database: Database, owner: Connection, log_id: int
) -> None:
    await partitions_back(owner, 40)
    now = now_us()
    await put(owner, log_id, [Row(now - days * DAY_US, now - days * DAY_US) for days in (40, 30, 20, 10, 0)])
    await remove(owner, log_id, 1, 2)
    await follow(database, log_id, 0, now - 40 * DAY_US)
    lag, _ = await look(database, log_id)
    assert 10 <= lag.seconds / 86_400 < 10.1
    await remove(owner, log_id, 3, 4)
    lag, standing = await look(database, log_id)
    assert (lag.events, lag.seconds, standing.seconds) == (4, 0, 0)


async def test_all_logs_are_counted_together(database: Database, owner: Connection) -> None:
    now = now_us()
    for age in (10, 50, 5):
        log_id = await make_log(owner)
        await put(owner, log_id, [Row(now - age * SECOND, now - age * SECOND)] * 2)
    async with database.worker_session() as connection:
        await queries.quarantine(connection, "search", log_id, 0, "ValueError")
        await queries.quarantine(connection, "other", log_id, 0, "ValueError")
        other, search = await queries.find_standings(connection, ["search", "other"])
    assert (search.events, search.logs, search.quarantined) == (6, 3, 1)
    assert 50 <= search.seconds < 80
    assert (other.follower, other.events) == ("other", 6)
    assert search.summary.startswith("search: 6 events behind in 3 logs, 5")
    assert search.summary.endswith(" s, 1 quarantined")


async def test_who_only_reads_learns_no_arrivals_of_other_logs(database: Database, log_id: int) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with database.log_session(log_id) as connection:
            await connection.fetchval("select tallystick.arrival_after($1, -1, null)", log_id + 1)
