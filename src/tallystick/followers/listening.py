"""Takes wake-ups from the queue and tells all followers of this process: one message is for all of them."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from tallystick.errors import UnavailableError
from tallystick.followers.engine import FollowerEngine
from tallystick.ports import Message, Queue

_log = structlog.get_logger("tallystick.followers")

_MESSAGES: Final = 10_000
_WAIT_SECONDS: Final = 1.0


class WakeUpListener:
    """Runs the followers of one worker, and tells them which logs have grown.

    Args:
        queue: Tells it.
        engines: Of the followers.
        rest: Seconds between two looks while there is always something.
        turned: Called after each look, to show that it goes on.
    """

    def __init__(
        self,
        queue: Queue,
        engines: Sequence[FollowerEngine],
        rest: float = 0.2,
        turned: Callable[[], None] = lambda: None,
    ) -> None:
        self._queue = queue
        self._engines = engines
        self._rest = rest
        self._turned = turned

    async def run(self) -> None:
        """Listen and follow until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen())
            for engine in self._engines:
                group.create_task(engine.run())

    async def _listen(self) -> None:
        while True:
            self._turned()
            try:
                messages = await self._queue.receive("wake-ups", limit=_MESSAGES, wait=_WAIT_SECONDS)
                for message in messages:
                    self._notice(message)
                if messages:
                    await self._queue.done("wake-ups", messages)
                    await asyncio.sleep(self._rest)
            except UnavailableError as error:
                _log.warning("queue_down", error=type(error).__name__)
                await asyncio.sleep(_WAIT_SECONDS)

    def _notice(self, message: Message) -> None:
        log_id, colon, size = message.subject.partition(":")
        if colon and log_id.isdecimal() and size.isdecimal():
            for engine in self._engines:
                engine.notice(int(log_id), int(size), message.cause)
