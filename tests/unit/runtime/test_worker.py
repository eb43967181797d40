import asyncio
import gc
import os
from collections.abc import Generator

import pytest

from tallystick.errors import DatabaseDownError
from tallystick.runtime.stopping import stop_event
from tallystick.runtime.worker import repeat, run_worker

DEADLINE = 20.0


async def test_work_is_tried_again_while_the_database_is_down() -> None:
    answers = iter([DatabaseDownError("down"), DatabaseDownError("down"), None])
    done = asyncio.Event()

    async def work() -> None:
        answer = next(answers)
        if answer is not None:
            raise answer
        done.set()

    loop = asyncio.create_task(repeat("work", work, interval=3600, first_retry=0.01))
    async with asyncio.timeout(DEADLINE):
        await done.wait()
    loop.cancel()


async def test_work_is_done_again_after_its_interval() -> None:
    rounds: asyncio.Queue[int] = asyncio.Queue()

    async def work() -> None:
        rounds.put_nowait(1)

    loop = asyncio.create_task(repeat("work", work, interval=0.01))
    async with asyncio.timeout(DEADLINE):
        assert [await rounds.get() for _ in range(3)] == [1, 1, 1]
    loop.cancel()


async def test_any_other_failure_ends_the_loop() -> None:
    async def work() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        await repeat("work", work, interval=0.01)


async def test_the_end_of_the_supervisor_is_the_end_of_its_children() -> None:
    watched, held = os.pipe()
    stop = stop_event(watched)
    assert not stop.is_set()
    os.close(held)
    async with asyncio.timeout(DEADLINE):
        await stop.wait()
    os.close(watched)


@pytest.fixture
def own_thresholds() -> Generator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


@pytest.mark.usefixtures("own_thresholds")
async def test_the_thousands_of_documents_of_a_stretch_are_not_looked_through_for_garbage() -> None:
    looks = 0

    def count(phase: str, _: dict[str, int]) -> None:
        nonlocal looks
        looks += phase == "start"

    async def stretch() -> None:
        gc.callbacks.append(count)
        try:
            documents = [[number] for number in range(10_000)]
        finally:
            gc.callbacks.remove(count)
        raise LookupError(len(documents))

    with pytest.raises(ExceptionGroup):
        await run_worker([stretch])
    assert looks <= 1
