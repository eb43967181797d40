"""What the writer's login can do: append, and nothing else."""

import struct
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

import asyncpg
import pytest
import pytest_asyncio

from factories import append, digests, prepared
from tallystick.database.pools import Database, OwnConnection
from tallystick.log import copyrows
from tallystick.log.appender import append_batch
from tallystick_tlog import leaf_hash

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

NOW = datetime.now(UTC).replace(microsecond=0)


@pytest_asyncio.fixture
async def writer(database: Database) -> AsyncGenerator[OwnConnection]:
    connection = await database.connect_writer()
    assert await connection.fetchval("select current_user") == "tallystick_writer"
    yield connection
    connection.terminate()


@pytest_asyncio.fixture
async def stored(writer: OwnConnection, owner: Connection, log_id: int) -> asyncpg.Record:
    """An event that the writer stored."""
    await append_batch(writer, [append(log_id, prepared(event_id="e-1"))], digests().for_batch(), lock_timeout=1)
    row = await owner.fetchrow("select * from tallystick.events where log_id = $1", log_id)
    assert row is not None
    return row


def row(log_id: int, seq: int, body: bytes = b"{}", received: datetime = NOW) -> bytes:
    microseconds = int(received.timestamp()) * 1_000_000
    return copyrows.event_row(log_id, seq, microseconds, microseconds - 1, leaf_hash(body), body)


async def copy(writer: OwnConnection, *rows: bytes) -> None:
    async def source() -> AsyncGenerator[bytes]:
        for part in (copyrows.HEADER, *rows, copyrows.TRAILER):
            yield part

    await writer.copy_to_table(
        "events", schema_name="tallystick", columns=copyrows.COLUMNS, source=source(), format="binary"
    )


async def test_rows_are_copied_as_they_were_encoded(writer: OwnConnection, owner: Connection, log_id: int) -> None:
    bodies = ['{"message":"naïve ☂ 😀\\u0001"}'.encode(), b"{}", b'{"x":"' + b"y" * 300_000 + b'"}']
    await copy(writer, *(row(log_id, seq, body) for seq, body in enumerate(bodies)))

    rows = await owner.fetch("select * from tallystick.events order by seq")
    assert [tuple(item.values()) for item in rows] == [
        (log_id, seq, NOW, NOW - timedelta(microseconds=1), leaf_hash(body), body.decode())
        for seq, body in enumerate(bodies)
    ]


@pytest.mark.parametrize(
    "damaged",
    [(struct.pack("!i", 32), struct.pack("!i", 31)), (b"{}", b"\xff}"), (b"{}", b"\0}")],
    ids=["length", "utf-8", "nul"],
)
async def test_a_damaged_row_is_refused(
    writer: OwnConnection, owner: Connection, log_id: int, damaged: tuple[bytes, bytes]
) -> None:
    with pytest.raises(asyncpg.PostgresError) as caught:
        await copy(writer, row(log_id, 0).replace(*damaged))
    assert str(caught.value.sqlstate).startswith("22")
    assert await owner.fetchval("select count(*) from tallystick.events") == 0


async def test_no_seq_is_taken_twice(writer: OwnConnection, stored: asyncpg.Record) -> None:
    with pytest.raises(asyncpg.UniqueViolationError):
        await copy(
            writer,
            row(stored["log_id"], 0, received=NOW),
            row(stored["log_id"], 0, received=NOW),
        )


FORBIDDEN = [
    # events: append only, and unseen
    "select body from tallystick.events",
    "select count(*) from tallystick.events",
    "select 1 from tallystick.events limit 0",
    "copy tallystick.events to stdout",
    "table tallystick.log_events",
    "update tallystick.events set body = '{}'",
    "update tallystick.events set occurred_at = now() where seq = 0",
    "delete from tallystick.events",
    "truncate tallystick.events",
    "insert into tallystick.events select * from tallystick.events",
    """insert into tallystick.events values (1, 99, now(), now(), sha256(''), '{}') returning body""",
    """insert into tallystick.events values (1, 0, now(), now(), sha256(''), '{}')
       on conflict (log_id, seq, received_at) do update set body = '{}'""",
    "begin; lock table tallystick.events in access exclusive mode",
    # logs: the head alone
    "update tallystick.logs set tenant_id = 'other'",
    "update tallystick.logs set name = 'access'",
    "update tallystick.logs set id = default",
    "insert into tallystick.logs (tenant_id, name) values ('_platform', 'events')",
    "delete from tallystick.logs",
    "truncate tallystick.logs cascade",
    # retry keys: added and looked up
    "update tallystick.retry_keys set answer = ''",
    "delete from tallystick.retry_keys",
    "truncate tallystick.retry_keys",
    # what it has no business with
    "table tallystick.tenants",
    "table tallystick.revocations",
    "table tallystick.removed",
    "table tallystick.log_head",
    "table tallystick.log_removed",
    "insert into tallystick.removed (log_id, first_seq, last_seq, seqs, reason) values (1, 0, 0, '{}', 'x')",
    "select tallystick.drop_old_retry_keys()",
    "select tallystick.make_event_partitions('day', now())",
    "select tallystick.make_retry_key_partitions(current_date)",
    # nothing of its own
    "create table tallystick.mine (x int)",
    "create table public.mine (x int)",
    "create schema mine",
    "create temporary table mine (x int)",
    "create function tallystick.mine() returns int language sql as 'select 1'",
    "create function public.mine() returns int language sql as 'select 1'",
    "create view public.mine as select 1",
    "alter table tallystick.events disable trigger all",
    "alter table tallystick.events owner to tallystick_writer",
    "drop table tallystick.events",
    "create role mine",
    "set role tallystick_owner",
    "set session authorization tallystick_owner",
    "set session_replication_role = replica",
    "copy (select 1) to program 'true'",
    "select pg_read_file('postgresql.conf')",
]


