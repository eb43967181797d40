"""The worker process: loops that run beside each other until told to stop. Today it keeps the partitions."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import structlog

from tallystick.database.partitions import maintain
from tallystick.database.pools import Database
from tallystick.errors import UnavailableError
from tallystick.runtime.stopping import stop_event
from tallystick.settings import Settings

MAINTENANCE_INTERVAL = 3600.0
"""Seconds between two rounds of maintenance."""

_FIRST_RETRY, _LONGEST_RETRY = 1.0, 60.0

Loop = Callable[[Database], Awaitable[None]]


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


def standard_loops(settings: Settings) -> Sequence[Loop]:
    """What every worker does."""

    async def maintenance(database: Database) -> None:
        span = settings.database.partition_interval
        await repeat("maintenance", lambda: maintain(database, span), MAINTENANCE_INTERVAL)

    return (maintenance,)


async def run_worker(settings: Settings, loops: Sequence[Loop], watched: int | None = None) -> None:
    """Run the loops until told to stop.

    Args:
        settings: Where the database is.
        loops: Each is given the database and runs for ever; the first to fail ends all.
        watched: See `runtime.stopping`.
    """
    stop = stop_event(watched)
    async with Database.from_settings(settings.database) as database, asyncio.TaskGroup() as group:
        tasks = [group.create_task(_forever(loop, database)) for loop in loops]
        await stop.wait()
        for task in tasks:
            task.cancel()


async def _forever(loop: Loop, database: Database) -> None:
    await loop(database)
