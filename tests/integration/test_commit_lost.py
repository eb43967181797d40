"""A connection lost at COMMIT: the writer asks whether the batch came through before it answers anybody."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypeAlias
from urllib.parse import quote

import asyncpg
import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from factories import append, digests, prepared
from tallystick.database.pools import Database
from tallystick.errors import DatabaseDownError
from tallystick.log.writer import Writer, WriterMetrics
from tallystick.runtime.postgres import EmbeddedPostgres
from tallystick.settings import DatabaseSettings, WriterSettings

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_COMMIT = b"COMMIT;"


class CuttingProxy:
    """Between writer and server; cuts one client's connection at its next COMMIT."""

    def __init__(self, server_socket: Path) -> None:
        self._server_socket = server_socket
        self.cut: bool = False
        self.deliver: bool = False
        self.cuts: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_unix_connection(self._server_socket)
        answers = asyncio.create_task(_pump(upstream_reader, writer))
        while chunk := await reader.read(65536):
            if self.cut and _COMMIT in chunk:
                self.cut = False
                self.cuts += 1
                await _end(answers)
                if self.deliver:
                    upstream_writer.write(chunk)
                    await upstream_writer.drain()
                    await upstream_reader.read(65536)
                break
            upstream_writer.write(chunk)
            await upstream_writer.drain()
        await _end(answers)
        writer.close()
        upstream_writer.close()


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
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
    assert database.settings.url is not None
    name = database.settings.url.get_secret_value().partition("?")[0]
    through_proxy = DatabaseSettings(url=SecretStr(f"{name}?host={quote(str(folder), safe='')}&port=5432"))
    event = prepared(event_id="e-1" if with_key else None)
    async with AsyncExitStack() as stack:
        pools = await stack.enter_async_context(Database.from_settings(through_proxy))
        writer = Writer(pools, WriterSettings(), digests(), WriterMetrics(CollectorRegistry()))
        await writer.start()
        stack.push_async_callback(writer.close)
        await writer.append(append(log_id, prepared()))
        cutter.cut, cutter.deliver = True, delivered

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
