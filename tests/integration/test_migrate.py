"""Migrations: applied once, in order, by one process at a time; what was decided stays decided."""

import asyncio
import re
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeAlias
from urllib.parse import parse_qs, quote, urlsplit

import asyncpg
import pytest
import pytest_asyncio
from pydantic import SecretStr

from factories import make_log, unique
from tallystick.database.migrate import migrate, migrations
from tallystick.database.partitions import (
    AHEAD_DAYS,
    PROMISED_DAYS,
    RETRY_KEY_AHEAD_DAYS,
    RETRY_KEY_PROMISED_DAYS,
    maintain,
    partitions_until,
)
from tallystick.database.pools import Database
from tallystick.errors import ConfigurationError
from tallystick.runtime.postgres import PORT, EmbeddedPostgres
from tallystick.settings import DatabaseSettings

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

VERSIONS = list(range(1, 21))


@dataclass(frozen=True)
class Empty:
    """A database that nothing was done to, and a connection as its owner."""

    settings: DatabaseSettings
    owner: Connection

    def with_(self, **changes: str) -> DatabaseSettings:
        return self.settings.model_copy(update=changes)


@pytest_asyncio.fixture
async def empty(postgres: EmbeddedPostgres, superuser: Connection) -> Empty:
    name = unique("empty")
    await superuser.execute(f'create database "{name}" owner tallystick_owner template template0')
    url = postgres.url(database=name)
    return Empty(DatabaseSettings(url=SecretStr(url)), await asyncpg.connect(url))


async def test_a_second_run_does_nothing(empty: Empty) -> None:
    lines: list[str] = []
    first = await migrate(empty.settings, lines.append)
    second = await migrate(empty.settings, lines.append)

    assert [migration.version for migration in first] == VERSIONS
    assert second == []
    assert len(lines) == len(first)
    await empty.owner.close()


async def test_two_processes_at_once_apply_each_file_once(empty: Empty) -> None:
    applied = await asyncio.gather(*(migrate(empty.settings) for _ in range(4)))

    assert sorted(migration.version for new in applied for migration in new) == VERSIONS
    await empty.owner.close()


async def test_an_applied_file_may_not_change(empty: Empty) -> None:
    await migrate(empty.settings)
    await empty.owner.execute("update tallystick.migrations set checksum = 'other' where version = 2")

    with pytest.raises(ConfigurationError, match="migration 2 was applied with other contents"):
        await migrate(empty.settings)
    await empty.owner.close()


async def test_a_newer_schema_is_left_as_it_is(empty: Empty) -> None:
    await migrate(empty.settings)
    await empty.owner.execute("insert into tallystick.migrations (version, name, checksum) values (99, 'next', 'x')")

    assert await migrate(empty.settings) == []
    await empty.owner.close()


@asynccontextmanager
async def posing_as(version: bytes, settings: DatabaseSettings, folder: Path) -> AsyncGenerator[DatabaseSettings]:
    """The same database behind a door that gives another version of the server."""
    assert settings.url is not None
    host = parse_qs(urlsplit(settings.url.get_secret_value()).query)["host"][0]
    told = re.compile(rb"(?<=server_version\0)\d+")

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await source.read(65_536):
                sink.write(told.sub(version, chunk))
                await sink.drain()
        sink.close()

    async def visit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inside, outside = await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{PORT}")
        await asyncio.gather(pump(reader, outside), pump(inside, writer))

    async with await asyncio.start_unix_server(visit, folder / f".s.PGSQL.{PORT}"):
        url = settings.url.get_secret_value().replace(quote(host, safe=""), quote(str(folder), safe=""))
        yield settings.model_copy(update={"url": SecretStr(url)})


@pytest.mark.parametrize(("version", "old"), [(b"14", True), (b"15", False)])
async def test_too_old_a_server_is_refused(empty: Empty, version: bytes, old: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="ts-") as folder:  # a socket's path is short
        async with posing_as(version, empty.settings, Path(folder)) as settings:
            if old:
                with pytest.raises(ConfigurationError, match="is PostgreSQL 14, and 15 is the oldest"):
                    await migrate(settings)
            else:
                assert await migrate(settings)
    made = await empty.owner.fetchval("select exists (select from pg_namespace where nspname = 'tallystick')")
    assert made is not old
    await empty.owner.close()


async def open_public(empty: Empty, postgres: EmbeddedPostgres, *owner: str) -> None:
    """Leave `public` as an upgrade from an old server does."""
    assert empty.settings.url is not None
    name = await empty.owner.fetchval("select current_database()")
    superuser: Connection = await asyncpg.connect(postgres.url(user="postgres", database=name))
    await superuser.execute("grant create on schema public to public")
    for role in owner:
        await superuser.execute(f"alter schema public owner to {role}")
    await superuser.close()


