"""The lines of an export: whole, in order, once each, however slow their reader is, who holds no snapshot for long."""

import asyncio
import random
from collections.abc import AsyncGenerator
from time import monotonic

import orjson
import pytest

from factories import make_log
from stored_events import DAY_US, Connection, Put, Row, partitions_back, put
from tallystick.database.pools import Database
from tallystick.errors import DatabaseDownError
from tallystick.log.lines import Extent, Pace, occurred_before, read_lines
from tallystick.settings import DatabaseSettings

DAYS = 3
DEADLINE = 20.0


async def scene(owner: Connection, events: int, text: str = "") -> tuple[int, list[Put]]:
    """A log whose events occurred in any order, several of them at one moment; they, in order of occurrence."""
    begin = await partitions_back(owner, DAYS)
    log_id = await make_log(owner)
    step = DAYS * DAY_US // events // 1000 * 1000
    chance = random.Random(4)  # noqa: S311  # no secret
    late = [chance.choice((0, 7, 3_600_000_000, DAY_US, chance.randrange(DAY_US))) for _ in range(events)]
    rows = [
        Row(begin + n * step, (begin + n * step - late[n]) // 50_000_000 * 50_000_000, {"message": f"ü\u2028{text}{n}"})
        for n in range(events)
    ]
    stored = await put(owner, log_id, rows)
    return log_id, sorted(stored, key=lambda each: (each.occurred_us, each.seq))


def lines_of(events: list[Put]) -> list[bytes]:
    return [each.item + b"\n" for each in events]


async def split(lines: AsyncGenerator[bytes]) -> list[bytes]:
    return [line async for piece in lines for line in piece.splitlines(keepends=True)]


@pytest.mark.parametrize(
    "pace", [Pace(), Pace(first=1, least=1, most=1), Pace(first=7, least=3, most=50), Pace(ahead=1)]
)
async def test_all_are_read_in_order(database: Database, owner: Connection, pace: Pace) -> None:
    log_id, events = await scene(owner, 300)
    other = await make_log(owner)
    await put(owner, other, [Row(events[0].received_us, events[0].occurred_us)])
    assert await split(read_lines(database, log_id, Extent(None, None, 299), pace)) == lines_of(events)
    for pieces in (300, 100):  # as many as there are, and a divisor
        exact = Pace(first=pieces, least=pieces, most=pieces)
        assert await split(read_lines(database, log_id, Extent(None, None, 299), exact)) == lines_of(events)


async def test_it_begins_and_ends_where_it_is_told_to(database: Database, owner: Connection) -> None:
    log_id, events = await scene(owner, 300)
    pace = Pace(first=7, least=3, most=50)
    for at in (0, 99, 298, 299):
        after = (events[at].occurred_us, events[at].seq)
        assert await split(read_lines(database, log_id, Extent(after, None, 299), pace)) == lines_of(events[at + 1 :])
    early = [each for each in events if each.seq <= 120]
    bound = await occurred_before(database, log_id, 120)
    assert bound is not None
    for until in (None, bound):
        assert await split(read_lines(database, log_id, Extent(None, until, 120), pace)) == lines_of(early)
    middle = events[150].occurred_us
    before = [each for each in events if each.occurred_us < middle]
    assert await split(read_lines(database, log_id, Extent(None, middle, 299), pace)) == lines_of(before)


async def test_a_log_without_events_has_no_lines(database: Database, owner: Connection) -> None:
    assert await split(read_lines(database, await make_log(owner), Extent(None, None, -1))) == []


async def until_readers(owner: Connection, superuser: Connection, holds: str) -> None:
    """Wait until something holds of how many sessions of readers are in some state."""
    name = await owner.fetchval("select current_database()")
    async with asyncio.timeout(DEADLINE):
        while not await superuser.fetchval(  # noqa: ASYNC110  # a session's state gives no signal
            f"select {holds} from pg_stat_activity where datname = $1 and usename = 'tallystick_reader'",  # noqa: S608
            name,
        ):
            await asyncio.sleep(0.02)


async def until_no_snapshot_is_held(owner: Connection, superuser: Connection) -> None:
    await until_readers(owner, superuser, "count(*) filter (where state <> 'idle') = 0")


async def until_it_waits(owner: Connection, superuser: Connection) -> None:
    """Wait until PostgreSQL cannot send any more, so that what was read fills all there is room in."""
    await until_readers(owner, superuser, "count(*) filter (where wait_event = 'ClientWrite') > 0")


async def test_who_takes_nothing_holds_no_snapshot_and_misses_nothing(
    database: Database, owner: Connection, superuser: Connection
) -> None:
    log_id, events = await scene(owner, 3_000, "x" * 4_000)
    began = monotonic()
    lines = read_lines(database, log_id, Extent(None, None, 2_999), Pace(most_seconds=0.3, ahead=1))
    received = (await anext(lines)).splitlines(keepends=True)
    for _ in range(3):
        await until_no_snapshot_is_held(owner, superuser)
        received += (await anext(lines)).splitlines(keepends=True)
    assert monotonic() - began >= 0.3  # it was waited for
    assert len(received) < len(events)
    received += await split(lines)
    assert received == lines_of(events)


async def test_who_leaves_gives_all_back(database: Database, owner: Connection, superuser: Connection) -> None:
    log_id, events = await scene(owner, 3_000, "x" * 4_000)
    for _ in range(2 * database.settings.reader_connections):
        lines = read_lines(database, log_id, Extent(None, None, 2_999), Pace(ahead=1))
        assert await anext(lines)
        await lines.aclose()
    await until_no_snapshot_is_held(owner, superuser)
    assert len(await split(read_lines(database, log_id, Extent(None, None, 2_999)))) == len(events)


async def test_what_is_removed_meanwhile_is_left_out(database: Database, owner: Connection) -> None:
    log_id, events = await scene(owner, 300)
    lines = read_lines(database, log_id, Extent(None, None, 299), Pace(first=10, least=10, most=10, ahead=1))
    received = (await anext(lines)).splitlines(keepends=True)
    await owner.execute("delete from tallystick.events where log_id = $1 and seq % 2 = 0", log_id)
    received += await split(lines)
    seqs = [orjson.loads(line)["seq"] for line in received]
    order = {each.seq: n for n, each in enumerate(events)}
    assert seqs == sorted(set(seqs), key=lambda seq: order[seq])
    assert {each.seq for each in events if each.seq % 2} <= set(seqs) < {each.seq for each in events}


async def test_a_database_that_ends_it_is_told(database: Database, owner: Connection, superuser: Connection) -> None:
    log_id, _ = await scene(owner, 3_000, "x" * 4_000)
    lines = read_lines(database, log_id, Extent(None, None, 2_999), Pace(ahead=1))
    assert await anext(lines)
    await superuser.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1"
        " and application_name = 'tallystick reader'",
        await owner.fetchval("select current_database()"),
    )
    with pytest.raises(DatabaseDownError):
        await split(lines)


