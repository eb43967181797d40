"""A deadline for every step of a test: what hangs fails, and says where each thread and each task stands.

`faulthandler_timeout` in pyproject.toml is behind it, for what not even a signal interrupts: it ends the process.
"""

import asyncio
import io
import signal
import sys
import threading
import traceback
from collections.abc import Generator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any

import pytest

STEP = 300.0
"""Seconds that the set-up, the call or the end of a test may take, unless something in it `allows` itself more."""

_AGAIN = 10.0


@contextmanager
def deadline(what: str, seconds: float = STEP, *, again: float = _AGAIN) -> Generator[None]:
    """Fail the test when the block takes longer.

    Args:
        what: It, in the message.
        seconds: How long it may take.
        again: Seconds to the next try, where what the first one raised was caught.
    """

    def overdue(_: int, frame: FrameType | None) -> None:
        pytest.fail(f"{what} takes longer than {seconds:g} s\n{standing(frame)}")

    before = signal.signal(signal.SIGALRM, overdue)
    around = signal.setitimer(signal.ITIMER_REAL, seconds, again)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, *around)


def allow(seconds: float) -> None:
    """Let the step under way take this long from now on: for what fetches servers and has a deadline of its own."""
    left, pause = signal.getitimer(signal.ITIMER_REAL)
    if 0 < left < seconds:
        signal.setitimer(signal.ITIMER_REAL, seconds, pause)


def standing(frame: FrameType | None) -> str:
    """Where every thread and every task of the running loop stands.

    Args:
        frame: Of the main thread.
    """
    said = io.StringIO()
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    main = threading.main_thread().ident
    for ident, stack in sys._current_frames().items():  # pyright: ignore[reportPrivateUsage] - the only way to them
        said.write(f"\nthread {names.get(ident, ident)}:\n")
        traceback.print_stack(frame if ident == main else stack, file=said)
    try:
        tasks = asyncio.all_tasks()
    except RuntimeError:
        return said.getvalue()
    for task in sorted(tasks, key=lambda task: task.get_name()):
        said.write(f"\ntask {task.get_name()}:\n")
        said.writelines(_awaited(task.get_coro()))
    return said.getvalue()


def _awaited(awaitable: Any) -> Generator[str]:
    """A line for a coroutine, for what it awaits, and so on: a task alone tells its outermost one."""
    while awaitable is not None:
        kind = next((kind for kind in ("cr", "ag", "gi") if hasattr(awaitable, f"{kind}_code")), None)
        if kind is None:
            yield f"  {awaitable!r}\n"
            return
        code: CodeType = getattr(awaitable, f"{kind}_code")
        frame: FrameType | None = getattr(awaitable, f"{kind}_frame")
        yield f"  {code.co_filename}:{frame.f_lineno if frame else 0} {code.co_qualname}\n"
        awaitable = getattr(awaitable, f"{kind}_yieldfrom" if kind == "gi" else f"{kind}_await")


def _step(item: pytest.Item, name: str) -> Generator[None, Any, Any]:
    with deadline(f"the {name} of {item.nodeid}"):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, Any, Any]:
    return (yield from _step(item, "set-up"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    return (yield from _step(item, "call"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, Any, Any]:
    return (yield from _step(item, "end"))
