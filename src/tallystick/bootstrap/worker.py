"""What a worker does: it keeps the partitions, follows the logs and runs jobs."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from tallystick.bootstrap.adapters import search_index, work_queue
from tallystick.database.partitions import maintain
from tallystick.database.pools import Database
from tallystick.followers.engine import FollowerEngine, Pace
from tallystick.jobs.runner import JobRunner
from tallystick.log.source import LogSource
from tallystick.runtime.worker import MAINTENANCE_INTERVAL, Loop, repeat
from tallystick.search.follower import IndexFollower
from tallystick.search.jobs import REBUILD_INDEX, IndexRebuild
from tallystick.settings import Settings


@asynccontextmanager
async def worker_loops(settings: Settings) -> AsyncGenerator[Sequence[Loop]]:
    """Make the loops of a worker, over connections of their own.

    Raises:
        ConfigurationError: Settings need a person.
    """
    async with (
        Database.from_settings(settings.database) as database,
        search_index(settings) as index,
        work_queue(settings, database) as queue,
    ):
        source = LogSource(database)
        engine = FollowerEngine(IndexFollower(index, database), source, database, queue, _pace(settings))
        sweep_seconds = settings.queue.sweep_interval
        jobs = JobRunner(
            database, queue, {REBUILD_INDEX: IndexRebuild(index, source, database)}, sweep_seconds=sweep_seconds
        )

        async def keep_partitions() -> None:
            span = settings.database.partition_interval
            await repeat("maintenance", lambda: maintain(database, span), MAINTENANCE_INTERVAL)

        yield keep_partitions, engine.run, jobs.run


def _pace(settings: Settings) -> Pace:
    return Pace(
        batch_events=settings.search.commit_events,
        batch_seconds=settings.search.commit_seconds,
        few_events=settings.search.slow_events,
        few_seconds=settings.search.slow_seconds,
        sweep_seconds=settings.queue.sweep_interval,
    )