@pytest.mark.parametrize("terminated", [True, False])
async def test_a_process_that_ends_does_not_wait_for_it(
    database: Database, owner: Connection, superuser: Connection, terminated: bool
) -> None:
    log_id, _ = await scene(owner, 3_000, "x" * 4_000)
    lines = read_lines(database, log_id, Extent(None, None, 2_999), Pace(ahead=1))
    assert await anext(lines)
    await until_it_waits(owner, superuser)
    if terminated:
        database.reader.terminate()
    async with asyncio.timeout(DEADLINE):
        await lines.aclose()


async def test_each_line_is_the_event_whatever_it_holds(database: Database, owner: Connection) -> None:
    begin = await partitions_back(owner, 1)
    log_id = await make_log(owner)
    texts = ["\x01", "\x02", "\x02,\x01", "a\rb\nc", "\\.", '"', "\u2028", "\U0001f600", "", "y" * 250_000]
    rows = [Row(begin + n * 1_000, begin + n * 1_000, {"message": text, text: n}) for n, text in enumerate(texts)]
    events = await put(owner, log_id, rows)
    for pace in (Pace(), Pace(first=1, least=1, most=1)):
        lines = await split(read_lines(database, log_id, Extent(None, None, len(texts)), pace))
        assert lines == lines_of(events)
    assert [orjson.loads(line)["message"] for line in lines] == texts


async def test_limits_of_the_database_bound_a_stretch(
    database_settings: DatabaseSettings, owner: Connection, superuser: Connection
) -> None:
    log_id, events = await scene(owner, 3_000, "x" * 4_000)
    settings = database_settings.model_copy(update={"statement_timeout": 0.6, "idle_in_transaction_timeout": 0.6})
    async with Database.from_settings(settings) as hasty:
        lines = read_lines(hasty, log_id, Extent(None, None, 2_999), Pace(ahead=1))
        received = (await anext(lines)).splitlines(keepends=True)
        await until_it_waits(owner, superuser)
        await until_no_snapshot_is_held(owner, superuser)
        received += await split(lines)
    assert received == lines_of(events)
