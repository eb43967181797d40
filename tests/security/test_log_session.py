"""What a reader's connection can reach: the views of the log that was set, and nothing else."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import asyncpg
import orjson
import pytest

from factories import make_log
from stored_events import DAY_US, Connection, Row, now_us, put, remove
from tallystick.database.pools import Connection as PooledConnection
from tallystick.database.pools import Database
from tallystick.followers.handing import record
from tallystick.followers.queries import lease
from tallystick.log.source import LogSource
from tallystick.query.timestamps import microseconds, moment
from tallystick.runtime.postgres import DATABASE
from tallystick.stats.follower import NAME, RollupFollower

VIEWS = ("log_events", "log_head", "log_removed")
COUNTS = {
    "log_rollups": "events",
    "log_facet_parts": "names",
    "log_facet_spans": "events",
    "log_rolled_spans": "closed",
    "log_rolled_up": "seq",
}
"""The views of what was counted, each with a column."""


@pytest.fixture
async def logs(owner: Connection) -> tuple[int, int]:
    """Two logs with events and removals."""
    now = now_us()
    logs = (await make_log(owner), await make_log(owner))
    for log_id, events in zip(logs, (3, 5), strict=True):
        await put(owner, log_id, [Row(now, now, {"log": log_id}) for _ in range(events)])
        await remove(owner, log_id, 0, 0)
    return logs


async def seen(connection: PooledConnection) -> tuple[int, int, int]:
    """How many rows each view shows."""
    counts = [
        await connection.fetchval(f"select count(*) from tallystick.{view}")  # noqa: S608  # our own names
        for view in VIEWS
    ]
    return counts[0], counts[1], counts[2]


async def test_a_session_sees_its_own_log(database: Database, logs: tuple[int, int]) -> None:
    one, other = logs
    async with database.log_session(one) as connection:
        assert await connection.fetchval("select current_user") == "tallystick_reader"
        assert await seen(connection) == (2, 1, 1)
        assert await connection.fetchval("select size from tallystick.log_head") == 3
        bodies = await connection.fetch("select body::json ->> 'log' as log from tallystick.log_events")
        assert {int(row["log"]) for row in bodies} == {one}
    async with database.log_session(other) as connection:
        assert await seen(connection) == (4, 1, 1)


async def test_no_condition_of_a_query_widens_the_view(database: Database, logs: tuple[int, int]) -> None:
    one, _ = logs
    async with database.log_session(one) as connection:
        assert await connection.fetchval("select count(*) from tallystick.log_events where seq = 1 or true") == 2


async def test_sessions_at_the_same_time_do_not_mix(database: Database, logs: tuple[int, int]) -> None:
    async def look(log_id: int, rows: int) -> None:
        for _ in range(20):
            async with database.log_session(log_id) as connection:
                assert await connection.fetchval("select count(*) from tallystick.log_events") == rows
                await asyncio.sleep(0)
                assert await connection.fetchval("select count(*) from tallystick.log_events") == rows

    one, other = logs
    await asyncio.gather(*(look(one, 2) for _ in range(4)), *(look(other, 4) for _ in range(4)))


async def test_a_reading_of_several_logs_mixes_nothing_and_leaves_nothing(
    database: Database, logs: tuple[int, int]
) -> None:
    one, other = logs
    for asked in ([one], [other], [one, other], [other, one, other + 1]):
        rows = await database.logs_fetch(asked, [-1] * len(asked), [None] * len(asked), 10, 1_000_000)
        found = {log_id: [row for row in rows if row["log"] == log_id] for log_id in asked}
        for log_id, (size, events) in {one: (3, 2), other: (5, 4)}.items():
            if log_id in asked:
                head, *others = found.pop(log_id)
                assert head["size"] == size
                assert [row["seq"] for row in others] == list(range(1, events + 1))
                assert {orjson.loads(row["body"])["log"] for row in others} == {log_id}
        assert not any(found.values())
    async with database.reader.acquire() as connection:
        assert not await connection.fetchval("select current_setting('tallystick.log', true)")
        assert await connection.fetchval("select count(*) from tallystick.log_events") == 0


async def test_a_reading_in_one_trip_sees_its_own_log_and_leaves_nothing(
    database: Database, owner: Connection, logs: tuple[int, int]
) -> None:
    one, other = logs
    rows = await owner.fetch("select log_id, seq, received_at from tallystick.events order by log_id, seq")
    places = [row["seq"] for row in rows], [microseconds(row["received_at"]) for row in rows]
    for log_id, events in ((one, 2), (other, 4)):
        found = await database.log_fetch("read_places", log_id, *places)
        assert {(row["seq"], orjson.loads(row["body"])["log"]) for row in found} == {
            (seq, log_id) for seq in range(1, events + 1)
        }
        stretch = await database.log_fetch("read_stretch", log_id, -1, None, 1_000, 1 << 20)
        assert (stretch[0]["size"], len(stretch) - 1) == (events + 1, events)
        async with database.reader.acquire() as connection:
            assert await seen(connection) == (0, 0, 0)


@pytest.mark.parametrize("role", ["writer", "control", "worker"])
async def test_others_cannot_read_in_one_trip(owner: Connection, role: str) -> None:
    for function in (
        "read_places(int, bigint[], timestamptz[])",
        "read_stretch(int, bigint, timestamptz, int, bigint)",
        "rank_facet(int, text, timestamptz, timestamptz, int)",
    ):
        allowed = "select has_function_privilege($1, $2, 'execute')"
        assert not await owner.fetchval(allowed, f"tallystick_{role}", f"tallystick.{function}")
        assert await owner.fetchval(allowed, "tallystick_reader", f"tallystick.{function}")


async def test_what_was_counted_is_seen_of_the_own_log_alone(
    database: Database, owner: Connection, logs: tuple[int, int]
) -> None:
    now = now_us()
    for number, log_id in enumerate(logs):
        fields = {"action": "login", "resource_type": "user", "severity": "INFO", "user_id": f"user-{number}"}
        await put(owner, log_id, [Row(now, now - DAY_US * day, fields) for day in (2, 2, 0)])
        async with database.worker_session() as connection:
            assert await lease(connection, NAME, log_id, "test", 60)
        source, after = LogSource(database), -1
        while True:  # the second stretch closes what the first one brought
            stretch = await source.read(log_id, after, None, limit=4 + 2 * number, max_bytes=1 << 20)
            assert await record(RollupFollower(), database, log_id, "test", stretch)
            after = stretch.through
            if stretch.ended:
                break
    period = (moment(now - 9 * DAY_US), moment(now + DAY_US))
    ranked = "select name, events from tallystick.rank_facet($1, 'actor', $2, $3, 10)"
    for number, log_id in enumerate(logs):
        async with database.log_session(log_id) as connection:
            shown = {
                view: await connection.fetchval(f"select count(*) from tallystick.{view}")  # noqa: S608  # our names
                for view in COUNTS
            }
            assert all(shown.values()), shown
            names = await connection.fetch("select distinct unnest(names) from tallystick.log_facet_parts")
            assert [tuple(row) for row in names] == [(f"user-{number}",)]
            keys = await connection.fetch("select distinct key from tallystick.log_facet_spans")
            assert [tuple(row) for row in keys] == [(f"user-{number}",)]
            assert [tuple(row) for row in await connection.fetch(ranked, log_id, *period)] == [(f"user-{number}", 3)]
    async with database.reader.acquire() as connection:
        for view in COUNTS:
            assert await connection.fetchval(f"select count(*) from tallystick.{view}") == 0  # noqa: S608  # our names
        await connection.fetch(ranked, logs[0], *period)
        assert await connection.fetchval("select count(*) from tallystick.log_rollups") == 0, "nothing stays set"


async def end_well(_: PooledConnection) -> None:
    """Nothing goes wrong."""


async def fail_in_code(_: PooledConnection) -> None:
    raise LookupError


async def fail_in_sql(connection: PooledConnection) -> None:
    await connection.execute("select 1 / 0")


@pytest.mark.parametrize("end", [end_well, fail_in_code, fail_in_sql])
async def test_the_log_does_not_outlive_the_transaction(
    database: Database, logs: tuple[int, int], end: Callable[[PooledConnection], Awaitable[None]]
) -> None:
    one, _ = logs
    backends: set[int] = set()
    for _ in range(database.settings.reader_connections + 1):
        with suppress(LookupError, asyncpg.DivisionByZeroError):
            async with database.log_session(one) as connection:
                assert await seen(connection) == (2, 1, 1)
                backends.add(connection.get_server_pid())
                await end(connection)
        async with database.reader.acquire() as connection:
            assert connection.get_server_pid() in backends
            assert await seen(connection) == (0, 0, 0)


@pytest.mark.parametrize("setting", [None, "", "0", "-1", "2147483647"])
async def test_without_a_log_nothing_shows(database: Database, logs: tuple[int, int], setting: str | None) -> None:
    assert len(logs) == 2
    async with database.reader.acquire() as connection, connection.transaction():
        if setting is not None:
            await connection.execute("select set_config('tallystick.log', $1, true)", setting)
        assert await seen(connection) == (0, 0, 0)


async def test_every_relation_of_ours_but_the_views_is_closed(database: Database, owner: Connection) -> None:
    relations = await owner.fetch(
        "select relname, relkind from pg_class where relnamespace = 'tallystick'::regnamespace"
        " and relkind in ('r', 'p', 'v', 'm', 'f', 'S')"
    )
    names = {row["relname"] for row in relations}
    assert {"events", "logs", "tenants", "retry_keys", "removed", "revocations"} <= names
    assert any(name.startswith("events_2") for name in names), "partitions are relations of their own"
    async with database.reader.acquire() as connection:
        for name in sorted(names - {*VIEWS, *COUNTS}):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(f'select * from tallystick."{name}" limit 0')  # noqa: S608  # our own names


@pytest.mark.parametrize("view", [*VIEWS, *COUNTS])
@pytest.mark.parametrize(
    "statement",
    ["insert into {} default values", "delete from {}", "update {} set {} = null", "truncate {}"],
)
async def test_the_views_cannot_be_written_to(database: Database, view: str, statement: str) -> None:
    column = {"log_events": "body", "log_head": "size", "log_removed": "reason", **COUNTS}[view]
    async with database.reader.acquire() as connection:
        with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.WrongObjectTypeError)):
            await connection.execute(statement.format(f"tallystick.{view}", column))


PLANTS = {
    "a table": "create table {schema}.planted (x int)",
    "a view": "create view {schema}.planted as select 1",
    "a function": "create function {schema}.planted() returns int language sql as 'select 1'",
    "an operator's function": (
        "create function {schema}.eq(int, int) returns bool language plpgsql cost 0.0000001"
        " as 'begin raise notice ''%'', $1; return true; end'"
    ),
    "a type": "create type {schema}.planted as (x int)",
    "a sequence": "create sequence {schema}.planted",
}


@pytest.mark.parametrize("schema", ["tallystick", "public", "pg_temp"])
@pytest.mark.parametrize("plant", PLANTS.values(), ids=PLANTS)
async def test_nothing_can_be_planted(database: Database, schema: str, plant: str) -> None:
    async with database.reader.acquire() as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(plant.format(schema=schema))


@pytest.mark.parametrize(
    "statement",
    [
        "create temp table planted (x int)",
        "select 1 as x into temp planted",
        "create schema planted",
        "create extension pg_trgm",
        "set role tallystick_owner",
        "set role tallystick_worker",
        "set session authorization tallystick_owner",
        "alter role tallystick_reader superuser",
        "copy tallystick.log_events to program 'true'",
        "copy (select 1) to '/tmp/planted'",
        "select pg_read_file('/etc/hostname')",
        "select lo_import('/etc/hostname')",
        "select tallystick.make_event_partitions('day', now())",
        "select tallystick.was_appended(1, 0, now(), '')",
    ],
)
async def test_no_way_round_is_open(database: Database, statement: str) -> None:
    async with database.reader.acquire() as connection:
        with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.InvalidParameterValueError)):
            await connection.execute(statement)


async def test_a_session_reads_only(database: Database, logs: tuple[int, int]) -> None:
    async with database.log_session(logs[0]) as connection:
        assert await connection.fetchval("show transaction_read_only") == "on"
        assert await connection.fetchval("show transaction_isolation") == "repeatable read"


async def test_the_migrations_themselves_take_temp_and_create_away(owner: Connection) -> None:
    """Looked up on the database they ran on, which the tests' databases are copies of."""
    for right in ("temporary", "create"):
        for role in ("reader", "writer", "control", "worker"):
            held = await owner.fetchval(
                "select has_database_privilege($1, $2, $3)", f"tallystick_{role}", DATABASE, right
            )
            assert not held, (role, right)
