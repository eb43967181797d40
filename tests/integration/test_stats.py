"""Statistics are what counting the events gives, from rollups and from the index alike."""

import asyncio
import random
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import TypeAlias
from zoneinfo import ZoneInfo

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from counted_events import EVERYTHING, KIND, NOW_US, UTC, WEEK, Counting, ask, assert_true, counting_in
from factories import make_log
from stored_events import DAY_US, HOUR_US, Row, put, remove
from tallystick.database.pools import Database
from tallystick.errors import OverloadedError, SearchDownError
from tallystick.followers.queries import reset
from tallystick.ports import CorruptIndexError, CountRequest, Counts
from tallystick.query.ast import Equals, Node, OneOf, SeverityAtLeast, Words, conjunction
from tallystick.query.terms import MatchAll
from tallystick.search.counting import CountService
from tallystick.search.tail import Tails
from tallystick.stats.calendar import INTERVALS, Interval
from tallystick.stats.follower import NAME
from tallystick.stats.model import KINDS, By, Period, Source, StatsQuery, period
from tallystick.stats.parameters import BY
from tallystick.stats.rolling import QUARTER_US
from tallystick.stats.service import StatsService

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


@pytest.fixture
async def counting(database: Database, tmp_path: Path) -> AsyncGenerator[Counting]:
    async with counting_in(tmp_path, database) as opened:
        yield opened


ACTORS = (*(f"user-{number}" for number in range(30)), "#eve", "x" * 250, "東" * 256, "a\u0001", "\U0001f600")


