"""Tallystick behind PgBouncer in transaction mode, set up as docs/how-to/connection-poolers.md says."""

import asyncio
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import asyncpg
import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from doors import open_door
from factories import append, digests, event, make_log, prepared, unique
from stored_events import Connection
from tallystick.database.migrate import migrate, migrations
from tallystick.database.partitions import maintain
from tallystick.database.pools import Database
from tallystick.log.commit import Probe, was_committed
from tallystick.log.writer import Writer, WriterMetrics
from tallystick.runtime.postgres import DATABASE, OWNER, PORT, EmbeddedPostgres
from tallystick.settings import DatabaseSettings, Settings, WriterSettings

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "connection-poolers.md").read_text()
ROLES = ("writer", "reader", "control", "worker")
SERVER_CONNECTIONS = 2
"""For each role: fewer than clients, so that they take turns on them."""

KEEPS_STATEMENTS = (1, 21)
"""Version of PgBouncer from which on it keeps prepared statements."""


def documented(kind: str) -> str:
    """The page's code of a kind."""
    return "\n".join(re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))


@dataclass(frozen=True)
class Pooler:
    """A running PgBouncer."""

    socket_dir: Path
    version: tuple[int, ...]

    def url(self, database: str, user: str = OWNER) -> str:
        return f"postgresql://{user}@/{database}?host={quote(str(self.socket_dir), safe='')}&port={PORT}"

    def settings(self, database: str, *, statement_cache: int = 0) -> DatabaseSettings:
        return DatabaseSettings(url=SecretStr(self.url(database)), statement_cache=statement_cache)


@contextmanager
def running(program: str, server: EmbeddedPostgres, folder: Path) -> Generator[Callable[[], str]]:
    """Run PgBouncer before a server, as the server's account, whose socket nobody else may use; gives what it logs."""
    users = folder / "users"
    users.write_text("".join(f'"{user}" ""\n' for user in (OWNER, *(f"tallystick_{role}" for role in ROLES))))
    config = folder / "pgbouncer.ini"
    config.write_text(
        f"""
[databases]
* = host={server.socket_dir} port={PORT}
[pgbouncer]
listen_port = {PORT}
unix_socket_dir = {folder}
auth_type = trust
auth_file = {users}
default_pool_size = {SERVER_CONNECTIONS}
log_connections = 0
log_disconnections = 0
log_stats = 0
{documented("ini")}
"""
    )
    for path in (folder, *folder.iterdir()):
        if server.account is not None:
            os.chown(path, server.account.uid, server.account.gid)
    log = folder / "log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [program, config],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            cwd="/",
            **server.identity,
        )
    try:
        yield log.read_text
    finally:
        process.terminate()
        process.wait(timeout=10)


@pytest.fixture(scope="module")
def program() -> str:
    """The path of PgBouncer."""
    found = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        pytest.skip("pgbouncer is not on the PATH: install it to run these tests")
    return found


@pytest.fixture(scope="module")
def version(program: str) -> tuple[int, ...]:
    """Its version: two numbers."""
    told = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout
    match = re.search(r"PgBouncer (\d+)\.(\d+)", told)
    assert match is not None
    return tuple(map(int, match.groups()))


@pytest_asyncio.fixture(scope="module")
async def pooler(postgres: EmbeddedPostgres, program: str, version: tuple[int, ...]) -> AsyncGenerator[Pooler]:
    folder = Path(tempfile.mkdtemp(prefix="tallystick-pooler-"))
    made = Pooler(folder, version)
    try:
        with running(program, postgres, folder) as log:
            await until_up(made, log)
            yield made
    finally:
        shutil.rmtree(folder)


async def until_up(pooler: Pooler, log: Callable[[], str]) -> None:
    """Wait until it takes connections."""
    try:
        async with asyncio.timeout(10):
            while True:
                try:
                    connection: Connection = await asyncpg.connect(pooler.url("postgres"), statement_cache_size=0)
                except OSError:
                    await asyncio.sleep(0.02)
                else:
                    await connection.close()
                    return
    except TimeoutError:
        pytest.fail(f"PgBouncer did not start: {log()}")


@pytest_asyncio.fixture
async def name(database_settings: DatabaseSettings) -> str:
    """The name of a migrated database, with the settings of the page on its roles."""
    assert database_settings.url is not None
    url = database_settings.url.get_secret_value()
    name = url.partition("@/")[2].partition("?")[0]
    owner: Connection = await asyncpg.connect(url)
    await owner.execute(documented("sql").replace(f"in database {DATABASE} ", f'in database "{name}" '))
    await owner.close()
    return name


@pytest.fixture(params=["unprepared", "prepared"])
def settings(request: pytest.FixtureRequest, pooler: Pooler, name: str) -> DatabaseSettings:
    """How to reach it through the pooler, in both of the page's ways."""
    if request.param == "unprepared":
        return pooler.settings(name)
    if pooler.version < KEEPS_STATEMENTS:
        pytest.skip(f"PgBouncer {pooler.version} keeps no prepared statements")
    return pooler.settings(name, statement_cache=256)


@pytest_asyncio.fixture
async def database(settings: DatabaseSettings) -> AsyncGenerator[Database]:
    async with Database.from_settings(settings) as database:
        yield database