async def test_public_is_closed_where_it_was_open(empty: Empty, postgres: EmbeddedPostgres) -> None:
    await open_public(empty, postgres)
    lines: list[str] = []
    await migrate(empty.settings, lines.append)

    async with Database.from_settings(empty.settings) as database, database.reader.acquire() as reader:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await reader.execute("create table public.planted (x int)")
    assert not [line for line in lines if "public" in line]
    await empty.owner.close()


async def test_a_public_that_the_owner_cannot_close_is_told(empty: Empty, postgres: EmbeddedPostgres) -> None:
    await open_public(empty, postgres, "postgres")
    lines: list[str] = []
    assert await migrate(empty.settings, lines.append)

    assert "revoke create on schema public from public" in lines[-1]
    await empty.owner.close()


async def test_timescaledb_cannot_be_demanded_where_it_is_absent(empty: Empty) -> None:
    if await empty.owner.fetchval("select exists (select from pg_available_extensions where name = 'timescaledb')"):
        await empty.owner.close()
        pytest.skip("this PostgreSQL has TimescaleDB")
    with pytest.raises(ConfigurationError, match="has no TimescaleDB"):
        await migrate(empty.with_(timescaledb="on"))
    assert await migrate(empty.with_(timescaledb="auto"))
    await empty.owner.close()


async def test_what_was_decided_about_timescaledb_is_not_contradicted(empty: Empty) -> None:
    await migrate(empty.with_(timescaledb="off"))

    with pytest.raises(ConfigurationError, match="made with TimescaleDB off"):
        await migrate(empty.with_(timescaledb="on"))
    assert await migrate(empty.with_(timescaledb="auto")) == []
    await empty.owner.close()


def test_timescaledb_changes_the_log_and_how_parts_of_it_go_alone() -> None:
    plain, hyper = migrations(timescaledb=False), migrations(timescaledb=True)

    assert [(one.version, one.name) for one in plain] == [(one.version, one.name) for one in hyper]
    assert [one.version for one, other in zip(plain, hyper, strict=True) if one.sql != other.sql] == [2, 15, 17, 20]
    assert [one.version for one in plain if "timescaledb" in one.sql.lower()] == []


async def test_a_function_made_later_is_closed_until_it_is_granted(database: Database, owner: Connection) -> None:
    await owner.execute("create function tallystick.later() returns int language sql as 'select 1'")
    call = "select tallystick.later()"

    async with database.reader.acquire() as reader:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await reader.execute(call)
        await owner.execute("grant execute on function tallystick.later to tallystick_reader")
        assert await reader.fetchval(call) == 1


async def test_partitions_reach_at_least_three_intervals_ahead(database: Database) -> None:
    until, now = await partitions_until(database), datetime.now(UTC)

    assert until.events > now + timedelta(days=AHEAD_DAYS["month"] - 1)
    assert until.retry_keys > now + timedelta(days=RETRY_KEY_AHEAD_DAYS)
    assert until.lasts(PROMISED_DAYS["month"], RETRY_KEY_PROMISED_DAYS, now)


async def test_maintenance_makes_what_is_missing_and_moves_to_days(database: Database, owner: Connection) -> None:
    last = await owner.fetchval(
        "select max(inhrelid::regclass::text) from pg_inherits where inhparent = 'tallystick.events'::regclass"
    )
    await owner.execute(f"drop table {last}")
    shortened = (await partitions_until(database)).events

    done = await maintain(database, "month")
    assert done["made"] == [last.removeprefix("tallystick.")]
    assert (await maintain(database, "month"))["made"] == []
    await owner.execute(f"drop table {last}")
    await owner.execute("select tallystick.make_event_partitions('day', $1)", shortened + timedelta(days=3))
    assert (await partitions_until(database)).events == shortened + timedelta(days=3)


async def test_partitions_meet_without_a_gap(owner: Connection) -> None:
    bounds = await owner.fetch(
        """select pg_get_expr(relpartbound, oid) as bound from pg_class
            where relispartition and relname like 'events_2%' and relkind = 'r' order by relname"""
    )
    edges = [row["bound"].removeprefix("FOR VALUES FROM (").removesuffix(")").split(") TO (") for row in bounds]
    assert len(edges) >= 4
    assert [upper for _, upper in edges[:-1]] == [lower for lower, _ in edges[1:]]


async def vacuumed(owner: Connection) -> list[tuple[str, ...]]:
    """How the partitions of events are set, but for what they have from PostgreSQL."""
    rows = await owner.fetch(
        "select relname, reloptions from pg_class where relispartition and relname like 'events_2%' and relkind = 'r'"
    )
    return [tuple(row["reloptions"] or ()) for row in rows]


async def test_partitions_are_vacuumed_before_a_fifth_of_them_is_dead(owner: Connection) -> None:
    await owner.execute("select tallystick.make_event_partitions('day', now() + interval '130 days')")
    options = await vacuumed(owner)
    assert len(options) > 4
    assert set(options) == {("autovacuum_vacuum_scale_factor=0.05",)}


