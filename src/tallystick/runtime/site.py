"""A state directory in use: held, its log files kept small, and all processes that were started in it ended at last."""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tallystick.runtime.child import Child
from tallystick.runtime.logfiles import keep_bounded
from tallystick.runtime.state import StateDirectory
from tallystick.runtime.stopping import stop_event

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Floors:
    """Children, floor by floor: whoever stands higher needs those below, and is started after and ended before them."""

    _floors: list[list[Child]] = field(default_factory=list[list[Child]])
    _hurried: list[Child] = field(default_factory=list[Child])

    async def build(self, *children: Child, hurried: bool = False) -> None:
        """Start children, beside each other, on a new floor.

        Args:
            children: They are ended with the others, even where one cannot be started.
            hurried: Whether they are told when somebody hurries the end.

        Raises:
            ConfigurationError: One cannot be started or does not become ready.
        """
        self._floors.append(list(children))
        if hurried:
            self._hurried.extend(children)
        starting = [asyncio.ensure_future(child.start()) for child in children]
        try:
            await asyncio.gather(*starting)
        finally:
            for each in starting:
                each.cancel()
            await asyncio.gather(*starting, return_exceptions=True)

    def hurry(self) -> None:
        """Tell those who wait for others that nobody waits for them."""
        for child in self._hurried:
            child.send(signal.SIGINT)

    def pids(self) -> dict[str, int]:
        """The processes that run now, by name."""
        children = (child for floor in self._floors for child in floor)
        return {child.spec.name: child.pid for child in children if child.pid is not None}

    async def clear(self) -> None:
        """End all, from the top."""
        for floor in reversed(self._floors):
            await asyncio.gather(*(child.stop() for child in floor))


@dataclass(frozen=True, slots=True)
class Site:
    """A state directory in use.

    Attributes:
        state: It.
        floors: What runs in it.
        watched: Read end of a pipe that our own processes watch, see `runtime.stopping`.
        stop: Set when all of it must end.
        at_end: Left once nothing runs any more.
    """

    state: StateDirectory
    floors: Floors
    watched: int
    stop: asyncio.Event
    at_end: ExitStack

    async def unless_stopped(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Do the work; None where it was given up, when told to stop."""
        working = asyncio.ensure_future(work)
        stopping = asyncio.ensure_future(self.stop.wait())
        try:
            await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
            return working.result() if working.done() else None
        finally:
            for task in (working, stopping):
                task.cancel()
            await asyncio.wait((working, stopping))


@asynccontextmanager
async def occupied(state: StateDirectory, report: Callable[[str], None]) -> AsyncGenerator[Site]:
    """Use a state directory until the block ends. SIGINT and SIGTERM say so; a second one hurries the end.

    Raises:
        ConfigurationError: Another process uses it.
    """
    floors = Floors()
    stop = stop_event(None, floors.hurry)
    with state.lock(), _pipe() as watched, ExitStack() as at_end:
        bounding = asyncio.create_task(keep_bounded(state.logs, report))
        try:
            yield Site(state, floors, watched, stop, at_end)
        finally:
            state.run_file.unlink(missing_ok=True)
            await floors.clear()
            bounding.cancel()
            await asyncio.wait([bounding])
    report("stopped")


@contextmanager
def _pipe() -> Generator[int]:
    """The read end of a pipe whose write end lives as long as this process does."""
    watched, held = os.pipe()
    try:
        yield watched
    finally:
        os.close(watched)
        os.close(held)
