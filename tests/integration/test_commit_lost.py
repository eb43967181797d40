"""A connection lost at COMMIT, or one that stalls: nobody is told before the writer knows, nothing is built on it."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from itertools import count
from pathlib import Path
from typing import Any, Final, TypeAlias
from urllib.parse import quote, urlsplit

import asyncpg
import pytest
import pytest_asyncio
import uvloop
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from factories import append, digests, prepared
from tallystick.database.pools import Database
from tallystick.errors import DatabaseDownError, UnavailableError
from tallystick.log.model import PreparedEvent
from tallystick.log.writer import Writer, WriterMetrics
from tallystick.runtime.postgres import EmbeddedPostgres
from tallystick.settings import DatabaseSettings, WriterSettings

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_COMMIT: Final = b"commit and chain\0"


class CuttingProxy:
    """Between writer and server; cuts one client's connection when it next sends what it is told."""

    def __init__(self, server_socket: Path) -> None:
        self._server_socket = server_socket
        self.cut_at: bytes | None = None
        self.deliver: bool = False
        self.cuts: int = 0
        self.stall_at: bytes | None = None
        self.healed = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_unix_connection(self._server_socket)
        answers = asyncio.create_task(_pump(upstream_reader, writer))
        with suppress(ConnectionError):  # the client may end it as well
            await self._forward(reader, upstream_reader, upstream_writer, answers)
        await _end(answers)
        writer.close()
        upstream_writer.close()

    async def _forward(
        self,
        reader: asyncio.StreamReader,
        upstream_reader: asyncio.StreamReader,
        upstream_writer: asyncio.StreamWriter,
        answers: asyncio.Task[None],
    ) -> None:
        while chunk := await reader.read(65536):
            if self.cut_at is not None and self.cut_at in chunk:
                self.cut_at = None
                self.cuts += 1
                await _end(answers)
                if self.deliver:
                    upstream_writer.write(chunk)
                    await upstream_writer.drain()
                    await upstream_reader.read(65536)
                return
            if self.stall_at is not None and self.stall_at in chunk:
                self.stall_at = None
                await self.healed.wait()
            upstream_writer.write(chunk)
            await upstream_writer.drain()


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):  # the one that it is for has gone
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()


@pytest_asyncio.fixture
async def proxy(postgres: EmbeddedPostgres) -> AsyncGenerator[tuple[CuttingProxy, Path]]:
    folder = Path(tempfile.mkdtemp(prefix="tallystick-proxy-"))
    proxy = CuttingProxy(postgres.socket_dir / ".s.PGSQL.5432")
    server = await asyncio.start_unix_server(proxy.serve, folder / ".s.PGSQL.5432")
    yield proxy, folder
    server.close()
    await server.wait_closed()
    shutil.rmtree(folder)


def through(folder: Path, settings: DatabaseSettings, **changes: float) -> DatabaseSettings:
    """The same database, reached through the proxy."""
    assert settings.url is not None
    name = settings.url.get_secret_value().partition("?")[0]
    url = SecretStr(f"{name}?host={quote(str(folder), safe='')}&port=5432")
    return DatabaseSettings.model_validate({"url": url, **changes})


@pytest.mark.parametrize("delivered", [True, False])
@pytest.mark.parametrize("with_key", [True, False])
async def test_the_answer_is_what_came_of_the_commit(
    proxy: tuple[CuttingProxy, Path],
    owner: Connection,
    database: Database,
    log_id: int,
    delivered: bool,
    with_key: bool,
) -> None:
    cutter, folder = proxy
    through_proxy = through(folder, database.settings)
    event = prepared(event_id="e-1" if with_key else None)
    async with AsyncExitStack() as stack:
        pools = await stack.enter_async_context(Database.from_settings(through_proxy))
        writer = Writer(pools, WriterSettings(), digests(), WriterMetrics(CollectorRegistry()))
        await writer.start()
        stack.push_async_callback(writer.close)
        await writer.append(append(log_id, prepared()))
        cutter.cut_at, cutter.deliver = _COMMIT, delivered

        (result,) = await asyncio.gather(writer.append(append(log_id, event)), return_exceptions=True)

        assert cutter.cuts == 1
        stored = await owner.fetchval("select count(*) from tallystick.events where log_id = $1", log_id)
        if delivered:
            assert not isinstance(result, BaseException)
            assert result.stored[0] is not None
            assert (result.stored[0].seq, stored) == (1, 2)
        else:
            assert isinstance(result, DatabaseDownError)
            assert stored == 1
        again = await writer.append(append(log_id, event))
        assert again.stored[0] is not None
        assert again.stored[0].known is (delivered and with_key)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
