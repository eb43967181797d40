"""The log as a TimescaleDB hypertable. Where these tests run is told in docs/how-to/timescaledb.md."""

import asyncio
import json
import os
import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import orjson
import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry

from doors import open_door
from factories import append, digests, make_log, prepared
from stored_events import DAY_US, HOUR_US, Connection, Put, Row, now_us, put
from tallystick.auth.keys import SigningKeys
from tallystick.database.migrate import migrate
from tallystick.database.partitions import maintain, partitions_until
from tallystick.database.pools import Database
from tallystick.errors import ConfigurationError, ConflictError, NotFoundError
from tallystick.log.identity import parse_id
from tallystick.log.queries import TimeWalk, by_time
from tallystick.log.reader import ListQuery, LogReader, Order
from tallystick.log.writer import Writer, WriterMetrics
from tallystick.query.ast import Everything
from tallystick.query.cursor import CursorCodec
from tallystick.query.timestamps import moment
from tallystick.runtime.postgres import OWNER, EmbeddedPostgres
from tallystick.settings import DatabaseSettings, Settings, WriterSettings

URL_VARIABLE = "TALLYSTICK_TEST_TIMESCALEDB_URL"

ROLES = ("writer", "reader", "control", "worker")
DAYS = 12
EVERYTHING = Everything()


@dataclass(frozen=True)
class Server:
    """A PostgreSQL that has the extension.

    Attributes:
        url: As a role that may make databases and roles.
        owner: Whose the tests' databases are.
        passwords: A file of passwords for the login roles.
    """

    url: str
    owner: str
    passwords: Path

    @asynccontextmanager
    async def database(self) -> AsyncGenerator[DatabaseSettings]:
        """A database that nothing was done to, while the block runs."""
        name = f"tallystick-test-{secrets.token_hex(6)}"
        admin: Connection = await asyncpg.connect(self.url)
        try:
            await admin.execute(f'create database "{name}" owner "{self.owner}" template template0')
            try:
                parts = urlsplit(self.url)
                place = parts.netloc.rpartition("@")[2]
                login = f"{self.owner}:{parts.password}" if parts.password else self.owner
                url = parts._replace(netloc=f"{login}@{place}", path=f"/{name}").geturl()
                yield DatabaseSettings.model_validate({"url": url, "role_passwords": self.passwords})
            finally:
                await admin.execute(f'drop database "{name}" with (force)')
        finally:
            await admin.close()

    async def migrate(self, settings: DatabaseSettings) -> None:
        """Migrate, one database at a time: passwords are the whole server's, and tests may run in several processes."""
        admin: Connection = await asyncpg.connect(self.url)
        try:
            await admin.execute("select pg_advisory_lock(hashtext('tallystick tests'))")
            await migrate(settings)
        finally:
            await admin.close()


