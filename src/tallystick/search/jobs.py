"""The job that makes a log's search index anew, beside the one that answers meanwhile."""

from dataclasses import dataclass
from typing import Final

from tallystick.database.pools import Database
from tallystick.followers import queries
from tallystick.followers.handing import hand_over
from tallystick.followers.leases import hold
from tallystick.followers.model import RestartLogError, Source, Stretch
from tallystick.jobs.model import Job, JobFailedError, Progress
from tallystick.jobs.service import JobService
from tallystick.ports import CorruptIndexError, ForgettingIndex, IndexBehindError, SearchIndex
from tallystick.search.follower import NAME, Turns, documents_of
from tallystick.search.queries import removed_of, tenant_of

REBUILD_INDEX: Final = "rebuild_index"
"""The kind of these jobs."""

_OURSELVES: Final = {"issuer": "tallystick", "subject": "search"}
_BATCH_BYTES: Final = 16 * 1024 * 1024


class IndexRebuild:
    """Fills a new generation of a log's index from the log, and swaps it in when it has caught up.

    What is filled already is how far a rebuild is, so after a crash it goes on there.

    Args:
        index: Of all logs.
        source: Reads the log.
        database: Where the follower's cursor is.
        turns: For large batches, those of the follower included.
        batch_events: Most events that are indexed together.
    """

    def __init__(
        self, index: ForgettingIndex, source: Source, database: Database, turns: Turns, *, batch_events: int = 20_000
    ) -> None:
        self._index = index
        self._turns = turns
        self._source = source
        self._database = database
        self._batch_events = batch_events

    async def run(self, job: Job, progress: Progress) -> None:
        """See `jobs.model.Handler`."""
        if job.log_id is None:
            raise JobFailedError("names no log")
        filling = _Filling(self._index, _generation_of(job), self._turns)
        await self._fill(job.log_id, filling, progress)
        # The follower must not append to the index that is about to go.
        async with hold(self._database, NAME, job.log_id) as lease:
            through = await self._fill(job.log_id, filling, progress)
            # What was removed since it was filled in, of which the index that goes was told.
            async with self._database.worker_session() as connection:
                removed = await removed_of(connection, job.log_id)
            await self._index.forget(job.log_id, removed, generation=filling.generation)
            await self._index.swap(job.log_id, filling.generation)
            await lease.move(through)

    async def discard(self, job: Job) -> None:
        """See `jobs.model.Handler`."""
        if job.log_id is not None:
            await self._index.drop(job.log_id, generation=_generation_of(job))

    async def _fill(self, log_id: int, filling: "_Filling", progress: Progress) -> int:
        """Fill a generation to the end of its log; returns the last seq that is in."""
        through = (await self._index.state(log_id, generation=filling.generation)).through
        received_us = None
        if through < 0:  # what could not be indexed is tried again
            async with self._database.worker_session() as connection:
                await queries.forget_quarantined(connection, NAME, log_id)
        while True:
            stretch = await self._source.read(
                log_id, through, received_us, limit=self._batch_events, max_bytes=_BATCH_BYTES
            )
            try:
                if stretch.through > through:
                    await hand_over(filling, self._database, log_id, stretch)
            except RestartLogError as restart:
                through, received_us = restart.after, None
                continue
            through, received_us = stretch.through, stretch.received_us
            done = through + 1
            if stretch.ended:  # what came since is for the follower
                await progress.report(done, done, {})
                return through
            await progress.report(done, max(await self._source.size(log_id), done), {})


async def request_rebuild(database: Database, jobs: JobService, log_id: int) -> None:
    """See to it that a log's index is made anew, by a job unless there is one already.

    Raises:
        DatabaseDownError: PostgreSQL does not answer.
    """
    async with database.control_session() as connection:
        tenant_id = await tenant_of(connection, log_id)
    await jobs.create(tenant_id, log_id, REBUILD_INDEX, {}, _OURSELVES)


def _generation_of(job: Job) -> str:
    return f"job-{job.id}"


@dataclass(frozen=True, slots=True)
class _Filling:
    """Appends to a generation."""

    index: SearchIndex
    generation: str
    turns: Turns

    @property
    def name(self) -> str:
        return NAME

    async def handle(self, log_id: int, stretch: Stretch) -> None:
        try:
            async with self.turns.of(stretch):
                documents = await documents_of(stretch.events)
                await self.index.append(
                    log_id, documents, through=stretch.through, after=stretch.after, generation=self.generation
                )
        except IndexBehindError as behind:
            raise RestartLogError(behind.through) from None
        except CorruptIndexError:
            await self.index.drop(log_id, generation=self.generation)
            raise RestartLogError(-1) from None