@st.composite
def rows(draw: st.DrawFn) -> list[Row]:
    """Events of several days: some actors very frequent, some seldom, few or many of one quarter of an hour."""
    span = draw(st.sampled_from([QUARTER_US, HOUR_US, DAY_US, 5 * DAY_US]))
    favourites = draw(st.lists(st.sampled_from(ACTORS), min_size=1, max_size=4))
    made: list[Row] = []
    for age in draw(st.lists(st.integers(0, span), min_size=1, max_size=60)):
        fields: dict[str, object] = {
            "action": draw(st.sampled_from(["login", "view", "edit"])),
            "resource_type": draw(st.sampled_from(["invoice", "user"])),
            "severity": draw(st.sampled_from(["INFO", "ERROR"])),
        }
        if draw(st.integers(0, 9)):
            fields["user_id"] = draw(st.sampled_from([*favourites * 8, *ACTORS]))
        if draw(st.integers(0, 3)):
            fields["resource_id"] = draw(st.sampled_from(["1", "2", "3", "é" * 512]))
        made.append(Row(NOW_US - draw(st.integers(0, min(age, 2 * DAY_US))) // 1000 * 1000, NOW_US - age, fields))
    return sorted(made, key=lambda row: row.received_us)


@st.composite
def periods(draw: st.DrawFn) -> Period:
    zone = ZoneInfo(draw(st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata", "Asia/Kathmandu"])))
    interval: Interval | None = draw(st.sampled_from([None, *INTERVALS]))
    width = QUARTER_US if draw(st.booleans()) else 1
    ages = draw(st.lists(st.integers(-HOUR_US, 6 * DAY_US), min_size=2, max_size=2, unique=True))
    begin, end = sorted((NOW_US - age) // width * width for age in ages)
    return period(begin, max(end, begin + width), interval, zone)


FILTERS: tuple[Node, ...] = (
    EVERYTHING,
    Equals("action", "login"),
    OneOf("resource_type", frozenset({"invoice", "nothing"})),
    conjunction(Equals("action", "view"), SeverityAtLeast("ERROR")),
    conjunction(Equals("action", "view"), Equals("action", "edit")),
    Equals("user_id", "user-1"),
    Words(None, ("login",)),
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(made=rows(), over=periods(), wanted=st.sampled_from(FILTERS), top=st.integers(1, 6), data=st.data())
async def test_statistics_are_what_counting_the_events_gives(  # what is drawn
    counting: Counting,
    owner: Connection,
    made: list[Row],
    over: Period,
    wanted: Node,
    top: int,
    data: st.DataObject,
) -> None:
    log_id = await make_log(owner)
    events = await put(owner, log_id, made)
    await counting.roll_up(log_id)
    await counting.index_through(log_id, data.draw(st.integers(-1, len(events) - 1)))
    by: tuple[By, ...] = tuple(name for name in BY if data.draw(st.booleans()))
    query = StatsQuery(wanted, over, None, by, top, cut=True, zone=UTC)
    found = await counting.service().stats(log_id, EVERYTHING, query)
    assert found.now.through == len(events) - 1
    assert_true(found.now, events, wanted, query)


@pytest.mark.parametrize("shape", [1.5, 0.0])
async def test_of_many_values_in_several_segments_the_first_are_exact(
    counting: Counting, owner: Connection, log_id: int, shape: float
) -> None:
    """Where a few are much more frequent than the rest, and where all are about equally frequent."""
    draw = random.Random(5)  # noqa: S311  # test data
    weights = [1 / (rank + 1) ** shape for rank in range(400)]
    users, things = (draw.choices(range(400), weights, k=1_200) for _ in range(2))
    events = await put(
        owner,
        log_id,
        [
            Row(NOW_US, NOW_US - draw.randrange(DAY_US), {**KIND, "user_id": f"u{user}", "resource_id": str(thing)})
            for user, thing in zip(users, things, strict=True)
        ],
    )
    for through in range(199, 1_000, 200):
        await counting.index_through(log_id, through)
    for top in (1, 5, 40):
        query = ask(WEEK, Equals("action", "login"), top=top)
        assert_true((await counting.service().stats(log_id, EVERYTHING, query)).now, events, query.filters, query)


async def test_what_is_not_indexed_yet_may_become_the_most_frequent(
    counting: Counting, owner: Connection, log_id: int
) -> None:
    """Though the index had no reason to tell exactly how often it holds it."""
    users = [f"often-{number}" for number in range(10) for _ in range(30)]
    users += [f"seldom-{number}" for number in range(100) for _ in range(2)]
    indexed = len(users)
    users += ["seldom-99"] * 31
    events = await put(owner, log_id, [Row(NOW_US, NOW_US, {**KIND, "user_id": user}) for user in users])
    await counting.index_through(log_id, indexed - 1)
    query = ask(WEEK, Equals("action", "login"), by=("user_id",))
    assert_true((await counting.service().stats(log_id, EVERYTHING, query)).now, events, query.filters, query)


@pytest.mark.parametrize(
    ("query", "narrowing", "source"),
    [
        (ask(WEEK), EVERYTHING, "rollups"),
        (ask(WEEK, Equals("action", "login"), by=KINDS), EVERYTHING, "rollups"),
        (ask(WEEK, Equals("action", "login")), EVERYTHING, "index"),
        (ask(WEEK, Equals("user_id", "ada"), by=KINDS), EVERYTHING, "index"),
        (ask(WEEK), Equals("user_id", "ada"), "index"),
        (ask(Period((WEEK.from_us + 1, WEEK.to_us))), EVERYTHING, "index"),
        (ask(WEEK, previous=Period((WEEK.from_us - DAY_US, WEEK.from_us))), EVERYTHING, "rollups"),
        (ask(WEEK, previous=Period((WEEK.from_us - DAY_US - 1, WEEK.from_us))), EVERYTHING, "index"),
    ],
)
async def test_rollups_answer_what_they_can(  # fixtures and parameters
    counting: Counting, owner: Connection, log_id: int, query: StatsQuery, narrowing: Node, source: Source
) -> None:
    fields = {"action": "login", "resource_type": "user", "severity": "INFO", "user_id": "ada", "resource_id": "1"}
    events = await put(owner, log_id, [Row(NOW_US, NOW_US - day * DAY_US, fields) for day in range(9)])
    await counting.roll_up(log_id)
    found = await counting.service().stats(log_id, narrowing, query)
    assert found.source == source
    assert_true(found.now, events, conjunction(query.filters, narrowing), query)
    assert (found.before is None) == (query.previous is None)
    if found.before is not None:
        assert_true(found.before, events, query.filters, query)
        assert found.before.total > 0


async def test_rollups_say_how_far_they_are(counting: Counting, owner: Connection, log_id: int) -> None:
    fields = {"action": "login", "resource_type": "user", "severity": "INFO"}
    service = counting.service()
    assert (await service.stats(log_id, EVERYTHING, ask(WEEK))).now.through == -1
    await put(owner, log_id, [Row(NOW_US, NOW_US, fields)] * 3)
    assert (await service.stats(log_id, EVERYTHING, ask(WEEK))).now.total == 0
    await counting.roll_up(log_id)
    await put(owner, log_id, [Row(NOW_US, NOW_US, fields)])
    found = await service.stats(log_id, EVERYTHING, ask(WEEK))
    assert (found.now.through, found.now.total) == (2, 3)
    indexed = await service.stats(log_id, EVERYTHING, ask(WEEK, Words(None, ("login",))))
    assert (indexed.now.through, indexed.now.total) == (3, 4), "the index looks at what it does not hold, too"


async def test_an_index_far_behind_counts_what_it_holds(counting: Counting, owner: Connection, log_id: int) -> None:
    fields = {"action": "login", "resource_type": "user", "severity": "INFO"}
    events = await put(owner, log_id, [Row(NOW_US, NOW_US, fields)] * 30)
    await counting.index_through(log_id, 9)
    query = ask(WEEK, Words(None, ("login",)))
    found = await counting.service(tail=5).stats(log_id, EVERYTHING, query)
    assert (found.now.through, found.now.total) == (9, 10)
    assert_true(found.now, events, query.filters, query)


async def test_while_rollups_are_made_anew_they_tell_nothing(
    counting: Counting, owner: Connection, log_id: int
) -> None:
    fields = {"action": "login", "resource_type": "user", "severity": "INFO"}
    await put(owner, log_id, [Row(NOW_US, NOW_US, fields)] * 3)
    await counting.roll_up(log_id)
    async with counting.database.worker_session() as connection:
        await reset(connection, NAME, log_id)
    found = await counting.service().stats(log_id, EVERYTHING, ask(WEEK))
    assert (found.now.through, found.now.total, list(found.now.buckets)) == (-1, 0, [0] * 7)
    assert all(listed.items == () for listed in found.now.lists.values())


async def test_counts_beyond_what_a_process_takes_are_refused(counting: Counting, log_id: int) -> None:
    asked = asyncio.Event()
    go_on = asyncio.Event()

    class Slow:
        async def count(self, log_id: int, request: CountRequest) -> Counts:
            del log_id, request
            asked.set()
            await go_on.wait()
            return Counts(0, {}, (), -1)

    async def report(log_id: int) -> None:
        raise AssertionError(log_id)

    service = CountService(Slow(), Tails(counting.source, 10), report)
    running = [asyncio.create_task(service.count(log_id, CountRequest(MatchAll()))) for _ in range(16)]
    await asked.wait()
    with pytest.raises(OverloadedError) as refused:
        await service.count(log_id, CountRequest(MatchAll()))
    assert refused.value.retry_after == 1
    go_on.set()
    assert {counts.total for counts in await asyncio.gather(*running)} == {0}
    assert (await service.count(log_id, CountRequest(MatchAll()))).total == 0


async def test_events_that_were_removed_before_they_were_counted_are_not(
    counting: Counting, owner: Connection, log_id: int
) -> None:
    fields = {"action": "login", "resource_type": "user", "severity": "INFO"}
    await put(owner, log_id, [Row(NOW_US, NOW_US, fields)] * 10)
    await remove(owner, log_id, 3, 9)
    await counting.roll_up(log_id)
    found = await counting.service().stats(log_id, EVERYTHING, ask(WEEK))
    assert (found.now.through, found.now.total) == (9, 3)


async def test_another_log_is_not_counted(counting: Counting, owner: Connection, log_id: int) -> None:
    other = await make_log(owner)
    fields = {"action": "login", "resource_type": "user", "severity": "INFO", "user_id": "ada", "resource_id": "1"}
    await put(owner, other, [Row(NOW_US, NOW_US - day * DAY_US, fields) for day in range(6)])
    await counting.roll_up(other)
    await counting.index_through(other, 5)
    for query in (ask(WEEK), ask(WEEK, Words(None, ("login",)))):
        found = (await counting.service().stats(log_id, EVERYTHING, query)).now
        assert (found.through, found.total) == (-1, 0)
        assert all(listed.items == () for listed in found.lists.values())


async def test_a_damaged_index_is_reported(counting: Counting, log_id: int) -> None:
    class Damaged:
        async def count(self, log_id: int, request: CountRequest) -> Counts:
            del log_id, request
            raise CorruptIndexError

    reported: list[int] = []

    async def report(log_id: int) -> None:
        reported.append(log_id)

    service = StatsService(counting.database, CountService(Damaged(), Tails(counting.source, 10), report))
    with pytest.raises(SearchDownError):
        await service.stats(log_id, EVERYTHING, ask(WEEK, Words(None, ("login",))))
    assert reported == [log_id]