@pytest_asyncio.fixture(scope="session")
async def server(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """The server that the environment names, or the usual one of the tests where it has the extension."""
    named = os.environ.get(URL_VARIABLE)
    url = named or postgres.url(user="postgres", database="postgres")
    connection: Connection = await asyncpg.connect(url)
    try:
        present = await connection.fetchval(
            "select exists (select from pg_available_extensions where name = 'timescaledb')"
        )
    finally:
        await connection.close()
    if named:
        assert present, f"{URL_VARIABLE} names a server without TimescaleDB"
    elif not present:
        pytest.skip(f"no TimescaleDB here: set {URL_VARIABLE} as docs/how-to/timescaledb.md says")
    passwords = tmp_path_factory.mktemp("passwords") / "roles"
    passwords.write_text("".join(f"tallystick_{role}=tallystick\n" for role in ROLES))
    return Server(url, urlsplit(url).username or "" if named else OWNER, passwords)


@dataclass(frozen=True)
class Hyper:
    """A migrated database whose events are a hypertable, its pools and a connection as its owner."""

    settings: DatabaseSettings
    database: Database
    owner: Connection

    async def chunks(self) -> set[str]:
        """The tables that the hypertable's rows lie in."""
        rows = await self.owner.fetch("select chunk::text from public.show_chunks('tallystick.events') as chunk")
        return {row["chunk"] for row in rows}

    def reader(self) -> LogReader:
        """What reads its logs."""
        cursors = CursorCodec(SigningKeys("k1", {"k1": b"a secret of thirty-two bytes ...."}))
        return LogReader(self.database, cursors, Settings(database=self.settings))


@pytest_asyncio.fixture(scope="module")
async def hyper(server: Server) -> AsyncGenerator[Hyper]:
    async with server.database() as plain:
        settings = plain.model_copy(update={"timescaledb": "on", "partition_interval": "day"})
        await server.migrate(settings)
        assert settings.url is not None
        owner: Connection = await asyncpg.connect(settings.url.get_secret_value())
        try:
            async with Database.from_settings(settings) as database:
                yield Hyper(settings, database, owner)
        finally:
            await owner.close()


@pytest_asyncio.fixture
async def writer(hyper: Hyper) -> AsyncGenerator[Writer]:
    writer = Writer(hyper.database, WriterSettings(), digests(), WriterMetrics(CollectorRegistry()))
    await writer.start()
    yield writer
    await writer.close()


async def spread(hyper: Hyper, log_id: int, *, events: int = 120) -> list[Put]:
    """Events of several days, every seventh of them late by three."""
    begin, step = now_us() - DAYS * DAY_US, DAYS * DAY_US // events // 1000 * 1000
    late = [3 * DAY_US if n % 7 == 0 else 0 for n in range(events)]
    return await put(
        hyper.owner, log_id, [Row(begin + n * step, begin + n * step - late[n], {"n": n}) for n in range(events)]
    )


async def test_the_first_migration_decides_and_records_it(hyper: Hyper) -> None:
    assert await hyper.owner.fetchval("select value from tallystick.facts where name = 'timescaledb'") == "on"
    dimension = await hyper.owner.fetchrow(
        "select column_name, time_interval from timescaledb_information.dimensions where hypertable_name = 'events'"
    )
    assert dimension is not None
    assert tuple(dimension) == ("received_at", timedelta(days=1))
    assert await migrate(hyper.settings.model_copy(update={"role_passwords": None})) == []


async def test_where_it_is_present_auto_takes_it(server: Server) -> None:
    async with server.database() as settings:
        assert settings.timescaledb == "auto"
        await server.migrate(settings)
        with pytest.raises(ConfigurationError, match="made with TimescaleDB on"):
            await migrate(settings.model_copy(update={"timescaledb": "off"}))


async def test_off_leaves_it_alone(server: Server) -> None:
    async with server.database() as settings:
        await server.migrate(settings.model_copy(update={"timescaledb": "off"}))
        with pytest.raises(ConfigurationError, match="made with TimescaleDB off"):
            await migrate(settings.model_copy(update={"timescaledb": "on"}))
        assert settings.url is not None
        connection: Connection = await asyncpg.connect(settings.url.get_secret_value())
        extensions = await connection.fetch("select from pg_extension where extname = 'timescaledb'")
        await connection.close()
        assert extensions == []


async def test_appends_have_no_gap_and_are_read_back(hyper: Hyper, writer: Writer) -> None:
    log_id, other = await make_log(hyper.owner), await make_log(hyper.owner)
    outcomes = await asyncio.gather(
        *(writer.append(append(log_id if n % 3 else other, prepared(), prepared())) for n in range(150))
    )

    seqs = [place.seq for outcome in outcomes[1::3] for place in outcome.stored if place]
    assert len(seqs) == len(set(seqs)) == 100
    for log, size in ((log_id, 200), (other, 100)):
        page = await hyper.reader().by_seq(log, EVERYTHING, ListQuery(order="seq", limit=1000))
        assert [orjson.loads(item)["seq"] for item in page.items] == list(range(size))
        assert await hyper.owner.fetchval("select size from tallystick.logs where id = $1", log) == size
    (place,) = (await writer.append(append(log_id))).stored
    assert place is not None
    assert parse_id(place.id).seq == place.seq == 200
    found = await hyper.reader().get(log_id, EVERYTHING, place.id)
    assert found.leaf_hash.hex() == place.leaf_hash


async def test_retry_keys_are_kept(hyper: Hyper, writer: Writer) -> None:
    log_id = await make_log(hyper.owner)
    first = await writer.append(append(log_id, prepared(event_id="e-1", resource_id="r")))
    again = await writer.append(append(log_id, prepared(event_id="e-1", resource_id="r")))

    assert again.answer == first.answer
    with pytest.raises(ConflictError):
        await writer.append(append(log_id, prepared(event_id="e-1", resource_id="other")))
    assert await hyper.owner.fetchval("select count(*) from tallystick.events where log_id = $1", log_id) == 1


@pytest.mark.parametrize("order", ["newest", "oldest", "seq"])
async def test_pages_over_many_chunks_are_in_order(hyper: Hyper, order: Order) -> None:
    log_id = await make_log(hyper.owner)
    events = await spread(hyper, log_id)
    assert len(await hyper.chunks()) >= DAYS
    by_occurrence = sorted(events, key=lambda event: (event.occurred_us, event.seq))
    expected = {"newest": by_occurrence[::-1], "oldest": by_occurrence, "seq": events}[order]

    items: list[bytes] = []
    query = ListQuery(order=order, limit=17)
    while True:
        reader = hyper.reader()
        page = await (reader.by_seq(log_id, EVERYTHING, query) if order == "seq" else reader.by_time(log_id, query))
        items += page.items
        if page.next is None:
            break
        query = ListQuery(order=order, limit=17, cursor=page.next)
    assert items == [event.item for event in expected]


async def test_a_time_range_and_an_id_are_found(hyper: Hyper) -> None:
    log_id, other = await make_log(hyper.owner), await make_log(hyper.owner)
    events = await spread(hyper, log_id)
    begin, end = events[50].occurred_us, events[80].occurred_us

    page = await hyper.reader().by_time(log_id, ListQuery(from_us=begin, to_us=end, limit=1000))
    assert {orjson.loads(item)["seq"] for item in page.items} == {
        event.seq for event in events if begin <= event.occurred_us < end
    }
    for event in events[::13]:
        assert (await hyper.reader().get(log_id, EVERYTHING, event.id)).item == event.item
        with pytest.raises(NotFoundError):
            await hyper.reader().get(other, EVERYTHING, event.id)


async def test_no_role_reaches_another_log_by_table_or_chunk(hyper: Hyper) -> None:
    log_id, other = await make_log(hyper.owner), await make_log(hyper.owner)
    await spread(hyper, log_id)
    await spread(hyper, other, events=40)
    tables = {"tallystick.events", *await hyper.chunks()}
    assert len(tables) > DAYS

    writer = await hyper.database.connect_writer()
    async with (
        hyper.database.reader.acquire() as reader,
        hyper.database.control.acquire() as control,
        hyper.database.worker.acquire() as worker,
    ):
        for table in tables:
            for role in (writer, reader, control, worker):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await role.execute(f"select * from {table} limit 0")  # noqa: S608  # our own names
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await role.execute(f"delete from {table}")  # noqa: S608  # our own names
            for role in (reader, control, worker):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await role.execute(f"insert into {table} default values")
        for role in (reader, control, worker):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await role.execute("select public.drop_chunks('tallystick.events', now())")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await writer.execute("select public.drop_chunks('tallystick.events', now())")
    await writer.close()
    async with hyper.database.log_session(other) as connection:
        assert await connection.fetchval("select count(*) from tallystick.log_events where true or seq = 1") == 40


async def test_what_the_table_refuses_its_chunks_refuse(hyper: Hyper) -> None:
    log_id = await make_log(hyper.owner)
    (event, *_) = await spread(hyper, log_id)
    insert = "insert into tallystick.events values ($1, $2, $3, $4, $5, '{}')"

    arrival, too_late = moment(event.received_us), moment(event.received_us + HOUR_US + 1000)
    with pytest.raises(asyncpg.UniqueViolationError):
        await hyper.owner.execute(insert, log_id, event.seq, arrival, arrival, event.leaf_hash)
    with pytest.raises(asyncpg.CheckViolationError):
        await hyper.owner.execute(insert, log_id, 1_000, arrival, too_late, event.leaf_hash)
    with pytest.raises(asyncpg.CheckViolationError):
        await hyper.owner.execute(insert, log_id, 1_000, arrival, arrival, b"short")


async def test_maintenance_makes_no_chunk_and_sets_the_span_of_those_to_come(hyper: Hyper) -> None:
    await spread(hyper, await make_log(hyper.owner))
    before = await hyper.chunks()
    span = "select time_interval from timescaledb_information.dimensions where hypertable_name = 'events'"

    done = await maintain(hyper.database, "month")
    assert done == {"made": [], "dropped": []}
    assert await hyper.owner.fetchval(span) == timedelta(days=30)
    await maintain(hyper.database, "day")
    assert await hyper.owner.fetchval(span) == timedelta(days=1)
    assert await hyper.chunks() == before


async def test_appends_always_find_a_chunk(hyper: Hyper, tmp_path: Path) -> None:
    until = await partitions_until(hyper.database)
    assert until.events > datetime.now(UTC) + timedelta(days=365_000)
    assert until.retry_keys > datetime.now(UTC) + timedelta(days=13)

    async with open_door(Settings(home=tmp_path, database=hyper.settings)) as door:
        ready = await door.client.get("/readyz")
    assert ready.status_code == 200, ready.text
    assert "made on arrival" in ready.text


async def test_newest_first_sorts_no_log(hyper: Hyper) -> None:
    log_id = await make_log(hyper.owner)
    await spread(hyper, log_id, events=6_000)
    await hyper.owner.execute("analyze tallystick.events")
    statement = by_time(TimeWalk(descending=True, above=None, below=None), limit=51, budget=1_000_000)

    async with hyper.database.log_session(log_id) as connection:
        text = await connection.fetchval(f"explain (analyze, format json) {statement.sql}", *statement.arguments)
    nodes = [json.loads(text)[0]["Plan"]]
    for node in nodes:
        nodes.extend(node.get("Plans", ()))
    assert not [node["Node Type"] for node in nodes if "Sort" in node["Node Type"]]
    scans = [node for node in nodes if "Relation Name" in node]
    assert len(scans) >= DAYS
    assert sum(node["Actual Rows"] * node["Actual Loops"] for node in scans) <= 10 * 51
    assert nodes[0]["Actual Rows"] == 51


async def test_the_columnstore_changes_no_answer(hyper: Hyper) -> None:
    log_id, other = await make_log(hyper.owner), await make_log(hyper.owner)
    events = await spread(hyper, log_id)
    enable = (
        "alter table tallystick.events set"
        " (timescaledb.enable_columnstore, timescaledb.segmentby = 'log_id', timescaledb.orderby = 'seq')"
    )
    await hyper.owner.execute(enable)
    old = await hyper.owner.fetch(
        "select chunk::text from public.show_chunks('tallystick.events', older_than => interval '3 days') as chunk"
    )
    for row in old:
        await hyper.owner.execute(f"call public.convert_to_columnstore('{row['chunk']}')")
    assert len(old) >= DAYS - 4

    reader = hyper.reader()
    for order in ("newest", "oldest"):
        page = await reader.by_time(log_id, ListQuery(order=order, limit=1000))
        assert set(page.items) == {event.item for event in events}
        assert not (await reader.by_time(other, ListQuery(order=order))).items
    page = await reader.by_seq(log_id, EVERYTHING, ListQuery(order="seq", limit=1000))
    assert page.items == tuple(event.item for event in events)
    assert not (await reader.by_seq(other, EVERYTHING, ListQuery(order="seq"))).items
    assert (await reader.get(log_id, EVERYTHING, events[3].id)).item == events[3].item
    arrival = moment(events[0].received_us)
    with pytest.raises(asyncpg.UniqueViolationError):
        await hyper.owner.execute(
            "insert into tallystick.events values ($1, 0, $2, $2, $3, '{}')", log_id, arrival, events[0].leaf_hash
        )
    inner = await hyper.owner.fetch(
        "select oid::regclass::text as name from pg_class where relnamespace = '_timescaledb_internal'::regnamespace"
        " and relkind = 'r' and not exists (select from pg_depend where objid = pg_class.oid and deptype = 'e')"
    )
    assert len(inner) >= len(await hyper.chunks()) + len(old)
    async with hyper.database.reader.acquire() as connection:
        for row in inner:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(f"select * from {row['name']} limit 0")  # noqa: S608  # our own names