@pytest.mark.parametrize("statement", FORBIDDEN)
async def test_the_writer_may_not(
    writer: OwnConnection, owner: Connection, stored: asyncpg.Record, statement: str
) -> None:
    with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.InvalidParameterValueError)):
        await writer.execute(statement)
    assert await owner.fetchval("select body from tallystick.events") == stored["body"]


async def test_no_partition_is_a_way_round(writer: OwnConnection, owner: Connection, stored: asyncpg.Record) -> None:
    partition = await owner.fetchval("select tableoid::regclass::text from tallystick.events")
    assert partition.startswith("tallystick.events_")
    for statement in ("select body from {}", "delete from {}", "update {} set body = '{{}}'", "truncate {}"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await writer.execute(statement.format(partition))
    assert await owner.fetchval("select body from tallystick.events") == stored["body"]


async def test_the_writer_grants_itself_nothing(writer: OwnConnection, stored: asyncpg.Record) -> None:
    assert stored
    # PostgreSQL only warns, as the writer holds another privilege on the table.
    await writer.execute("grant select on tallystick.events to tallystick_writer")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await writer.execute("select body from tallystick.events")


async def test_grants_are_exactly_these(owner: Connection) -> None:
    """A grant too many shows here even where no statement above tries it."""
    tables = await owner.fetch(
        """select table_name, privilege_type from information_schema.role_table_grants
            where grantee in ('tallystick_writer', 'PUBLIC') and table_schema = 'tallystick'"""
    )
    columns = await owner.fetch(
        """select table_name, column_name from information_schema.column_privileges
            where grantee in ('tallystick_writer', 'PUBLIC') and table_schema = 'tallystick'
              and privilege_type = 'UPDATE'"""
    )
    functions = await owner.fetch(
        """select routine_name from information_schema.role_routine_grants
            where grantee in ('tallystick_writer', 'PUBLIC') and routine_schema = 'tallystick'"""
    )
    assert {tuple(item) for item in tables} == {
        ("logs", "SELECT"),
        ("events", "INSERT"),
        ("retry_keys", "SELECT"),
        ("retry_keys", "INSERT"),
    }
    assert {tuple(item) for item in columns} == {("logs", "size"), ("logs", "last_at")}
    assert {item["routine_name"] for item in functions} == {"was_appended"}
    member_of = await owner.fetchval("select count(*) from pg_auth_members where member = 'tallystick_writer'::regrole")
    assert member_of == 0


async def ask(writer: OwnConnection, log_id: int, seq: int, received_at: datetime, leaf: bytes) -> bool:
    return await writer.fetchval("select tallystick.was_appended($1, $2, $3, $4)", log_id, seq, received_at, leaf)


async def test_whether_an_event_is_there_is_told_only_to_who_knows_its_leaf(
    writer: OwnConnection, stored: asyncpg.Record
) -> None:
    place = (stored["log_id"], stored["seq"], stored["received_at"])
    leaf: bytes = stored["leaf_hash"]

    assert await ask(writer, *place, leaf)
    for wrong in (bytes(32), b"", leaf[:31], leaf + b"\0", leaf[:-1] + bytes([leaf[-1] ^ 1])):
        assert not await ask(writer, *place, wrong)
    log_id, seq, received_at = place
    assert not await ask(writer, log_id + 1, seq, received_at, leaf)
    assert not await ask(writer, log_id, seq + 1, received_at, leaf)
    assert not await ask(writer, log_id, seq, received_at + timedelta(milliseconds=1), leaf)
    assert await writer.fetchval("select tallystick.was_appended($1, $2, $3, null)", *place) is False
