"""Few events appended by one statement: the server forms and hashes what this process answers."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

import asyncpg
import orjson
import pytest
import pytest_asyncio

from factories import append, digests, make_log, prepared
from tallystick.database.pools import Database, OwnConnection
from tallystick.log.appender import append_batch, is_inside, leave
from tallystick.log.commit import Appended
from tallystick.log.few import are_few
from tallystick.log.identity import parse_id
from tallystick.log.lanes import Append, Outcome, Stored
from tallystick.log.model import PreparedEvent
from tallystick_tlog import leaf_hash

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


@pytest_asyncio.fixture
async def writer(database: Database) -> AsyncGenerator[OwnConnection]:
    connection = await database.connect_writer()
    yield connection
    connection.terminate()


async def few(writer: OwnConnection, *batch: Append) -> Appended:
    assert are_few(batch)
    return await append_batch(writer, batch, digests().for_batch(), chain=True)


def places(appended: Appended, request: Append) -> list[Stored]:
    result = appended.results[request]
    assert isinstance(result, Outcome)
    return [place for place in result.stored if place]


@pytest.mark.parametrize("size", [0, 2**28 - 2, 2**28, 2**39 + 2**28 - 1, 2**40 - 4], ids=hex)
async def test_what_is_stored_is_what_is_answered(
    writer: OwnConnection, owner: Connection, log_id: int, size: int
) -> None:
    await owner.execute("update tallystick.logs set size = $2 where id = $1", log_id, size)
    first = append(log_id, prepared(message="naïve ☂ 😀 \\u0001 '"), prepared(timestamp=None))
    second = append(
        log_id,
        prepared(timestamp="1900-01-01T00:00:00.000001Z", metadata={"%s": "$1", '"': "\\"}),
        prepared(timestamp="2026-11-24T09:08:07.5+02:00"),
    )
    appended = await few(writer, first, second)

    assert appended.sizes == {log_id: size + 4}
    told = [*places(appended, first), *places(appended, second)]
    rows = await owner.fetch("select * from tallystick.events where log_id = $1 order by seq", log_id)
    assert [row["seq"] for row in rows] == [place.seq for place in told] == list(range(size, size + 4))
    events = [*first.events, *second.events]
    for row, place, event in zip(rows, told, events, strict=True):
        body = row["body"].encode()
        assert body.endswith(event.rest)
        assert leaf_hash(body) == row["leaf_hash"] == bytes.fromhex(place.leaf_hash)
        fields = orjson.loads(body)
        assert (fields["id"], fields["received_at"]) == (place.id, place.received_at)
        assert parse_id(place.id).seq == place.seq
        assert parse_id(place.id).received_ms == round(row["received_at"].timestamp() * 1000)
    assert orjson.loads(rows[1]["body"])["timestamp"] == told[1].received_at
    assert [row["occurred_at"].isoformat() for row in rows[2:]] == [
        "1900-01-01T00:00:00.000001+00:00",
        "2026-11-24T07:08:07.500000+00:00",
    ]
    assert rows[1]["occurred_at"] == rows[1]["received_at"]


async def test_the_bodies_are_those_of_a_transaction(writer: OwnConnection, owner: Connection, log_id: int) -> None:
    """But for what is drawn: the last digits of the id."""
    events = prepared(), prepared(timestamp=None)
    await few(writer, append(log_id, *events))
    many = append(log_id, *events, *[prepared()] * 100)
    await append_batch(writer, [many], digests().for_batch())

    rows = await owner.fetch(
        "select body, received_at from tallystick.events where log_id = $1 and seq < 4 order by seq", log_id
    )
    shapes = [orjson.loads(row["body"]) for row in rows]
    for mine, other in zip(shapes[:2], shapes[2:], strict=True):
        assert list(mine) == list(other)
        changing = ("id", "received_at", "timestamp")
        assert {k: v for k, v in mine.items() if k not in changing} == {
            k: v for k, v in other.items() if k not in changing
        }
    assert [len(row["body"]) for row in rows[:2]] == [len(row["body"]) for row in rows[2:]]


async def test_logs_are_told_apart(writer: OwnConnection, owner: Connection, log_id: int) -> None:
    other = await make_log(owner)
    batch = [append(each, prepared(), prepared()) for each in (other, log_id, other)]
    appended = await few(writer, *batch)

    assert appended.sizes == {other: 4, log_id: 2}
    assert [[place.seq for place in places(appended, each)] for each in batch] == [[0, 1], [0, 1], [2, 3]]
    rows = {(row["log_id"], row["seq"]): row for row in await owner.fetch("select * from tallystick.events")}
    assert len(rows) == 6
    for request in batch:
        for place, event in zip(places(appended, request), request.events, strict=True):
            row = rows[request.log_id, place.seq]
            body = row["body"].encode()
            assert body.endswith(event.rest)
            assert leaf_hash(body) == row["leaf_hash"] == bytes.fromhex(place.leaf_hash)
            assert orjson.loads(body)["id"] == place.id


@pytest.mark.parametrize("finer_us", [400, 600])
async def test_a_moment_finer_than_a_millisecond_makes_no_difference(
    writer: OwnConnection, owner: Connection, log_id: int, finer_us: int
) -> None:
    last = datetime.now(UTC).replace(microsecond=25_000 + finer_us) + timedelta(seconds=20)
    await owner.execute("update tallystick.logs set last_at = $2 where id = $1", log_id, last)
    request = append(log_id, prepared(timestamp=None))
    (place,) = places(await few(writer, request), request)

    row = await owner.fetchrow("select * from tallystick.events where log_id = $1", log_id)
    assert row is not None
    assert leaf_hash(row["body"].encode()) == row["leaf_hash"] == bytes.fromhex(place.leaf_hash)
    assert row["received_at"] == row["occurred_at"] == datetime.fromisoformat(place.received_at)


async def test_a_log_that_is_held_is_set_aside(writer: OwnConnection, owner: Connection, log_id: int) -> None:
    free = await make_log(owner)
    await writer.execute("set lock_timeout = 100")
    async with owner.transaction(), asyncio.timeout(20):
        await owner.execute("select from tallystick.logs where id = $1 for no key update", log_id)
        held = append(log_id, prepared())
        appended = await few(writer, append(free, prepared()), held)
        assert appended.set_aside == [held]
        assert appended.sizes == {free: 1}
        with pytest.raises(asyncpg.LockNotAvailableError):
            await few(writer, held)
    assert not writer.is_closed()
    assert (await few(writer, held)).sizes == {log_id: 1}


async def test_what_is_refused_leaves_nothing_and_the_connection_as_it_was(
    writer: OwnConnection, owner: Connection, log_id: int
) -> None:
    ahead = prepared(timestamp="2999-01-01T00:00:00Z", now_us=32_472_144_000_000_000)
    with pytest.raises(asyncpg.CheckViolationError):
        await few(writer, append(log_id, prepared(), ahead))

    assert await owner.fetchval("select size from tallystick.logs where id = $1", log_id) == 0
    assert (await few(writer, append(log_id, prepared()))).sizes == {log_id: 1}


async def test_the_next_transaction_is_begun_with_the_commit(
    writer: OwnConnection, owner: Connection, log_id: int
) -> None:
    for number, event in enumerate((prepared(), prepared(event_id="e-1"), prepared())):
        appended = await few(writer, append(log_id, event)) if number != 1 else await keyed(writer, log_id, event)
        assert appended.sizes == {log_id: number + 1}
        assert is_inside(writer)
        # What was done is committed: another connection sees it, and nothing is held.
        assert await owner.fetchval("select count(*) from tallystick.events") == number + 1
        await owner.execute("select from tallystick.logs where id = $1 for update nowait", log_id)
    await leave(writer)
    assert not is_inside(writer)
    await leave(writer)


async def keyed(writer: OwnConnection, log_id: int, event: PreparedEvent) -> Appended:
    return await append_batch(writer, [append(log_id, event)], digests().for_batch(), chain=True)


async def test_only_small_events_without_keys_are_few() -> None:
    assert are_few([append(1, *[prepared()] * 32), append(2, *[prepared()] * 32)])
    assert not are_few([append(1, *[prepared()] * 32), append(2, *[prepared()] * 33)])
    assert not are_few([append(1, prepared()), append(1, prepared(event_id="e-1"))])
    assert are_few([append(1, *[prepared(message="m" * 8_000)] * 31)])
    assert not are_few([append(1, *[prepared(message="m" * 8_000)] * 33)])
