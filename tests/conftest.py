"""The database that tests run on: one PostgreSQL per test process, a migrated database per test that asks for one."""

import gc
import os
import shutil
import tempfile
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import asyncpg
import hypothesis
import psutil
import pytest
import pytest_asyncio
from hypothesis import HealthCheck
from pydantic import SecretStr

import deadlines
import ordering
from databases import running_postgres
from doors import Door, LiveDoor, live_door, open_door
from factories import make_log, unique
from kms_servers import make_key
from s3_servers import CREDENTIALS, make_bucket, s3_settings
from servers import shared_server
from tallystick.database.migrate import migrate
from tallystick.database.pools import Database
from tallystick.runtime.postgres import EmbeddedPostgres
from tallystick.settings import DatabaseSettings, KeySettings, ObjectSettings, Settings
from valkey_servers import ValkeyServer, running, valkey_program

hypothesis.settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis.settings.load_profile("tests")
"""How fast a shared machine is tells nothing of what is tested on it."""

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_FAST = {
    "fsync": "off",
    "synchronous_commit": "on",
    "full_page_writes": "off",
    "max_connections": "200",
    "max_wal_size": "256MB",
}
"""Durability is proven by the chaos tests, on a server that syncs."""

_MEMORY = Path("/dev/shm")  # noqa: S108  # a folder of our own is made in it
_MEMORY_BYTES = 1 << 30
"""What the files of one process take at most, with `max_wal_size` as above."""

_PROCESS_BYTES = 1 << 30
_SHARED_BYTES = 3 << 30
"""What a test process takes itself, and what all share: OpenSearch, ElasticMQ and whatever else runs."""


def _scratch(processes: int) -> Path | None:
    """Where files come and go fastest, if there is room: tests make and drop a thousand databases."""
    wanted = _MEMORY_BYTES * processes
    roomy = _MEMORY.is_dir() and min(shutil.disk_usage(_MEMORY).free, psutil.virtual_memory().available) > wanted
    return _MEMORY if roomy else None


@pytest.hookimpl(tryfirst=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """Twice as many processes as cores, where the memory suffices: half of the time they wait for servers."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    most = (psutil.virtual_memory().available - _SHARED_BYTES) // (_PROCESS_BYTES + _MEMORY_BYTES)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(min(most, 2 * cores), cores)


def pytest_addoption(parser: pytest.Parser) -> None:
    """How much chaos: the form of `make test` is short."""
    parser.addoption("--kills", type=int, default=6, help="processes that the chaos test kills")
    parser.addoption("--kill-events", type=int, default=5_000, help="events that it stores at least")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Give every step of a test a deadline, all an order, and their folders a place where nothing waits for a sync."""
    config.pluginmanager.register(deadlines, "deadlines")
    config.pluginmanager.register(ordering, "ordering")
    processes = len(config.getoption("tx", None) or ()) or 1
    scratch = _scratch(processes)
    if scratch is not None:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(scratch))


def pytest_collection_finish() -> None:
    """Leave 600,000 objects of thousands of tests out of every later search for garbage, a seventh of all CPU."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def postgres() -> Generator[EmbeddedPostgres]:
    """A running PostgreSQL, away from pytest's folders, which as root no other account may search."""
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    state = Path(tempfile.mkdtemp(prefix="tallystick-test-", dir=_scratch(processes)))
    with running_postgres(state, _FAST) as server:
        yield server


