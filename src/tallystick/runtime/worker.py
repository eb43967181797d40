"""The worker process: loops that run beside each other until told to stop."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import structlog

from tallystick.errors import UnavailableError
from tallystick.runtime.garbage import settle_garbage
from tallystick.runtime.stopping import stop_event

MAINTENANCE_INTERVAL = 3600.0
"""Seconds between two rounds of maintenance."""

_FIRST_RETRY, _LONGEST_RETRY = 1.0, 60.0

Loop = Callable[[], Awaitable[None]]


async def repeat(
    name: str, work: Callable[[], Awaitable[object]], interval: float, first_retry: float = _FIRST_RETRY
) -> None:
    """Do something now and then every ``interval`` seconds, sooner again while the database does not answer.

    Any other failure ends the loop, and with it the process: the supervisor starts a fresh one.
    """
    log: Any = structlog.get_logger(__name__)
    retry = first_retry
    while True:
        try:
            result = await work()
        except UnavailableError as error:
            log.warning("will be tried again", loop=name, seconds=retry, reason=error.detail)
            await asyncio.sleep(retry)
            retry = min(retry * 2, _LONGEST_RETRY)
        else:
            log.info("done", loop=name, result=result)
            retry = first_retry
            await asyncio.sleep(interval)


async def run_worker(loops: Sequence[Loop], watched: int | None = None) -> None:
    """Run the loops until told to stop.

    Args:
        loops: Each runs for ever; the first to fail ends all.
        watched: See `runtime.stopping`.
    """
    stop = stop_event(watched)
    settle_garbage()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_forever(loop)) for loop in loops]
        await stop.wait()
        for task in tasks:
            task.cancel()


async def _forever(loop: Loop) -> None:
    await loop()
