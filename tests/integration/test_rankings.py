"""The most frequent users and resources out of rollups are what counting the events gives, and exactly so."""

import asyncio
import random
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import asyncpg
import pytest

from counted_events import EVERYTHING, KIND, NOW_US, WEEK, Counting, ask, assert_true, counting_in
from stored_events import DAY_US, HOUR_US, Row, partitions_back, put
from tallystick.database.pools import Database
from tallystick.errors import InvalidError
from tallystick.followers.handing import record
from tallystick.followers.queries import lease
from tallystick.settings import DatabaseSettings
from tallystick.stats.follower import NAME, RollupFollower
from tallystick.stats.model import Period
from tallystick.stats.queries import export_snapshot
from tallystick.stats.rolling import QUARTER_US
from tallystick.stats.rollup_queries import MOST_VALUES

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


@pytest.fixture
async def counting(database: Database, tmp_path: Path) -> AsyncGenerator[Counting]:
    async with counting_in(tmp_path, database) as opened:
        yield opened


async def test_of_equally_frequent_values_the_lesser_comes_first(
    counting: Counting, owner: Connection, log_id: int
) -> None:
    """One more of the rest, where it is there once, makes a value of closed spans as frequent as the first."""
    begin = NOW_US // DAY_US * DAY_US - 3 * DAY_US
    made = [Row(NOW_US, begin, {**KIND, "user_id": user}) for user in ("zoe", "zoe", "zoe", "ada", "ada")]
    made.append(Row(NOW_US, NOW_US, {**KIND, "user_id": "ada"}))
    events = await put(owner, log_id, made)
    await counting.roll_up(log_id, stretch=5)
    for top in (1, 2, 3):
        query = ask(Period((begin, begin + 4 * DAY_US)), top=top, by=("user_id",))
        assert_true((await counting.service().stats(log_id, EVERYTHING, query)).now, events, EVERYTHING, query)


async def test_a_span_with_too_many_values_stays_open_and_counts(
    counting: Counting, owner: Connection, log_id: int
) -> None:
    begin = NOW_US // DAY_US * DAY_US - 3 * DAY_US
    events = await put(owner, log_id, [Row(NOW_US, begin, {**KIND, "user_id": user}) for user in ("a", "b", "b")])
    async with counting.database.worker_session() as connection:
        await lease(connection, NAME, log_id, "test", 60)
    stretch = await counting.source.read(log_id, -1, None, limit=9, max_bytes=1 << 20)
    await record(RollupFollower(), counting.database, log_id, "test", stretch)
    crowd = [f"crowd-{number}" for number in range(MOST_VALUES + 1)]
    await owner.execute(
        "update tallystick.facet_parts set names = names || $2::text[], counts = counts || $3::bigint[]"
        " where log_id = $1",
        log_id,
        crowd,
        [1] * len(crowd),
    )
    events += await put(owner, log_id, [Row(NOW_US, NOW_US, {**KIND, "user_id": "b"})])
    stretch = await counting.source.read(log_id, 2, None, limit=9, max_bytes=1 << 20)
    await record(RollupFollower(), counting.database, log_id, "test", stretch)
    marks = await owner.fetch(
        "select closed, large from tallystick.rolled_spans where log_id = $1 order by span", log_id
    )
    assert [tuple(mark) for mark in marks] == [(False, True), (False, False)]
    query = ask(Period((begin, begin + 4 * DAY_US)), top=1, by=("user_id",))
    assert_true((await counting.service().stats(log_id, EVERYTHING, query)).now, events, EVERYTHING, query)


async def test_a_ranking_that_takes_too_long_says_what_to_ask_instead(
    counting: Counting, database_settings: DatabaseSettings, owner: Connection, log_id: int
) -> None:
    await put(owner, log_id, [Row(NOW_US, NOW_US, {**KIND, "user_id": "ada"})])
    await counting.roll_up(log_id)
    await owner.execute(
        "update tallystick.facet_parts set (names, counts) = (select array_agg('user ' || n), array_agg(1::bigint)"
        " from generate_series(1, 3_000_000) as n) where log_id = $1",
        log_id,
    )
    async with Database.from_settings(database_settings.model_copy(update={"statement_timeout": 1})) as hasty:
        service = replace(counting, database=hasty).service()
        assert (await service.stats(log_id, EVERYTHING, ask(WEEK, by=("action",)))).now.total == 1
        with pytest.raises(InvalidError) as refused:
            await service.stats(log_id, EVERYTHING, ask(WEEK, by=("user_id",)))
    assert [flaw.parameter for flaw in refused.value.flaws] == ["by"]


