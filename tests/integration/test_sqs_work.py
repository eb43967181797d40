"""Followers and jobs over SQS: messages alone drive them, and no fault of messages harms them."""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import asyncpg
import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry

from factories import append, digests, make_log, prepared
from sqs_queues import queue_settings
from tallystick.adapters.sqs.client import Sqs
from tallystick.adapters.sqs.queue import SqsQueue
from tallystick.adapters.sqs.queues import VISIBILITY_SECONDS
from tallystick.database.pools import Database
from tallystick.followers.engine import FollowerEngine, Pace
from tallystick.followers.listening import WakeUpListener
from tallystick.followers.model import Stretch
from tallystick.followers.wakeups import WakeUps
from tallystick.jobs.model import Job, Progress
from tallystick.jobs.runner import PARALLEL, JobRunner
from tallystick.log.source import LogSource
from tallystick.log.writer import Writer, WriterMetrics
from tallystick.ports import Depth, Message, Queue, QueueKind
from tallystick.settings import QueueSettings, WriterSettings

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

DEADLINE = 60.0
NEVER = 100_000.0
WITHOUT_SWEEPS = Pace(
    stretch_events=10,
    batch_events=10,
    batch_seconds=0.05,
    few_events=0,
    parallel=3,
    lease_seconds=5.0,
    sweep_seconds=NEVER,
)
WITH_SWEEPS = replace(WITHOUT_SWEEPS, sweep_seconds=0.3)


@dataclass
class Recorder:
    """A follower that remembers what it was handed."""

    name: str = "recorder"
    seen: dict[int, list[int]] = field(default_factory=dict[int, list[int]])
    handled: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, log_id: int, stretch: Stretch) -> None:
        self.seen.setdefault(log_id, []).extend(event.seq for event in stretch.events)
        self.handled.set()

    async def until_seen(self, sizes: Mapping[int, int]) -> None:
        """Wait until all events of logs were handed over, in order and once."""
        async with asyncio.timeout(DEADLINE):
            while any(len(self.seen.get(log_id, ())) < size for log_id, size in sizes.items()):
                self.handled.clear()
                await self.handled.wait()
        assert self.seen == {log_id: list(range(size)) for log_id, size in sizes.items()}


@dataclass
class UnreliableQueue:
    """A queue that loses, doubles, delays and shuffles messages, and forgets that they are done with."""

    queue: Queue
    chance: random.Random
    late: dict[QueueKind, list[Message]] = field(default_factory=dict[QueueKind, list[Message]])

    async def wake(self, sizes: Mapping[int, int], causes: Mapping[int, str]) -> None:
        await self.queue.wake({log_id: size for log_id, size in sizes.items() if self.chance.random() < 0.7}, causes)

    async def submit(self, job_id: str, cause: str | None = None) -> None:
        if self.chance.random() < 0.7:
            await self.queue.submit(job_id, cause)

    async def receive(self, kind: QueueKind, *, limit: int, wait: float) -> Sequence[Message]:
        messages = [*self.late.pop(kind, ()), *await self.queue.receive(kind, limit=limit, wait=wait)]
        messages += [message for message in messages if self.chance.random() < 0.3]
        self.chance.shuffle(messages)
        cut = self.chance.randint(0, len(messages))
        self.late[kind] = messages[cut:]
        return messages[:cut]

    async def done(self, kind: QueueKind, messages: Sequence[Message]) -> None:
        await self.queue.done(kind, [message for message in messages if self.chance.random() < 0.7])

    async def depth(self, kind: QueueKind) -> Depth:
        return await self.queue.depth(kind)


