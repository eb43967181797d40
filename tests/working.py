"""A worker in this process."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from tallystick.bootstrap.worker import worker_loops
from tallystick.settings import Settings


@asynccontextmanager
async def working(settings: Settings) -> AsyncGenerator[None]:
    """A worker, until the block ends."""
    async with worker_loops(settings) as loops:
        tasks = [asyncio.ensure_future(loop()) for loop in loops]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def hurried(settings: Settings) -> Settings:
    """The same, but for a worker that indexes events as soon as it can."""
    return settings.model_copy(
        update={
            "search": settings.search.model_copy(update={"commit_seconds": 0.05}),
            "queue": settings.queue.model_copy(update={"sweep_interval": 0.2}),
        }
    )
