import asyncio
import signal
import time

import pytest

from deadlines import STEP, allow, deadline

SHORT, LONG = 0.05, 60.0


async def stuck(event: asyncio.Event) -> None:
    await event.wait()


def test_every_step_has_one() -> None:
    assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= STEP


def test_what_blocks_fails_and_says_where() -> None:
    with (
        pytest.raises(pytest.fail.Exception, match=r"it takes longer than 0.05 s(?s:.*)test_what_blocks"),
        deadline("it", SHORT),
    ):
        time.sleep(LONG)


def test_tasks_that_wait_for_ever_are_told_with_what_they_wait_for() -> None:
    """The innermost coroutine too, which the stack of a task does not show."""
    with asyncio.Runner() as runner:
        with pytest.raises(pytest.fail.Exception) as caught, deadline("it", SHORT):
            runner.run(stuck(asyncio.Event()))
        said = str(caught.value)
        assert said.index("task ") < said.index(" stuck\n") < said.index(" Event.wait\n")
        assert runner.run(asyncio.sleep(0, "the loop still runs")) == "the loop still runs"


def test_what_caught_the_failure_fails_again() -> None:
    with deadline("it", SHORT, again=SHORT):
        for _ in range(2):
            with pytest.raises(pytest.fail.Exception):
                time.sleep(LONG)


def test_one_step_may_be_allowed_more_and_the_next_has_its_own() -> None:
    left = signal.getitimer(signal.ITIMER_REAL)[0]
    with deadline("it", SHORT):
        allow(LONG)
        assert signal.getitimer(signal.ITIMER_REAL)[0] > LONG - 10
        allow(SHORT)
        assert signal.getitimer(signal.ITIMER_REAL)[0] > LONG - 10
    assert left - LONG < signal.getitimer(signal.ITIMER_REAL)[0] <= left
