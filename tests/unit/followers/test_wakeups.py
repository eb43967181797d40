"""Wake-ups: soon, seldom, always after the last growth, and remembered while the queue is away."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from time import monotonic

from tallystick.errors import UnavailableError
from tallystick.followers import wakeups
from tallystick.followers.wakeups import WakeUps
from tallystick.ports import Depth, Message, QueueKind
from tallystick.tracing import Untraced

DEADLINE = 10.0


class HeardQueue:
    """A queue of which only what it is told matters."""

    def __init__(self) -> None:
        self.heard: list[tuple[float, dict[int, int]]] = []
        self.causes: list[dict[int, str]] = []
        self.tries = 0
        self.down = False
        self._told = asyncio.Event()

    async def wake(self, sizes: Mapping[int, int], causes: Mapping[int, str]) -> None:
        await asyncio.sleep(0)
        self.tries += 1
        self._told.set()
        if self.down:
            raise UnavailableError("away")
        self.heard.append((monotonic(), dict(sizes)))
        self.causes.append(dict(causes))

    async def submit(self, job_id: str, cause: str | None = None) -> None:
        raise AssertionError(job_id, cause)

    async def receive(self, kind: QueueKind, *, limit: int, wait: float) -> Sequence[Message]:
        raise AssertionError(kind, limit, wait)

    async def done(self, kind: QueueKind, messages: Sequence[Message]) -> None:
        raise AssertionError(kind, messages)

    async def depth(self, kind: QueueKind) -> Depth:
        raise AssertionError(kind)

    @property
    def newest(self) -> dict[int, int]:
        """The last size told of each log."""
        return {log_id: size for _, sizes in self.heard for log_id, size in sizes.items()}

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something holds, looked at after each try."""
        async with asyncio.timeout(DEADLINE):
            while not condition():
                self._told.clear()
                await self._told.wait()


async def test_logs_that_grow_together_are_told_of_together() -> None:
    queue = HeardQueue()
    async with WakeUps(queue, 0.05) as wake_ups:
        for log_id in range(50):
            wake_ups.grown(log_id, 1)
        wake_ups.grown(7, 3)
        wake_ups.grown(7, 2)  # an answer that was overtaken
        await queue.until(lambda: bool(queue.heard))
    assert [sizes for _, sizes in queue.heard] == [{**dict.fromkeys(range(50), 1), 7: 3}]


async def test_a_log_is_told_of_once_in_an_interval_and_after_its_last_growth() -> None:
    queue = HeardQueue()
    interval, size = 0.1, 0
    async with WakeUps(queue, interval) as wake_ups:
        end = monotonic() + 5.5 * interval
        while monotonic() < end:
            size += 1
            wake_ups.grown(7, size)
            await asyncio.sleep(0)
        await queue.until(lambda: queue.newest[7] == size)
    moments = [moment for moment, _ in queue.heard]
    assert 3 <= len(moments) <= 7
    assert all(later - earlier >= interval * 0.9 for earlier, later in pairwise(moments))


async def test_what_a_queue_missed_it_is_told_when_it_is_back() -> None:
    queue = HeardQueue()
    queue.down = True
    async with WakeUps(queue, 0.01) as wake_ups:
        wake_ups.grown(7, 1)
        wake_ups.grown(8, 1)
        await queue.until(lambda: queue.tries == 2)
        wake_ups.grown(7, 5)
        queue.down = False
        await queue.until(lambda: queue.newest == {7: 5, 8: 1})
    assert len(queue.heard) == 1


async def test_the_end_tells_what_is_left() -> None:
    queue = HeardQueue()
    async with WakeUps(queue, DEADLINE) as wake_ups:
        wake_ups.grown(7, 1)
        await queue.until(lambda: queue.newest == {7: 1})
        wake_ups.grown(7, 2)
    assert queue.newest == {7: 2}


async def test_the_end_does_not_wait_for_a_queue_that_is_away() -> None:
    queue = HeardQueue()
    queue.down = True
    async with asyncio.timeout(DEADLINE), WakeUps(queue, 0.01) as wake_ups:
        wake_ups.grown(7, 1)
    assert queue.heard == []


async def test_memory_is_bounded_while_the_queue_is_away() -> None:
    queue = HeardQueue()
    wake_ups = WakeUps(queue, 0.01)
    for log_id in range(wakeups.MOST_LOGS + 10):
        wake_ups.grown(log_id, 1)
    wake_ups.grown(0, 2)
    async with wake_ups:
        await queue.until(lambda: bool(queue.heard))
    assert len(queue.newest) == wakeups.MOST_LOGS
    assert queue.newest[0] == 2
    with suppress(UnavailableError):
        await wake_ups.close()


class OneCause(Untraced):
    """Something is under way, and it changes."""

    def __init__(self) -> None:
        self.under_way: str | None = None

    def cause(self) -> str | None:
        return self.under_way


async def test_the_cause_of_the_newest_growth_is_told_also_when_the_queue_was_away() -> None:
    queue, tracing = HeardQueue(), OneCause()
    queue.down = True
    async with WakeUps(queue, 0.01, tracing) as wake_ups:
        for size, tracing.under_way in ((1, "first"), (3, "third"), (2, "second")):
            wake_ups.grown(7, size)
        tracing.under_way = None
        wake_ups.grown(8, 1)
        await queue.until(lambda: queue.tries > 0)
        queue.down = False
        await queue.until(lambda: bool(queue.heard))
    assert queue.newest == {7: 3, 8: 1}
    assert queue.causes == [{7: "third"}]