async def test_frequent_values_of_many_days(counting: Counting, owner: Connection, log_id: int) -> None:
    """So many days and values that the first of each day do not settle it."""
    made: list[Row] = []
    for day in range(25, -1, -1):
        for number in range(12):
            user = f"of-day-{day}-{number}" if number else "everywhere"
            at = NOW_US // DAY_US * DAY_US - day * DAY_US
            fields = {"action": "a", "resource_type": "b", "severity": "INFO", "user_id": user}
            made += [
                Row(NOW_US, at + repeat * QUARTER_US, fields) for repeat in range(1 if user == "everywhere" else 2)
            ]
    events = await put(owner, log_id, made)
    await counting.roll_up(log_id, stretch=23)
    closed: int = await owner.fetchval(
        "select count(*) from tallystick.rolled_spans where log_id = $1 and closed", log_id
    )
    assert closed >= 20
    begin = NOW_US // DAY_US * DAY_US - 25 * DAY_US
    for over in (Period((begin, begin + 26 * DAY_US)), Period((begin + 3 * HOUR_US, begin + 24 * DAY_US + HOUR_US))):
        query = ask(over, top=3, by=("user_id",))
        found = await counting.service().stats(log_id, EVERYTHING, query)
        assert found.now.lists["user_id"].items[0][0] == "everywhere"
        assert_true(found.now, events, EVERYTHING, query)


async def test_rankings_of_periods_that_cut_through_spans(counting: Counting, owner: Connection, log_id: int) -> None:
    """A few values are much more frequent than the rest, so that the first of each span settle much.

    Others come in bursts, which periods begin and end beside: they are of one span, and count or do not.
    """
    draw = random.Random(11)  # noqa: S311  # test data
    weights = [1 / (rank + 1) ** 1.5 for rank in range(60)]
    last = NOW_US // QUARTER_US * QUARTER_US
    bursts = {f"burst-{number}": last - draw.randrange(96, 7 * 96) * QUARTER_US for number in range(12)}
    happened = [
        (
            NOW_US - draw.randrange(8 * DAY_US) // 1000 * 1000,
            *(str(each) for each in draw.choices(range(60), weights, k=2)),
        )
        for _ in range(2_000)
    ]
    happened += [(at, name, name) for name, at in bursts.items() for _ in range(draw.choice((20, 80, 400)))]
    made = [
        Row(at, at - (DAY_US // 3 if draw.random() < 0.01 else 0), {**KIND, "user_id": user, "resource_id": thing})
        for at, user, thing in sorted(happened)
    ]
    await partitions_back(owner, days=9, width=9)  # a month may have begun since
    events = await put(owner, log_id, made)
    await counting.roll_up(log_id, stretch=60)
    closed: int = await owner.fetchval(
        "select count(distinct span) from tallystick.rolled_spans where log_id = $1 and closed", log_id
    )
    assert closed > 25
    for at in bursts.values():
        for edge in (at, at + QUARTER_US):
            for begin, end in ((edge, edge + 3 * DAY_US), (edge - 3 * DAY_US, edge)):
                query = ask(Period((begin, end)), top=draw.choice((1, 2, 5)), by=("user_id", "resource"))
                assert_true((await counting.service().stats(log_id, EVERYTHING, query)).now, events, EVERYTHING, query)


@pytest.mark.parametrize("connections", [1, 2])
async def test_users_and_resources_at_once_wait_for_no_connection_that_waits_for_them(
    counting: Counting, database_settings: DatabaseSettings, owner: Connection, log_id: int, connections: int
) -> None:
    """However few connections there are, and though each question would take two."""
    fields = {**KIND, "user_id": "ada", "resource_id": "1"}
    events = await put(owner, log_id, [Row(NOW_US, NOW_US - day * DAY_US, fields) for day in range(3)])
    await counting.roll_up(log_id)
    query = ask(WEEK, previous=Period((WEEK.from_us - 7 * DAY_US, WEEK.from_us)))
    narrow = database_settings.model_copy(update={"reader_connections": connections})
    async with Database.from_settings(narrow) as few:
        service = replace(counting, database=few).service()
        answers = await asyncio.gather(*(service.stats(log_id, EVERYTHING, query) for _ in range(8)))
    for found in answers:
        assert found.before is not None
        for counted in (found.now, found.before):
            assert_true(counted, events, EVERYTHING, query)


async def test_a_session_sees_what_another_exported(database: Database, owner: Connection, log_id: int) -> None:
    head = "select size from tallystick.log_head"
    async with database.log_session(log_id) as first:
        before: int = await first.fetchval(head)
        snapshot = await export_snapshot(first)
        await owner.execute("update tallystick.logs set size = size + 1 where id = $1", log_id)
        async with database.log_session(log_id, snapshot) as second, database.log_session(log_id) as third:
            assert await second.fetchval(head) == before
            assert await third.fetchval(head) == before + 1