@pytest.mark.parametrize(
    ("cut_at", "events"),
    [
        (b"begin;", 5_000),
        (b"update tallystick.logs", 5_000),
        (b"COPY ", 5_000),
        (b"PGCOPY", 5_000),
        (b"update tallystick.logs", 5),
        (b'"salt":"', 5),
    ],
)
async def test_a_connection_lost_before_the_commit_stores_nothing_and_is_an_outage(
    proxy: tuple[CuttingProxy, Path],
    owner: Connection,
    database: Database,
    log_id: int,
    cut_at: bytes,
    events: int,
    run: Callable[[Coroutine[Any, Any, None]], None],
) -> None:
    """On both loops, as they differ in what they say of a write to what is closed; the API runs on uvloop."""
    cutter, folder = proxy

    async def lose() -> None:
        async with AsyncExitStack() as stack:
            pools = await stack.enter_async_context(Database.from_settings(through(folder, database.settings)))
            writer = Writer(pools, WriterSettings(), digests(), WriterMetrics(CollectorRegistry()))
            await writer.start()
            stack.push_async_callback(writer.close)

            with pytest.raises(DatabaseDownError):
                await writer.append(append(log_id, *(prepared() for _ in range(events))))
            again = await writer.append(append(log_id, prepared()))
            assert [place.seq for place in again.stored if place] == [0]

    cutter.cut_at = cut_at
    await asyncio.to_thread(run, lose())

    assert cutter.cuts == 1
    assert await owner.fetchval("select count(*) from tallystick.events where log_id = $1", log_id) == 1


@pytest.mark.parametrize(
    ("stall_at", "with_keys"),
    [
        (b"pg_backend_pid", False),
        (b"begin;", False),
        (b"update tallystick.logs", False),
        (b'"salt":"', False),
        (_COMMIT, False),
        (b"update tallystick.logs", True),
        (b"COPY ", True),
        (b"PGCOPY", True),
        (_COMMIT, True),
    ],
)
async def test_a_stall_that_heals_leaves_nothing_behind(
    proxy: tuple[CuttingProxy, Path],
    owner: Connection,
    database: Database,
    log_id: int,
    stall_at: bytes,
    with_keys: bool,
) -> None:
    stalling, folder = proxy
    settings = through(folder, database.settings, append_timeout=0.5, connect_timeout=0.5, writer_connections=2)
    numbers = count()

    def event() -> PreparedEvent:
        return prepared(event_id=f"e-{next(numbers)}" if with_keys else None)

    async with AsyncExitStack() as stack:
        pools = await stack.enter_async_context(Database.from_settings(settings))
        writer = Writer(pools, WriterSettings(), digests(), WriterMetrics(CollectorRegistry()))
        await writer.start()
        stack.push_async_callback(writer.close)
        stalling.stall_at = stall_at

        stalled = event()
        (result,) = await asyncio.gather(writer.append(append(log_id, stalled)), return_exceptions=True)
        assert stalling.stall_at is None
        assert isinstance(result, UnavailableError)
        stalling.healed.set()
        acknowledged: list[str] = []
        async with asyncio.timeout(20):
            while len(acknowledged) < 5:
                (later,) = await asyncio.gather(writer.append(append(log_id, event())), return_exceptions=True)
                if isinstance(later, BaseException):
                    assert isinstance(later, UnavailableError)
                else:
                    acknowledged += [place.id for place in later.stored if place]

    rows = await owner.fetch("select seq, body, body::jsonb ->> 'id' as id from tallystick.events order by seq")
    assert [row["seq"] for row in rows] == list(range(len(rows)))
    assert {row["id"] for row in rows} >= set(acknowledged)
    if isinstance(result, DatabaseDownError):  # it said that nothing was stored
        assert not any(row["body"].encode().endswith(stalled.rest) for row in rows)


async def test_a_transaction_that_was_begun_ahead_is_left_while_others_go_on(
    database_settings: DatabaseSettings, superuser: Connection, log_id: int
) -> None:
    settings = database_settings.model_copy(update={"writer_connections": 2})
    async with Database.from_settings(settings) as pools, asyncio.timeout(20):
        writer = Writer(pools, WriterSettings(), digests(), WriterMetrics(CollectorRegistry()))
        await writer.start()
        await writer.append(append(log_id, *(prepared() for _ in range(300))))
        (of_the_large,) = await _states(superuser, settings)
        while (await _states(superuser, settings))[of_the_large] != "idle":
            await writer.append(append(log_id, prepared()))
        await writer.close()


async def test_who_cannot_leave_a_transaction_connects_anew(
    proxy: tuple[CuttingProxy, Path], database: Database, log_id: int
) -> None:
    stalling, folder = proxy
    settings = through(folder, database.settings, writer_connections=2)
    async with AsyncExitStack() as stack:
        pools = await stack.enter_async_context(Database.from_settings(settings))
        writer = Writer(pools, WriterSettings(), digests(), WriterMetrics(CollectorRegistry()))
        await writer.start()
        stack.push_async_callback(writer.close)
        for stall, cut in ((b"rollback\0", None), (None, b"rollback\0")):
            stalling.stall_at, stalling.cut_at = stall, cut
            await writer.append(append(log_id, prepared()))
            async with asyncio.timeout(20):
                while stalling.stall_at or stalling.cut_at:  # noqa: ASYNC110 - of the proxy
                    await asyncio.sleep(0.05)
            outcome = await writer.append(append(log_id, prepared()))
            assert all(outcome.stored)
        stalling.healed.set()


async def _states(superuser: Connection, settings: DatabaseSettings) -> dict[int, str]:
    """What the writer's connections to this database are doing."""
    assert settings.url is not None
    name = urlsplit(settings.url.get_secret_value()).path.lstrip("/")
    rows = await superuser.fetch(
        "select pid, state from pg_stat_activity where datname = $1 and usename = 'tallystick_writer'", name
    )
    return {row["pid"]: row["state"] for row in rows}