@pytest_asyncio.fixture
async def direct(postgres: EmbeddedPostgres, name: str) -> AsyncGenerator[Connection]:
    """The owner's connection past the pooler."""
    connection: Connection = await asyncpg.connect(postgres.url(database=name))
    yield connection
    await connection.close()


async def test_the_api_makes_tenants_appends_and_reads(settings: DatabaseSettings, tmp_path: Path) -> None:
    async with open_door(Settings(home=tmp_path, database=settings)) as door:
        admin = door.bearer(platform=True)

        async def use(tenant_id: str) -> list[dict[str, Any]]:
            made = await door.client.post("/api/v1/tenants", json={"id": tenant_id, "name": tenant_id}, headers=admin)
            assert made.status_code == 201, made.text
            sent = [event(tenant_id=tenant_id, event_id=f"e-{n}", request_id=tenant_id) for n in range(20)]
            for body in [*sent, sent[0]]:  # the last one is a retry
                stored = await door.client.post("/api/v1/logs", json=body, headers=admin)
                assert stored.status_code == 201, stored.text
                found = await door.client.get(
                    f"/api/v1/logs/{stored.json()['id']}", params={"tenant_id": tenant_id}, headers=admin
                )
                assert found.json()["request_id"] == tenant_id
            page = await door.client.get("/api/v1/logs", params={"tenant_id": tenant_id}, headers=admin)
            return page.json()["items"]

        tenants = [unique("pooled") for _ in range(6)]
        for tenant_id, items in zip(tenants, await asyncio.gather(*map(use, tenants)), strict=True):
            assert [item["seq"] for item in items] == list(range(19, -1, -1))
            assert {item["request_id"] for item in items} == {tenant_id}
        assert (await door.client.get("/readyz")).status_code == 200


async def test_sessions_do_not_mix_on_shared_connections(database: Database, direct: Connection) -> None:
    logs = [await make_log(direct) for _ in range(4)]
    writer = Writer(database, WriterSettings(), digests(), WriterMetrics(CollectorRegistry()))
    await writer.start()

    async def use(number: int, log_id: int) -> None:
        for round_ in range(15):
            await writer.append(append(log_id, *(prepared() for _ in range(number + 1))))
            async with database.log_session(log_id) as connection:
                rows = await connection.fetch("select seq from tallystick.log_events order by seq")
                assert [row["seq"] for row in rows] == list(range((number + 1) * (round_ + 1)))

    await asyncio.gather(*(use(number, log_id) for number, log_id in enumerate(logs)))
    await writer.close()
    async with AsyncExitStack() as stack:
        for _ in range(2 * SERVER_CONNECTIONS):
            connection = await stack.enter_async_context(database.reader.acquire())
            assert await connection.fetchval("select count(*) from tallystick.log_events") == 0


@pytest.mark.parametrize("role", ROLES)
async def test_the_roles_bring_the_time_outs_that_the_pooler_drops(database: Database, role: str) -> None:
    shown = "select name, setting::int from pg_settings where name = any ($1) order by name"
    names = ["idle_in_transaction_session_timeout", "lock_timeout", "statement_timeout"]
    if role == "writer":
        connection = await database.connect_writer()
        async with connection.transaction():
            values = {row[0]: row[1] for row in await connection.fetch(shown, names)}
        await connection.close()
    else:
        async with getattr(database, role).acquire() as pooled, pooled.transaction():
            values = {row[0]: row[1] for row in await pooled.fetch(shown, names)}
    defaults = database.settings
    timeout = defaults.append_timeout if role == "writer" else defaults.statement_timeout
    assert values == {
        "idle_in_transaction_session_timeout": defaults.idle_in_transaction_timeout * 1000,
        "lock_timeout": defaults.lock_timeout * 1000,
        "statement_timeout": timeout * 1000,
    }


async def test_maintenance_and_the_question_after_a_lost_commit_go_through_it(
    database: Database, direct: Connection
) -> None:
    last = await direct.fetchval(
        "select max(inhrelid::regclass::text) from pg_inherits where inhparent = 'tallystick.events'::regclass"
    )
    await direct.execute(f"drop table {last}")
    assert (await maintain(database, "month"))["made"] == [last.removeprefix("tallystick.")]

    log_id = await make_log(direct)
    writers = [await database.connect_writer() for _ in range(2 * SERVER_CONNECTIONS)]
    try:
        asked = [was_committed(writer, Probe(log_id, 0, 0, bytes(32))) for writer in writers]
        assert await asyncio.gather(*asked) == [False] * len(writers)
    finally:
        await asyncio.gather(*(writer.close() for writer in writers))


async def test_migrations_leave_no_lock_behind(pooler: Pooler, superuser: Connection) -> None:
    name = unique("unmigrated")
    await superuser.execute(f'create database "{name}" owner {OWNER} template template0')
    settings = pooler.settings(name)

    applied = await asyncio.gather(*(migrate(settings) for _ in range(2)))
    assert sorted(migration.version for new in applied for migration in new) == [
        migration.version for migration in migrations(timescaledb=False)
    ]
    held = await superuser.fetchval(
        "select count(*) from pg_locks join pg_database on pg_database.oid = database"
        " where datname = $1 and locktype = 'advisory'",
        name,
    )
    assert held == 0
    assert await migrate(settings) == []
