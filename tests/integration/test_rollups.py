"""Rollups over a real database: every event counted once, whatever is stopped, and whenever."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import date, datetime
from typing import TypeAlias

import asyncpg
import orjson
import pytest

from factories import make_log
from stored_events import DAY_US, HOUR_US, Put, Row, now_us, put
from tallystick.database.pools import Connection as Pooled
from tallystick.database.pools import Database
from tallystick.errors import SearchDownError
from tallystick.followers import queries
from tallystick.followers.embedded import EmbeddedQueue
from tallystick.followers.engine import FollowerEngine, Pace
from tallystick.followers.handing import record
from tallystick.followers.listening import WakeUpListener
from tallystick.followers.model import Recording, Stretch
from tallystick.log.source import LogSource
from tallystick.query.facets import FACETS, facets_of
from tallystick.query.timestamps import microseconds, moment
from tallystick.stats.follower import NAME, RollupFollower
from tallystick.stats.rolling import SPAN_US, WIDTHS

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

DEADLINE = 20.0
CLOSED = "select span from tallystick.rolled_spans where log_id = $1 and closed"
QUICK = Pace(stretch_events=10, batch_events=10, batch_seconds=0.02, few_events=0, lease_seconds=1.0, sweep_seconds=0.1)


def varied_rows(number: int, seed: int = 1) -> list[Row]:
    """Events that arrive now, of several kinds, actors and resources, some of them days late."""
    draw = random.Random(seed)  # noqa: S311  # test data
    now = now_us()
    rows: list[Row] = []
    for _ in range(number):
        fields: dict[str, object] = {
            "action": draw.choice(["login", "view", "edit"]),
            "resource_type": draw.choice(["invoice", "user"]),
            "severity": draw.choice(["INFO", "ERROR"]),
            "user_id": draw.choice(["ada", "bob", "#eve", "x" * 250, "東" * 250, None]),
            "resource_id": draw.choice(["1", "2", "é" * 512, None]),
        }
        fields = {name: value for name, value in fields.items() if value is not None}
        rows.append(Row(now, now - draw.choice([0, 1, HOUR_US, DAY_US, 3 * DAY_US]) - draw.randrange(HOUR_US), fields))
    return rows


@asynccontextmanager
async def rolling(database: Database, follower: RollupFollower | None = None) -> AsyncGenerator[None]:
    """A worker that keeps rollups, until the block ends."""
    engine = FollowerEngine(follower or RollupFollower(), LogSource(database), database, QUICK)
    listener = WakeUpListener(EmbeddedQueue(database, [NAME]), [engine], rest=0.02)
    task = asyncio.create_task(listener.run())
    try:
        yield
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def until_rolled_up(database: Database, log_id: int, seq: int) -> None:
    """Wait until the cursor is there."""
    async with asyncio.timeout(DEADLINE):
        while True:
            async with database.worker_session() as connection:
                lags = [lag for lag in await queries.find_lags(connection, [NAME]) if lag.log_id == log_id]
            if lags and lags[0].seq >= seq:
                return
            await asyncio.sleep(0.02)


async def assert_exact(owner: Connection, log_id: int, events: list[Put]) -> None:
    """The rollups of a log are what counting its events gives."""
    bodies: list[tuple[Put, Mapping[str, str]]] = [(event, orjson.loads(event.body)) for event in events]
    for minutes in WIDTHS:
        width = minutes * 60_000_000
        kinds = Counter(
            (*_at(event, width), body["action"], body["resource_type"], body["severity"]) for event, body in bodies
        )
        found = await owner.fetch(
            "select starts_at, received_day, action, resource_type, severity, events from tallystick.rollups"
            " where log_id = $1 and minutes = $2",
            log_id,
            minutes,
        )
        assert {tuple(row)[:-1]: row["events"] for row in found} == kinds
    values = Counter(
        (*_at(event, 900_000_000), facet, value)
        for event, body in bodies
        for facet, value in zip(FACETS[1:], facets_of(body)[1:], strict=True)
        if value
    )
    found = await owner.fetch(
        "select starts_at, received_day, facet, name, sum(n)::bigint as events"
        "  from tallystick.facet_parts, unnest(names, counts) as entry (name, n) where log_id = $1 group by 1, 2, 3, 4",
        log_id,
    )
    assert {tuple(row)[:-1]: row["events"] for row in found} == values
    spans = await owner.fetch(
        "select span, received_day, closed from tallystick.rolled_spans where log_id = $1", log_id
    )
    assert {(span, day) for span, day, _ in spans} == {_at(event, SPAN_US) for event in events}
    closed = {span for span, _, is_closed in spans if is_closed}
    assert all(is_closed for span, _, is_closed in spans if span in closed)
    of_spans: Counter[tuple[object, ...]] = Counter()
    for (starts_at, received_day, facet, value), number in values.items():
        span = moment(microseconds(starts_at) // SPAN_US * SPAN_US)
        if span in closed:
            of_spans[span, received_day, facet, value] += number
    found = await owner.fetch(
        "select span, received_day, facet, coalesce(name, key), events from tallystick.facet_spans where log_id = $1",
        log_id,
    )
    assert {tuple(row)[:-1]: row["events"] for row in found} == of_spans


def _at(event: Put, width: int) -> tuple[datetime, date]:
    return moment(event.occurred_us // width * width), moment(event.received_us).date()


async def test_events_are_counted_by_rollups_of_each_width(database: Database, owner: Connection, log_id: int) -> None:
    events = await put(owner, log_id, varied_rows(95))
    async with rolling(database):
        await until_rolled_up(database, log_id, 94)
        events += await put(owner, log_id, varied_rows(40, seed=2))
        await until_rolled_up(database, log_id, 134)
    await assert_exact(owner, log_id, events)


async def test_the_lease_of_a_log_that_is_being_written_is_kept(
    database: Database, owner: Connection, log_id: int
) -> None:
    """And of the others beside it: who keeps leases waits for no row."""
    other = await make_log(owner)
    for each in (log_id, other):
        async with database.worker_session() as connection:
            assert await queries.lease(connection, NAME, each, "worker", 1)
    async with database.worker_session() as writing, writing.transaction():
        assert await queries.holds(writing, NAME, log_id, "worker", -1)
        async with asyncio.timeout(2), database.worker_session() as connection:
            await queries.renew(connection, NAME, [log_id, other], "worker", 60)
    left = (
        "select extract(epoch from leased_until - clock_timestamp())::float8 from tallystick.cursors where log_id = $1"
    )
    assert await owner.fetchval(left, other) > 30
    assert await owner.fetchval(left, log_id) < 2


async def test_a_span_is_closed_once_nothing_comes_any_more_and_late_events_still_count(
    database: Database, owner: Connection, log_id: int
) -> None:
    # The same quarter of an hour for all, three days ago, in six stretches.
    past = now_us() // DAY_US * DAY_US - 3 * DAY_US
    events = await put(owner, log_id, [replace(row, occurred_us=past) for row in varied_rows(60)])
    async with rolling(database):
        await until_rolled_up(database, log_id, 59)
        today = [Row(now_us(), now_us(), {"action": "a", "resource_type": "b", "severity": "INFO"})]
        events += await put(owner, log_id, today)
        await until_rolled_up(database, log_id, 60)
        async with asyncio.timeout(DEADLINE):
            while not (closed := await owner.fetch(CLOSED, log_id)):  # noqa: ASYNC110  # told by nobody
                await asyncio.sleep(0.02)
        assert [span for (span,) in closed] == [moment(past)]
        await assert_exact(owner, log_id, events)
        parts = "select count(*) from tallystick.facet_parts where log_id = $1 and starts_at = $2"
        assert await owner.fetchval(parts, log_id, moment(past)) == 2, "one of actors and one of resources"
        events += await put(owner, log_id, varied_rows(60, seed=3))
        await until_rolled_up(database, log_id, len(events) - 1)
    await assert_exact(owner, log_id, events)


async def test_from_the_start_everything_is_counted_anew(database: Database, owner: Connection, log_id: int) -> None:
    events = await put(owner, log_id, varied_rows(35))
    async with rolling(database):
        await until_rolled_up(database, log_id, 34)
        for _ in range(3):
            async with database.worker_session() as connection:
                await queries.reset(connection, NAME, log_id)
            await until_rolled_up(database, log_id, 34)
    await assert_exact(owner, log_id, events)


class Interrupted(RollupFollower):
    """Fails or is stopped at its n-th stretches, before or after what it does."""

    def __init__(self) -> None:
        self.calls = 0
        self.tidied = 0
        self.stopped = asyncio.Event()

    async def prepare(self, log_id: int, stretch: Stretch) -> Recording:
        self.calls += 1
        call = self.calls
        if call == 2:
            raise SearchDownError("not now")
        if call == 3:
            raise ValueError("a bug")
        write = await super().prepare(log_id, stretch)

        async def interrupted(connection: Pooled) -> None:
            await write(connection)
            if call == 4:
                raise SearchDownError("nor after the work")
            if call == 6:
                raise ValueError("another bug")
            if call == 8:  # the connection is lost with the transaction open
                connection.terminate()
            if call == 10:
                self.stopped.set()
                await asyncio.Event().wait()

        return interrupted

    async def tidy(self, connection: Pooled, log_id: int, stretch: Stretch) -> None:
        await super().tidy(connection, log_id, stretch)
        self.tidied += 1
        if self.tidied == 2:
            raise ValueError("all but done")


async def test_stopped_anywhere_nothing_is_counted_twice(database: Database, owner: Connection, log_id: int) -> None:
    events = await put(owner, log_id, varied_rows(150))
    follower = Interrupted()
    async with rolling(database, follower):
        async with asyncio.timeout(DEADLINE):
            await follower.stopped.wait()
    assert follower.calls == 10
    async with rolling(database):
        await until_rolled_up(database, log_id, 149)
    await assert_exact(owner, log_id, events)


@pytest.mark.parametrize("after", [-1, 9])
async def test_a_worker_that_lost_its_lease_adds_nothing(
    database: Database, owner: Connection, log_id: int, after: int
) -> None:
    events = await put(owner, log_id, varied_rows(20))
    async with rolling(database):
        await until_rolled_up(database, log_id, 19)
    async with database.worker_session() as connection:
        await queries.lease(connection, NAME, log_id, "winner", 60)
    stretch = await LogSource(database).read(log_id, after, None, limit=10, max_bytes=1_000_000)
    assert await record(RollupFollower(), database, log_id, "loser", stretch) is None
    assert await record(RollupFollower(), database, log_id, "winner", stretch) is None, "the cursor is not there"
    await assert_exact(owner, log_id, events)
