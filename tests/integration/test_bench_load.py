"""The events that `bench load` fills in are what the server itself would have stored."""

from datetime import UTC, datetime, timedelta
from typing import TypeAlias

import asyncpg
import orjson
import pytest

from tallystick.bench.loading import HOT, Loaded, load, tenants
from tallystick.bench.proof import check_log, log_size
from tallystick.database.pools import Database
from tallystick.errors import ConfigurationError
from tallystick.log.identity import parse_id
from tallystick.settings import DatabaseSettings
from tallystick_tlog.leaf import leaf_hash, verify_event

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

EVENTS = 1_000
PARTITIONS = 7


class BrokenOffError(Exception):
    """The machine went down in the middle of a load."""


def url_of(settings: DatabaseSettings) -> str:
    assert settings.url is not None
    return settings.url.get_secret_value()


@pytest.fixture
async def filled(database_settings: DatabaseSettings) -> Loaded:
    return await load(url_of(database_settings), EVENTS, PARTITIONS)


async def log_of(owner: Connection, tenant_id: str) -> int:
    log_id: int = await owner.fetchval(
        "select id from tallystick.logs where tenant_id = $1 and name = 'events'", tenant_id
    )
    return log_id


async def test_every_log_is_gapless_and_its_head_knows(filled: Loaded, database: Database) -> None:
    url = url_of(database.settings)
    for tenant_id in tenants():
        before = await log_size(url, tenant_id)
        assert before.size == (filled.events if tenant_id == HOT else filled.beside)
        check = await check_log(url, tenant_id, before, 0)
        assert check.passed, check.detail


async def test_every_event_passes_the_verifier_and_is_where_its_id_says(
    filled: Loaded, database: Database, owner: Connection
) -> None:
    async with database.log_session(await log_of(owner, HOT)) as session:
        rows = await session.fetch("select * from tallystick.log_events order by seq")
    assert [row["seq"] for row in rows] == list(range(filled.events))
    arrivals = [row["received_at"] for row in rows]
    assert arrivals == sorted(arrivals)
    for row in rows:
        body = row["body"].encode()
        prefix = f'{{"seq":{row["seq"]},"leaf_hash":"{row["leaf_hash"].hex()}",'.encode()
        assert verify_event(prefix + body[1:])
        assert leaf_hash(body) == row["leaf_hash"]
        event = orjson.loads(body)
        place = parse_id(event["id"])
        assert place.seq == row["seq"]
        assert datetime.fromtimestamp(place.received_ms / 1000, UTC) == row["received_at"]
        assert datetime.fromisoformat(event["received_at"]) == row["received_at"]
        assert datetime.fromisoformat(event["timestamp"]) == row["occurred_at"] <= row["received_at"]
        assert event["tenant_id"] == HOT


async def test_events_lie_in_a_partition_of_their_own_day(filled: Loaded, owner: Connection) -> None:
    rows = await owner.fetch(
        "select tableoid::regclass::text as partition, min(received_at) as first, max(received_at) as last"
        " from tallystick.events group by 1 order by 2"
    )
    assert len(rows) == PARTITIONS
    for number, row in enumerate(rows):
        day = filled.start + timedelta(days=number)
        assert row["partition"] == f"tallystick.events_{day:%Y%m%d}"
        assert day <= row["first"] <= row["last"] < day + timedelta(days=1)


async def test_a_second_load_does_nothing(filled: Loaded, owner: Connection, database: Database) -> None:
    assert await load(url_of(database.settings), EVENTS, PARTITIONS) == filled
    assert (
        await owner.fetchval("select count(*) from tallystick.events") == EVENTS + (len(tenants()) - 1) * filled.beside
    )


async def test_another_load_into_the_same_database_is_refused(filled: Loaded, database: Database) -> None:
    assert filled.complete
    with pytest.raises(ConfigurationError, match="--home"):
        await load(url_of(database.settings), EVENTS + 1, PARTITIONS)


async def test_a_load_that_was_broken_off_goes_on(database: Database, owner: Connection) -> None:
    url = url_of(database.settings)
    days = 0

    def break_off(_done: int, _total: int) -> None:
        nonlocal days
        days += 1
        if days == 3:
            raise BrokenOffError

    with pytest.raises(BrokenOffError):
        await load(url, EVENTS, PARTITIONS, break_off)
    half = await log_size(url, HOT)
    assert 0 < half.size < EVENTS
    assert (await load(url, EVENTS, PARTITIONS)).complete
    check = await check_log(url, HOT, half, EVENTS - half.size)
    assert check.passed, check.detail
    assert await owner.fetchval("select count(distinct seq) from tallystick.events where log_id = $1", half.log_id) == (
        EVENTS
    )


async def test_a_log_that_grew_since_is_not_loaded_into(database: Database, owner: Connection) -> None:
    url = url_of(database.settings)

    def break_off(_done: int, _total: int) -> None:
        raise BrokenOffError

    with pytest.raises(BrokenOffError):
        await load(url, EVENTS, PARTITIONS, break_off)
    await owner.execute("update tallystick.logs set size = size + 1 where tenant_id = $1", HOT)
    with pytest.raises(ConfigurationError, match="does not hold"):
        await load(url, EVENTS, PARTITIONS)


async def test_a_lost_event_is_found(filled: Loaded, database: Database, owner: Connection) -> None:
    url = url_of(database.settings)
    before = await log_size(url, HOT)
    assert not (await check_log(url, HOT, before, acknowledged=1)).passed, "acknowledged, but never stored"
    await owner.execute(
        "delete from tallystick.events where log_id = $1 and seq = $2", before.log_id, filled.events // 2
    )
    check = await check_log(url, HOT, before, acknowledged=0)
    assert not check.passed
    assert f"count {EVENTS - 1:,}" in check.detail
