"""Tells the queue which logs have grown: soon, and not too often."""

import asyncio
from contextlib import suppress
from typing import Final, NamedTuple, Self

import structlog

from tallystick.errors import UnavailableError
from tallystick.ports import Queue
from tallystick.tracing import UNTRACED, Tracing

_log = structlog.get_logger("tallystick.wakeups")

MOST_LOGS: Final = 100_000
"""Logs whose growth is remembered while the queue does not answer. Of the others the worker's sweeps learn."""

_LONGEST_REST: Final = 30.0
_FLUSH_SECONDS: Final = 2.0


class _Growth(NamedTuple):
    size: int
    cause: str | None


class WakeUps:
    """Sends at most one wake-up of a log per interval, and always one after its last growth.

    Logs that grew in one interval go together. While the queue does not answer, only the newest size of each is kept.

    Args:
        queue: Is told.
        interval: Seconds between two messages.
        tracing: Knows what a growth comes of.
    """

    def __init__(self, queue: Queue, interval: float, tracing: Tracing = UNTRACED) -> None:
        self._queue = queue
        self._interval = interval
        self._tracing = tracing
        self._grown: dict[int, _Growth] = {}
        self._changed = asyncio.Event()
        self._sending: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._sending = asyncio.create_task(self._send_for_ever(), name="wake-ups")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def grown(self, log_id: int, size: int) -> None:
        """Note that a log has grown. Costs next to nothing and never fails."""
        self._note(log_id, _Growth(size, self._tracing.cause()))

    def _note(self, log_id: int, growth: _Growth) -> None:
        known = self._grown.get(log_id)
        if known is None and len(self._grown) >= MOST_LOGS:
            return
        if known is None or known.size < growth.size:
            self._grown[log_id] = growth
        self._changed.set()

    async def close(self) -> None:
        """Stop, after one last try to tell what was not told yet."""
        if self._sending is None:
            return
        self._sending.cancel()
        with suppress(asyncio.CancelledError):
            await self._sending
        self._sending = None
        with suppress(UnavailableError, TimeoutError):
            async with asyncio.timeout(_FLUSH_SECONDS):
                await self._send()

    async def _send_for_ever(self) -> None:
        rest = self._interval
        while True:
            await self._changed.wait()
            try:
                await self._send()
            except Exception as error:  # noqa: BLE001  # whatever it is: sweeps find what is not told, and it may pass
                rest = min(2 * rest, _LONGEST_REST)
                _log.warning("queue_down", error=type(error).__name__, reason=str(error), seconds=rest)
            else:
                rest = self._interval
            await asyncio.sleep(rest)

    async def _send(self) -> None:
        grown, self._grown = self._grown, {}
        self._changed.clear()
        if not grown:
            return
        sizes = {log_id: growth.size for log_id, growth in grown.items()}
        causes = {log_id: growth.cause for log_id, growth in grown.items() if growth.cause is not None}
        try:
            await self._queue.wake(sizes, causes)
        except BaseException:
            for log_id, growth in grown.items():
                self._note(log_id, growth)
            raise
