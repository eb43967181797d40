"""Both queues keep the port's promises: the one that looks into the database, and SQS by a server that speaks it."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import TypeAlias

import asyncpg
import pytest
import pytest_asyncio

from factories import make_log
from queue_conformance import QueueConformance
from sqs_queues import open_queue
from stored_events import fill_log
from tallystick.adapters.sqs.queue import SqsQueue
from tallystick.database.pools import Database
from tallystick.followers import queries
from tallystick.followers.embedded import EmbeddedQueue
from tallystick.ports import Message, QueueKind

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


@dataclass
class RecordedWork:
    """Work that lies in a database, as all does."""

    database: Database
    owner: Connection

    async def grow(self, events: int) -> int:
        log_id = await make_log(self.owner)
        await fill_log(self.owner, log_id, events)
        return log_id

    async def ask(self) -> str:
        return await self.owner.fetchval(
            "insert into tallystick.jobs (tenant_id, kind, arguments, created_by)"
            " values ('_platform', 'work', '{}', '{}') returning id::text"
        )

    async def finish(self, kind: QueueKind, messages: Sequence[Message]) -> None:
        for message in messages:
            if kind == "wake-ups":
                log_id, _, size = message.subject.partition(":")
                await self._move(int(log_id), int(size) - 1)
            else:
                await self.owner.execute(
                    "update tallystick.jobs set state = 'succeeded', finished_at = now() where id = $1::text::uuid",
                    message.subject,
                )

    async def _move(self, log_id: int, seq: int) -> None:
        async with self.database.worker_session() as connection:
            await queries.lease(connection, "index", log_id, "test", 5)
            cursor = queries.Cursor(seq, None)
            await queries.advance(connection, "index", log_id, "test", cursor, 5)
            await queries.release(connection, "index", log_id, "test")


class TestEmbeddedQueue(QueueConformance):
    @pytest.fixture
    def queue(self, database: Database) -> EmbeddedQueue:
        return EmbeddedQueue(database, ["index"])

    @pytest.fixture
    def work(self, database: Database, owner: Connection) -> RecordedWork:
        return RecordedWork(database, owner)


class ToldWork:
    """Work that is nowhere but in messages."""

    def __init__(self) -> None:
        self._numbers = count(1)

    async def grow(self, events: int) -> int:  # noqa: ARG002
        return next(self._numbers)

    async def ask(self) -> str:
        return f"job-{next(self._numbers)}"

    async def finish(self, kind: QueueKind, messages: Sequence[Message]) -> None:
        """Nothing records it."""


class TestSqsQueue(QueueConformance):
    @pytest_asyncio.fixture
    async def queue(self, elasticmq_url: str) -> AsyncGenerator[SqsQueue]:
        async with open_queue(elasticmq_url) as queue:
            yield queue

    @pytest.fixture
    def work(self) -> ToldWork:
        return ToldWork()