@asynccontextmanager
async def beside(*works: Coroutine[None, None, None]) -> AsyncGenerator[None]:
    """Let endless work run."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task


@asynccontextmanager
async def writing(database: Database, queue: Queue) -> AsyncGenerator[Writer]:
    """A writer whose logs wake who follows them."""
    async with WakeUps(queue, 0.05) as wake_ups:
        metrics = WriterMetrics(CollectorRegistry())
        writer = Writer(database, WriterSettings(), digests(), metrics, wake_ups.grown)
        await writer.start()
        yield writer
        await writer.close()


@pytest.fixture
def queue_of(elasticmq_url: str) -> QueueSettings:
    return queue_settings(elasticmq_url)


@pytest_asyncio.fixture
async def queue(queue_of: QueueSettings) -> AsyncGenerator[SqsQueue]:
    async with SqsQueue(queue_of) as made:
        yield made


def following(database: Database, recorder: Recorder, queue: Queue, pace: Pace) -> Coroutine[None, None, None]:
    return WakeUpListener(queue, [FollowerEngine(recorder, LogSource(database), database, pace)], rest=0.02).run()


async def cursors(database: Database) -> dict[int, int]:
    async with database.worker_session() as connection:
        rows = await connection.fetch("select log_id, seq from tallystick.cursors where follower = 'recorder'")
    return {row["log_id"]: row["seq"] for row in rows}


async def test_wake_ups_alone_drive_a_follower(database: Database, owner: Connection, queue: SqsQueue) -> None:
    logs = [await make_log(owner) for _ in range(4)]
    recorder = Recorder()
    async with (
        beside(following(database, recorder, queue, WITHOUT_SWEEPS)),
        writing(database, queue) as writer,
    ):
        for size in (10, 20, 21):
            for log_id in logs:
                more = size - len(recorder.seen.get(log_id, ()))
                await asyncio.gather(*(writer.append(append(log_id, prepared())) for _ in range(more)))
            await recorder.until_seen(dict.fromkeys(logs, size))


@pytest.mark.parametrize("seed", range(3))
async def test_faults_of_messages_change_nothing(
    database: Database, owner: Connection, queue: SqsQueue, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311  # no secret
    unreliable = UnreliableQueue(queue, chance)
    logs = [await make_log(owner) for _ in range(4)]
    sizes = dict.fromkeys(logs, 0)
    recorder = Recorder()
    async with (
        beside(*(following(database, recorder, unreliable, WITH_SWEEPS) for _ in range(2))),
        writing(database, unreliable) as writer,
    ):
        for _ in range(60):
            log_id = chance.choice(logs)
            events = [prepared() for _ in range(chance.randint(1, 8))]
            sizes[log_id] += len(events)
            await writer.append(append(log_id, *events))
        await recorder.until_seen({log_id: size for log_id, size in sizes.items() if size})
    assert await cursors(database) == {log_id: size - 1 for log_id, size in sizes.items() if size}


@dataclass
class LongWork:
    """A handler that works until it is let go."""

    begun: list[str] = field(default_factory=list[str])
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    go: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, job: Job, progress: Progress) -> None:
        await progress.report(0, 1, {})
        self.begun.append(job.id)
        self.changed.set()
        await self.go.wait()

    async def discard(self, job: Job) -> None:
        raise AssertionError(job)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something holds, looked at after each beginning."""
        async with asyncio.timeout(DEADLINE):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


async def ask(owner: Connection, log_id: int) -> str:
    return await owner.fetchval(
        "insert into tallystick.jobs (tenant_id, log_id, kind, arguments, created_by)"
        " select tenant_id, id, 'work', '{}', '{}' from tallystick.logs where id = $1 returning id::text",
        log_id,
    )


async def until_ended(owner: Connection, job_ids: Sequence[str]) -> None:
    query = "select count(*) from tallystick.jobs where id::text = any($1::text[]) and state = 'succeeded'"
    async with asyncio.timeout(DEADLINE):
        while await owner.fetchval(query, list(job_ids)) < len(job_ids):  # noqa: ASYNC110  # told by the database
            await asyncio.sleep(0.02)


async def until_none_is_given_out(settings: QueueSettings) -> int:
    """Wait until no message of a job is given out and not done with; returns how many wait."""
    async with Sqs(settings) as sqs:
        url = (await sqs.call("get_queue_url", QueueName=f"{settings.prefix}-jobs.fifo"))["QueueUrl"]
        async with asyncio.timeout(VISIBILITY_SECONDS / 2):  # not by its time running out
            while True:
                answer = await sqs.call("get_queue_attributes", QueueUrl=url, AttributeNames=["All"])
                if answer["Attributes"]["ApproximateNumberOfMessagesNotVisible"] == "0":
                    return int(answer["Attributes"]["ApproximateNumberOfMessages"])
                await asyncio.sleep(0.02)


async def test_a_long_job_holds_up_neither_its_tenants_events_nor_a_message(
    database: Database, owner: Connection, queue_of: QueueSettings, queue: SqsQueue
) -> None:
    logs = [await make_log(owner) for _ in range(PARALLEL + 1)]
    work, recorder = LongWork(), Recorder()
    runner = JobRunner(database, queue, {"work": work}, sweep_seconds=NEVER)
    async with (
        beside(runner.run(), following(database, recorder, queue, WITHOUT_SWEEPS)),
        writing(database, queue) as writer,
    ):
        jobs = [await ask(owner, log_id) for log_id in logs]
        for job_id in jobs[:PARALLEL]:
            await queue.submit(job_id)
        await work.until(lambda: len(work.begun) == PARALLEL)
        await queue.submit(jobs[PARALLEL])

        await writer.append(append(logs[0], *(prepared() for _ in range(25))))
        await recorder.until_seen({logs[0]: 25})
        # The job without a place waits where any worker can take it.
        assert await until_none_is_given_out(queue_of) >= 1
        assert len(work.begun) == PARALLEL

        work.go.set()
        await until_ended(owner, jobs)
