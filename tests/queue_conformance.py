"""What every queue must do. A test module gives a `queue` fixture and takes these tests over by inheritance.

A queue that looks into the database knows nothing but what lies there. So a test says what happened through `Work`,
which records it and tells the queue.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from tallystick.ports import Depth, Message, Queue, QueueKind

DEADLINE = 20.0
WAIT = 1.0


class Work(Protocol):
    """Makes work that a queue tells of."""

    async def grow(self, events: int) -> int:
        """Make a log with so many events, not yet told of; returns its id."""
        ...

    async def ask(self) -> str:
        """Record a job, not yet told of; returns its id."""
        ...

    async def finish(self, kind: QueueKind, messages: Sequence[Message]) -> None:
        """Record that the work of messages is done."""
        ...


async def take(queue: Queue, work: Work, kind: QueueKind, wanted: int) -> list[str]:
    """Take messages and be done with each, until so many different subjects came."""
    subjects: dict[str, None] = {}
    async with asyncio.timeout(DEADLINE):
        while len(subjects) < wanted:
            messages = await queue.receive(kind, limit=1_000, wait=WAIT)
            await work.finish(kind, messages)
            await queue.done(kind, messages)
            subjects |= dict.fromkeys(message.subject for message in messages)
    return list(subjects)


async def assert_empty(queue: Queue, kind: QueueKind) -> None:
    """Nothing is to be had."""
    assert await queue.receive(kind, limit=10, wait=0) == []


class QueueConformance:
    """The tests. `queue` and `work` are fresh for each."""

    async def test_nothing_comes_from_nothing(self, queue: Queue) -> None:
        for kind in ("wake-ups", "jobs"):
            await assert_empty(queue, kind)

    async def test_a_log_that_grew_is_told_of(self, queue: Queue, work: Work) -> None:
        log_id = await work.grow(3)
        await queue.wake({log_id: 3}, {})
        assert await take(queue, work, "wake-ups", 1) == [f"{log_id}:3"]
        await assert_empty(queue, "wake-ups")

    async def test_many_logs_are_told_of(self, queue: Queue, work: Work) -> None:
        logs = [await work.grow(1) for _ in range(25)]
        await queue.wake(dict.fromkeys(logs, 1), {})
        assert sorted(await take(queue, work, "wake-ups", 25)) == sorted(f"{log_id}:1" for log_id in logs)
        await assert_empty(queue, "wake-ups")

    async def test_a_job_is_told_of_until_it_is_done(self, queue: Queue, work: Work) -> None:
        jobs = [await work.ask() for _ in range(3)]
        for job_id in jobs:
            await queue.submit(job_id)
        assert sorted(await take(queue, work, "jobs", 3)) == sorted(jobs)
        await assert_empty(queue, "jobs")

    async def test_no_more_comes_than_was_asked_for(self, queue: Queue, work: Work) -> None:
        logs = [await work.grow(1) for _ in range(3)]
        await queue.wake(dict.fromkeys(logs, 1), {})
        assert len(await queue.receive("wake-ups", limit=2, wait=WAIT)) <= 2

    async def test_who_waits_is_told_at_once(self, queue: Queue, work: Work) -> None:
        waiting = asyncio.create_task(queue.receive("jobs", limit=1, wait=DEADLINE))
        job_id = await work.ask()
        async with asyncio.timeout(DEADLINE / 2):
            await queue.submit(job_id)
            (message,) = await waiting
        assert message.subject == job_id

    async def test_it_tells_how_much_waits(self, queue: Queue, work: Work) -> None:
        log_id = await work.grow(3)
        await queue.wake({log_id: 3}, {})
        for _ in range(2):
            await queue.submit(await work.ask())
        assert (await queue.depth("wake-ups")).waiting == 1
        assert await queue.depth("jobs") == Depth(waiting=2)
        await take(queue, work, "jobs", 2)
        assert await queue.depth("jobs") == Depth(waiting=0)

    async def test_telling_nothing_is_nothing(self, queue: Queue) -> None:
        await queue.wake({}, {})
        await queue.done("wake-ups", [])
        await assert_empty(queue, "wake-ups")
