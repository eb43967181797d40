"""Raw binary COPY by one connection into the same table: the ceiling that bulk writes are compared with."""

import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, TypeAlias

import asyncpg
from pydantic import SecretStr

from tallystick.bench.baseline import own_database
from tallystick.bench.instance import Server
from tallystick.bench.report import Figure
from tallystick.bench.rows import StoredEvents
from tallystick.bench.usage import Meter, family
from tallystick.database.migrate import migrate
from tallystick.log import copyrows
from tallystick.settings import DatabaseSettings

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

BLOCK: Final = 20_000
"""Rows in one COPY, which is one transaction."""

_NAME: Final = "tallystick_bench_copy"


class Copier:
    """One connection, and the rows of one log that it copies."""

    def __init__(self, connection: Connection, events: StoredEvents) -> None:
        self._connection = connection
        self._events = events

    async def run(self, seconds: float) -> Figure:
        """Copy blocks of rows until their copying, without their forming, took this long."""
        spent = 0.0
        copied = 0
        meter = Meter({"postgres": family(self._connection.get_server_pid())})
        cpu = 0.0
        while spent < seconds:
            now_ms = time.time_ns() // 1_000_000
            block = copyrows.HEADER + b"".join(self._events.next(now_ms) for _ in range(BLOCK)) + copyrows.TRAILER
            meter.start()
            began = time.perf_counter()
            await self._connection.copy_to_table(
                "events", schema_name="tallystick", columns=copyrows.COLUMNS, source=_chunks(block), format="binary"
            )
            took = time.perf_counter() - began
            cpu += meter.stop().get("postgres", 0.0) * took
            spent += took
            copied += BLOCK
        return Figure("raw binary COPY", copied / spent, spent, cpu={"postgres": cpu / spent})


async def _chunks(block: bytes, size: int = 256 * 1024) -> AsyncIterator[bytes]:
    view = memoryview(block)
    for start in range(0, len(block), size):
        yield bytes(view[start : start + size])


@asynccontextmanager
async def copier(server: Server) -> AsyncGenerator[Copier]:
    """Make a database with our schema on the same server, and a connection to it."""
    async with own_database(server, _NAME) as url:
        await migrate(DatabaseSettings(url=SecretStr(url)))
        connection: Connection = await asyncpg.connect(url)
        try:
            await connection.execute("insert into tallystick.tenants (id, name) values ('copy', 'Copy')")
            log_id = await connection.fetchval(
                "insert into tallystick.logs (tenant_id, name) values ('copy', 'events') returning id"
            )
            yield Copier(connection, StoredEvents(log_id, "copy", 0, seed=1))
        finally:
            await connection.close()
