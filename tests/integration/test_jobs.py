"""Jobs over a real database: run once, gone on with after a crash, ended on request."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeAlias

import pytest

from tallystick.auth.keys import SigningKeys
from tallystick.database.pools import Database
from tallystick.errors import SearchDownError, UnavailableError
from tallystick.followers.embedded import EmbeddedQueue
from tallystick.jobs import queries
from tallystick.jobs.model import MAX_ATTEMPTS, Job, JobFailedError, JobState, Progress
from tallystick.jobs.queries import JobFilter, JobPlace
from tallystick.jobs.runner import PARALLEL, JobRunner
from tallystick.jobs.service import JobService
from tallystick.ports import Message, QueueKind
from tallystick.query.cursor import CursorCodec

TENANT = "_platform"
AUTHOR = {"issuer": "tallystick", "subject": "ada"}
DEADLINE = 20.0


async def ask(database: Database, kind: str = "work", **arguments: object) -> Job:
    async with database.control_session() as connection:
        job = await queries.insert_job(connection, TENANT, None, kind, arguments, AUTHOR)
    assert job is not None
    return job


async def look(database: Database, job: Job) -> Job:
    async with database.control_session() as connection:
        found = await queries.get_job(connection, TENANT, job.id)
    assert found is not None
    return found


async def until(database: Database, job: Job, condition: Callable[[Job], bool]) -> Job:
    """Look at a job until something holds of it."""
    async with asyncio.timeout(DEADLINE):
        while not condition(found := await look(database, job)):  # noqa: ASYNC110  # it is written through the database
            await asyncio.sleep(0.02)
    return found


Run: TypeAlias = Callable[[Job, Progress], Awaitable[None]]


@dataclass(frozen=True)
class Kind:
    """Runs jobs by a function, and notes which were to be discarded."""

    work: Run
    discarded: list[str]
    failures: list[Exception]

    async def run(self, job: Job, progress: Progress) -> None:
        await self.work(job, progress)

    async def discard(self, job: Job) -> None:
        if self.failures:
            raise self.failures.pop()
        self.discarded.append(job.id)


@asynccontextmanager
async def running(
    database: Database, kinds: Mapping[str, Run], failures: list[Exception] | None = None, lease_seconds: float = 1.0
) -> AsyncGenerator[list[str]]:
    """A worker that runs jobs; gives the ids of those it discarded, once it has failed to in these ways."""
    discarded: list[str] = []
    handlers = {kind: Kind(work, discarded, failures or []) for kind, work in kinds.items()}
    runner = JobRunner(
        database,
        EmbeddedQueue(database, []),
        handlers,
        lease_seconds=lease_seconds,
        sweep_seconds=0.2,
        pause_seconds=0.05,
    )
    task = asyncio.create_task(runner.run())
    try:
        yield discarded
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_job_runs_and_tells_how_far_it_is(database: Database) -> None:
    async def work(job: Job, progress: Progress) -> None:
        assert job.arguments == {"much": 3}
        for done in range(1, 4):
            await progress.report(done, 3, {"done": done})

    job = await ask(database, much=3)
    assert (job.state, job.created_by) == (JobState.QUEUED, AUTHOR)
    async with running(database, {"work": work}):
        ended = await until(database, job, lambda job: job.state.ended)
    assert (ended.state, ended.done, ended.total, ended.attempts) == (JobState.SUCCEEDED, 3, 3, 1)
    assert ended.checkpoint == {"done": 3}
    assert ended.finished_at is not None


async def test_a_job_whose_worker_died_goes_on_where_it_was(database: Database) -> None:
    begun: list[int] = []

    async def work(job: Job, progress: Progress) -> None:
        first = int(job.checkpoint.get("done", 0))
        begun.append(first)
        for done in range(first + 1, 6):
            await progress.report(done, 5, {"done": done})

    job = await ask(database)
    async with database.worker_session() as connection:
        assert await queries.lease_job(connection, job.id, "one that died", 0.5)
        await queries.report_job(connection, job.id, "one that died", 3, 5, {"done": 3})
    async with running(database, {"work": work}):
        ended = await until(database, job, lambda job: job.state.ended)
    assert (ended.state, ended.done, ended.attempts, begun) == (JobState.SUCCEEDED, 5, 2, [3])


async def test_a_worker_that_stops_leaves_its_job_to_the_next_at_once(database: Database) -> None:
    begun = asyncio.Event()

    async def first(_: Job, progress: Progress) -> None:
        await progress.report(1, 2, {"after": 1})
        begun.set()
        await asyncio.Event().wait()

    async def second(job: Job, progress: Progress) -> None:
        await progress.report(2, 2, {"went_on_after": job.checkpoint["after"]})

    job = await ask(database)
    async with asyncio.timeout(DEADLINE), running(database, {"work": first}, lease_seconds=3600):
        await begun.wait()
    left = await look(database, job)
    assert (left.state, left.error) == (JobState.RUNNING, "its worker stopped")
    async with running(database, {"work": second}, lease_seconds=3600):
        ended = await until(database, job, lambda job: job.state.ended)
    assert (ended.state, ended.checkpoint) == (JobState.SUCCEEDED, {"went_on_after": 1})
    assert ended.attempts == 1, "a release that is rolled while it runs is no fault of the job's"


async def test_a_worker_that_stops_at_any_moment_keeps_no_job(database: Database) -> None:
    """The answer to its wish for a job may be on its way: the job is its own then, and it does not know."""

    async def first(_: Job, progress: Progress) -> None:
        await progress.report(1, 2, {})
        await asyncio.Event().wait()

    job = await ask(database)
    for moment in range(150):
        async with running(database, {"work": first}, lease_seconds=3600):
            for _ in range(moment):
                await asyncio.sleep(0)
        async with database.worker_session() as connection:
            assert await queries.find_open(connection) == [job.id], moment
    assert (await look(database, job)).attempts == 0


async def test_a_running_job_is_cancelled(database: Database) -> None:
    async def work(_: Job, progress: Progress) -> None:
        await progress.report(1, 2, {})
        await asyncio.Event().wait()

    job = await ask(database)
    async with running(database, {"work": work}) as discarded:
        await until(database, job, lambda job: job.done == 1)
        async with database.control_session() as connection:
            await queries.request_cancel(connection, TENANT, job.id)
        ended = await until(database, job, lambda job: job.state.ended)
        assert (ended.state, discarded) == (JobState.CANCELLED, [job.id])


async def test_a_job_has_not_ended_before_its_leftovers_are_gone(database: Database) -> None:
    async def work(_: Job, __: Progress) -> None:
        raise JobFailedError("there is nothing to do")

    job = await ask(database)
    failures: list[Exception] = [UnavailableError("it does not answer"), LookupError()]
    async with running(database, {"work": work}, failures) as discarded:
        ended = await until(database, job, lambda job: job.state.ended)
        assert (failures, discarded) == ([], [job.id])
    assert (ended.state, ended.error) == (JobState.FAILED, "there is nothing to do")


async def test_a_waiting_job_is_cancelled(database: Database) -> None:
    job = await ask(database)
    async with database.control_session() as connection:
        await queries.request_cancel(connection, TENANT, job.id)
    async with running(database, {}):
        ended = await until(database, job, lambda job: job.state.ended)
    assert ended.state == JobState.CANCELLED


async def test_a_job_that_cannot_succeed_says_why(database: Database) -> None:
    async def work(_: Job, __: Progress) -> None:
        raise JobFailedError("there is nothing to do")

    job, other = await ask(database), await ask(database, "nobody's")
    async with running(database, {"work": work}):
        failed = await until(database, job, lambda job: job.state.ended)
        unknown = await until(database, other, lambda job: job.state.ended)
    assert (failed.state, failed.error, failed.attempts) == (JobState.FAILED, "there is nothing to do", 1)
    assert (unknown.state, unknown.error) == (JobState.FAILED, "this release runs no jobs of kind nobody's")


async def test_a_job_that_breaks_off_is_tried_a_few_times_and_tells_no_content(database: Database) -> None:
    async def work(_: Job, __: Progress) -> None:
        raise ValueError("a secret of an event")

    job = await ask(database)
    async with running(database, {"work": work}):
        ended = await until(database, job, lambda job: job.state.ended)
    assert (ended.state, ended.attempts) == (JobState.FAILED, MAX_ATTEMPTS + 1)
    assert ended.error is not None
    assert "secret" not in ended.error


async def test_an_outage_is_waited_out(database: Database) -> None:
    tries: list[int] = []

    async def work(_: Job, __: Progress) -> None:
        tries.append(1)
        if len(tries) <= MAX_ATTEMPTS + 1:
            raise SearchDownError("away")

    job = await ask(database)
    async with running(database, {"work": work}):
        ended = await until(database, job, lambda job: job.state.ended)
    assert (ended.state, ended.attempts) == (JobState.SUCCEEDED, 1)


async def test_another_tenants_job_is_not_there(database: Database) -> None:
    job = await ask(database)
    async with database.control_session() as connection:
        assert await queries.get_job(connection, "acme", job.id) is None
        await queries.request_cancel(connection, "acme", job.id)
    assert not (await look(database, job)).cancel_requested


async def test_jobs_are_listed_from_the_newest(database: Database) -> None:
    jobs = [await ask(database) for _ in range(5)]
    ours = JobFilter(TENANT)
    async with database.control_session() as connection:
        first = await queries.list_jobs(connection, ours, None, 2)
        rest = await queries.list_jobs(connection, ours, JobPlace(first[-1].created_at, first[-1].id), 10)
        back = await queries.list_jobs(connection, ours, JobPlace(rest[-1].created_at, rest[-1].id), 3, backwards=True)
        none = await queries.list_jobs(connection, JobFilter(TENANT, JobState.FAILED), None, 10)
    listed = [*first, *rest]
    assert sorted(job.id for job in listed) == sorted(job.id for job in jobs)
    assert [job.created_at for job in listed] == sorted((job.created_at for job in jobs), reverse=True)
    assert [job.id for job in back] == [job.id for job in listed[1:4]]
    assert none == []


class Mute(EmbeddedQueue):
    """A queue that does not answer."""

    async def submit(self, job_id: str, cause: str | None = None) -> None:
        raise UnavailableError(f"tells nobody of {job_id}, which {cause} wants")

    async def receive(self, kind: QueueKind, *, limit: int, wait: float) -> Sequence[Message]:
        raise UnavailableError(f"gives none of {limit} {kind} in {wait} s")


async def test_a_job_of_which_no_message_told_is_found_by_the_sweep(database: Database, log_id: int) -> None:
    async def work(_: Job, __: Progress) -> None:
        return

    queue = Mute(database, [])
    service = JobService(database, queue, CursorCodec(SigningKeys("k1", {"k1": b"thirty-two bytes of a secret ..."})))
    job = await service.create(TENANT, log_id, "work", {}, AUTHOR)
    handlers = {"work": Kind(work, [], [])}
    runner = asyncio.create_task(JobRunner(database, queue, handlers, sweep_seconds=0.2).run())
    try:
        ended = await until(database, job, lambda job: job.state.ended)
    finally:
        runner.cancel()
        with pytest.raises(asyncio.CancelledError):
            await runner
    assert ended.state == JobState.SUCCEEDED


async def test_it_shows_that_it_goes_on_while_jobs_take_all_places(database: Database) -> None:
    begun = asyncio.Semaphore(0)
    turns: asyncio.Queue[None] = asyncio.Queue()

    async def work(_: Job, __: Progress) -> None:
        begun.release()
        await asyncio.Event().wait()

    runner = JobRunner(
        database,
        EmbeddedQueue(database, []),
        {"work": Kind(work, [], [])},
        lease_seconds=0.3,
        sweep_seconds=0.2,
        turned=lambda: turns.put_nowait(None),
    )
    for number in range(PARALLEL):
        await ask(database, much=number)
    task = asyncio.create_task(runner.run())
    try:
        async with asyncio.timeout(DEADLINE):
            for _ in range(PARALLEL):
                await begun.acquire()
            while not turns.empty():
                turns.get_nowait()
            for _ in range(3):
                await turns.get()
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