@pytest.fixture(scope="session")
def session_folder(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """A folder that all processes of this test session share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if hasattr(request.config, "workerinput") else own


@pytest.fixture(scope="session")
def opensearch_url(session_folder: Path) -> Generator[str]:
    """The session's OpenSearch."""
    with shared_server("opensearch", session_folder) as url:
        yield url


@pytest.fixture(scope="session")
def elasticmq_url(session_folder: Path) -> Generator[str]:
    """The session's ElasticMQ, which speaks SQS."""
    with shared_server("elasticmq", session_folder) as url:
        yield url


@pytest.fixture(scope="session")
def s3_url(session_folder: Path) -> Generator[str]:
    """The session's server that speaks S3, with a bucket, and the credentials for it in the environment."""
    os.environ.update(CREDENTIALS)
    with shared_server("s3", session_folder) as url:
        make_bucket(url)
        yield url


@pytest.fixture(scope="session")
def kms_url(session_folder: Path) -> Generator[str]:
    """The session's server that speaks KMS, and the credentials for it in the environment."""
    os.environ.update(CREDENTIALS)
    with shared_server("kms", session_folder) as url:
        yield url


@pytest.fixture(scope="session")
def valkey_url(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """The test process's Valkey, or Redis, with nothing in it but what its tests put there."""
    with running(ValkeyServer(valkey_program(), tmp_path_factory.mktemp("valkey"))) as server:
        yield server.url


@pytest.fixture
def kms_settings(kms_url: str) -> KeySettings:
    """Settings with a new key in KMS."""
    return KeySettings(kind="kms", key_id=make_key(kms_url), endpoint=kms_url)


@pytest.fixture(params=["folder", "s3"])
def object_settings(request: pytest.FixtureRequest) -> ObjectSettings:
    """Settings of an empty object store of each kind."""
    if request.param == "folder":
        return ObjectSettings()
    return s3_settings(request.getfixturevalue("s3_url"), unique(f"test-{os.getpid()}"))


@dataclass(frozen=True)
class Template:
    """A migrated database to copy."""

    server: EmbeddedPostgres
    name: str

    @asynccontextmanager
    async def copied(self) -> AsyncGenerator[DatabaseSettings]:
        """A database like it, until the block ends."""
        name = unique("test")
        admin: Connection = await asyncpg.connect(self.server.url(user="postgres", database="postgres"))
        try:
            # By its files: half the time where nothing is synced.
            await admin.execute(
                f'create database "{name}" template "{self.name}" strategy file_copy owner tallystick_owner'
            )
            try:
                await admin.execute(f'revoke temporary on database "{name}" from public')
                yield DatabaseSettings(url=SecretStr(self.server.url(database=name)))
            finally:
                await admin.execute(f'drop database "{name}" with (force)')
        finally:
            await admin.close()


@pytest_asyncio.fixture(scope="session")
async def template(postgres: EmbeddedPostgres) -> Template:
    """The schema of this release, made by its migrations."""
    await migrate(DatabaseSettings(url=SecretStr(postgres.url())))
    return Template(postgres, "tallystick")


@pytest_asyncio.fixture
async def database_settings(template: Template) -> AsyncGenerator[DatabaseSettings]:
    """A fresh migrated database."""
    async with template.copied() as settings:
        yield settings


@pytest_asyncio.fixture
async def database(database_settings: DatabaseSettings) -> AsyncGenerator[Database]:
    """Pools over a fresh migrated database."""
    async with Database.from_settings(database_settings) as pools:
        yield pools


@pytest_asyncio.fixture
async def owner(database: Database) -> AsyncGenerator[Connection]:
    """A connection as the schema's owner, for what no role of ours may do."""
    url = database.settings.url
    assert url is not None
    connection: Connection = await asyncpg.connect(url.get_secret_value())
    yield connection
    await connection.close()


@pytest_asyncio.fixture
async def superuser(postgres: EmbeddedPostgres) -> AsyncGenerator[Connection]:
    """A connection as the server's superuser, who ends other roles' sessions."""
    connection: Connection = await asyncpg.connect(postgres.url(user="postgres", database="postgres"))
    yield connection
    await connection.close()


@pytest_asyncio.fixture
async def log_id(owner: Connection) -> int:
    """An empty log."""
    return await make_log(owner)


@pytest.fixture
def settings(database_settings: DatabaseSettings, tmp_path: Path) -> Settings:
    """Settings of an installation on a fresh migrated database."""
    return Settings(home=tmp_path, database=database_settings)


@pytest_asyncio.fixture
async def door(settings: Settings) -> AsyncGenerator[Door]:
    """The whole API, with the tenant `acme`."""
    async with open_door(settings) as opened:
        await opened.make_tenant("acme")
        yield opened


@pytest_asyncio.fixture
async def live(settings: Settings) -> AsyncGenerator[LiveDoor]:
    """The same behind a socket."""
    async with live_door(settings) as opened:
        yield opened