async def test_so_are_those_that_were_there_before(owner: Connection) -> None:
    for row in await owner.fetch("select name from tallystick.event_partitions()"):
        await owner.execute(f"alter table tallystick.{row['name']} reset (autovacuum_vacuum_scale_factor)")
    assert set(await vacuumed(owner)) == {()}
    (migration,) = [one for one in migrations(timescaledb=False) if one.name == "vacuum_what_died"]
    await owner.execute(migration.sql)
    assert set(await vacuumed(owner)) == {("autovacuum_vacuum_scale_factor=0.05",)}


async def test_who_makes_partitions_waits_for_nobody_for_long(owner: Connection) -> None:
    for function in ("make_event_partitions", "make_retry_key_partitions", "drop_old_retry_keys"):
        config = await owner.fetchval("select proconfig from pg_proc where proname = $1", function)
        assert "lock_timeout=200ms" in config, function


@pytest.mark.parametrize(("span", "days"), [("year", 1), ("day", 800)])
async def test_partitions_are_not_made_without_measure(owner: Connection, span: str, days: int) -> None:
    with pytest.raises(asyncpg.InvalidParameterValueError):
        await owner.execute(
            "select tallystick.make_event_partitions($1, now() + make_interval(days => $2))", span, days
        )


async def make_old_retry_keys(owner: Connection) -> str:
    """A partition that the next round of maintenance drops; returns its name."""
    day = datetime.now(UTC).date() - timedelta(days=2)
    name = f"retry_keys_{day:%Y%m%d}"
    await owner.execute(
        f"create table tallystick.{name} partition of tallystick.retry_keys "
        f"for values from ('{day}') to ('{day + timedelta(days=1)}')"
    )
    return name


async def test_old_retry_keys_and_revocations_go(database: Database, owner: Connection) -> None:
    log_id = await make_log(owner)
    today = datetime.now(UTC).date()
    old = await make_old_retry_keys(owner)
    for day in (today - timedelta(days=2), today - timedelta(days=1), today):
        await owner.execute(
            "insert into tallystick.retry_keys values ($1, 'event', $2, 'k', 'd', 'id', '{}')", day, log_id
        )
    for value, hours in (("past", -1), ("to come", 1)):
        await owner.execute(
            """insert into tallystick.revocations (kind, issuer, value, expires_at)
               values ('token', 'us', $1, now() + make_interval(hours => $2))""",
            value,
            hours,
        )

    done = await maintain(database, "month")

    assert done["dropped"] == [old]
    kept = await owner.fetch("select day from tallystick.retry_keys order by day")
    assert [row["day"] for row in kept] == [today - timedelta(days=1), today]
    assert [row["value"] for row in await owner.fetch("select value from tallystick.revocations")] == ["to come"]


async def test_retry_keys_that_somebody_reads_stay_until_the_next_round(
    database: Database, owner: Connection, log_id: int
) -> None:
    assert database.settings.url is not None
    old = await make_old_retry_keys(owner)
    last = await owner.fetchval(
        "select max(inhrelid::regclass::text) from pg_inherits where inhparent = 'tallystick.events'::regclass"
    )
    await owner.execute(f"drop table {last}")
    backup: Connection = await asyncpg.connect(database.settings.url.get_secret_value())
    writer = await database.connect_writer()
    await writer.execute("set statement_timeout = '3s'")  # maintenance may wait 5 for a lock, and appends behind it
    append = "insert into tallystick.retry_keys values ((now() at time zone 'UTC')::date, 'event', $1, $2, '', '', '')"

    async with asyncio.timeout(30):
        async with backup.transaction():
            await backup.execute("select from tallystick.retry_keys")
            maintenance = asyncio.create_task(maintain(database, "month"))
            number = 0
            while not maintenance.done():
                await writer.execute(append, log_id, str(number))
                number += 1
            assert await maintenance == {"made": [last.removeprefix("tallystick.")], "dropped": []}
        assert (await maintain(database, "month"))["dropped"] == [old]
    await writer.close()
    await backup.close()


async def test_versions_of_tenants_become_visible_in_order(database: Database, owner: Connection) -> None:
    assert database.settings.url is not None
    second: Connection = await asyncpg.connect(database.settings.url.get_secret_value())
    async with asyncio.timeout(10):
        transaction = owner.transaction()
        await transaction.start()
        await owner.execute("insert into tallystick.tenants (id, name) values ('first', 'First')")
        later = asyncio.create_task(
            second.execute("insert into tallystick.tenants (id, name) values ('later', 'Later')")
        )
        blocked = (
            "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
        )
        while not await owner.fetchval(blocked):  # noqa: ASYNC110  # the server sends no signal
            await asyncio.sleep(0.01)
        await transaction.commit()
        await later
    order = await owner.fetch("select id from tallystick.tenants where id in ('first', 'later') order by version")
    assert [row["id"] for row in order] == ["first", "later"]
    await second.close()
