"""Runs jobs in the worker: leased by their row, so that no message is on its way for long."""

import asyncio
import os
import secrets
import socket
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

import structlog

from tallystick.database.pools import Database
from tallystick.errors import UnavailableError
from tallystick.jobs import queries
from tallystick.jobs.model import (
    MAX_ATTEMPTS,
    Handler,
    Job,
    JobCancelledError,
    JobFailedError,
    JobPostponedError,
    JobState,
)
from tallystick.ports import Queue
from tallystick.tracing import UNTRACED, Tracing

_log = structlog.get_logger("tallystick.jobs")

PARALLEL: Final = 2
"""Jobs of unlimited kinds that one worker runs beside each other; each limited kind has places beside them."""

_ASIDE_SECONDS: Final = 2.0
"""How long a job is left for which its kind has no place."""

_WAIT_SECONDS: Final = 1.0
_PAUSE_SECONDS: Final = 10.0
_STOPPED: Final = "its worker stopped"


Ended: TypeAlias = Callable[[Job], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of a job.

    Attributes:
        state: How it ended; None where it is to be tried again.
        error: Why.
        counted: Whether this attempt counts.
        pause: Seconds after which it is tried again; those of the runner where None.
    """

    state: JobState | None
    error: str | None = None
    counted: bool = True
    pause: float | None = None


@dataclass(frozen=True, slots=True)
class _Progress:
    """Records how far a job is, while the lease is ours."""

    database: Database
    job_id: str
    holder: str

    async def report(self, done: int, total: int | None, checkpoint: Mapping[str, Any]) -> None:
        async with self.database.worker_session() as connection:
            wanted_to_end = await queries.report_job(connection, self.job_id, self.holder, done, total, checkpoint)
        if wanted_to_end is not False:
            raise JobCancelledError


@dataclass(slots=True)
class _Place:
    """One of the places for jobs that run beside each other."""

    taken: bool = False


class JobRunner:
    """Takes jobs from the queue, and from their table what the queue has lost.

    Args:
        database: Where jobs are recorded.
        queue: Tells of new ones.
        handlers: By kind.
        lease_seconds: Seconds after which the job of a dead worker is another's to go on with.
        sweep_seconds: Seconds between two looks into the table.
        pause_seconds: Seconds after which a job that broke off is tried again.
        limits: By kind, how many this worker runs at once; of a kind that has a limit, one for each tenant.
        ended: Told of each job whose end is recorded, as it is then.
        turned: Called after each look for work, and while jobs run, to show that it goes on.
        tracing: Of each attempt.
    """

    def __init__(  # noqa: PLR0913  # how it goes about it has defaults
        self,
        database: Database,
        queue: Queue,
        handlers: Mapping[str, Handler],
        *,
        lease_seconds: float = 15.0,
        sweep_seconds: float = 30.0,
        pause_seconds: float = _PAUSE_SECONDS,
        limits: Mapping[str, int] | None = None,
        ended: Ended | None = None,
        turned: Callable[[], None] = lambda: None,
        tracing: Tracing = UNTRACED,
    ) -> None:
        self._database = database
        self._queue = queue
        self._handlers = handlers
        self._lease_seconds = lease_seconds
        self._sweep_seconds = sweep_seconds
        self._pause_seconds = pause_seconds
        self._holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._limits = dict(limits or {})
        self._ended = ended
        self._turned = turned
        self._tracing = tracing
        self._running: list[Job] = []
        self._beginning = asyncio.Lock()
        self._free = asyncio.Semaphore(PARALLEL + sum(self._limits.values()))

    async def run(self) -> None:
        """Run jobs until cancelled; what runs then is gone on with by the next worker."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._listen(group))
                group.create_task(self._sweep(group))
        finally:
            with suppress(UnavailableError):  # else their leases run out
                await self._leave()

    async def _leave(self) -> None:
        """Leave what runs to the next worker, which finds it by its sweep.

        That is all that carries our name: a lease may have been given although nobody waited for the answer any more.
        """
        async with self._database.worker_session() as connection:
            for job_id, kind in await queries.leave_jobs(connection, self._holder, _STOPPED):
                _log.info("job_left", job_id=job_id, kind=kind, state="postponed", error=_STOPPED)

    async def _listen(self, group: asyncio.TaskGroup) -> None:
        while True:
            self._turned()
            try:
                await self._take(group)
            except UnavailableError as error:
                _log.warning("queue_down", error=type(error).__name__)
                await asyncio.sleep(_WAIT_SECONDS)

    async def _take(self, group: asyncio.TaskGroup) -> None:
        """Take a message, once there is a place for its job: else it would wait here, kept from other workers."""
        async with self._place() as place:
            messages = await self._queue.receive("jobs", limit=1, wait=_WAIT_SECONDS)
            for message in messages:
                await self._begin(group, message.subject, place, message.cause)
            if messages:
                await self._queue.done("jobs", messages)

    async def _sweep(self, group: asyncio.TaskGroup) -> None:
        while True:
            with suppress(UnavailableError):
                async with self._database.worker_session() as connection:
                    found = await queries.find_open(connection)
                for job_id in found:
                    async with self._place() as place:
                        await self._begin(group, job_id, place)
            await asyncio.sleep(self._sweep_seconds)

    @asynccontextmanager
    async def _place(self) -> AsyncGenerator[_Place]:
        """Wait for a place; it is free again afterwards, unless a job has taken it."""
        await self._free.acquire()
        place = _Place()
        try:
            yield place
        finally:
            if not place.taken:
                self._free.release()

    async def _begin(self, group: asyncio.TaskGroup, job_id: str, place: _Place, cause: str | None = None) -> None:
        """Lease a job and start it in a place, unless its kind has none."""
        async with self._beginning, self._database.worker_session() as connection:
            full, tenants = self._full()
            if (full or tenants) and await queries.set_aside(connection, job_id, full, tenants, _ASIDE_SECONDS):
                return
            job = await queries.lease_job(connection, job_id, self._holder, self._lease_seconds)
            if job is not None:
                place.taken = True
                self._running.append(job)
                group.create_task(self._run(job, cause))

    def _full(self) -> tuple[list[str], list[str]]:
        """Kinds that have no place, and of the limited ones each kind and tenant that has its only place taken."""
        limited = [job for job in self._running if job.kind in self._limits]
        counts = Counter(job.kind for job in limited)
        full = [kind for kind, most in self._limits.items() if counts[kind] >= most]
        if len(self._running) - len(limited) >= PARALLEL:
            full += [kind for kind in self._handlers if kind not in self._limits]
        return full, [f"{job.kind} {job.tenant_id}" for job in limited]

    async def _run(self, job: Job, cause: str | None) -> None:
        try:
            handler = self._handlers.get(job.kind)
            told = {"tallystick.job.id": job.id, "tallystick.job.attempt": job.attempts}
            with self._tracing.span(f"job {job.kind}", told, kind="consumer", causes=[cause] if cause else ()) as span:
                outcome = await self._attempt(job, handler)
                span.tell({"tallystick.job.state": outcome.state or "postponed"})
            if handler and outcome.state in (JobState.CANCELLED, JobState.FAILED):
                # First: nobody comes back to a job whose end is recorded.
                outcome = await self._discard(job, handler) or outcome
            with suppress(UnavailableError):  # else the lease runs out, and it is done again
                await self._record(job, outcome)
        finally:
            # Not by its id: what was put off may run again by now.
            self._running = [each for each in self._running if each is not job]
            self._free.release()

    async def _attempt(self, job: Job, handler: Handler | None) -> _Outcome:  # noqa: PLR0911  # one for each end
        """Run a job, as far as that goes."""
        if job.cancel_requested:
            return _Outcome(JobState.CANCELLED)
        if handler is None:
            return _Outcome(JobState.FAILED, f"this release runs no jobs of kind {job.kind}")
        if job.attempts > MAX_ATTEMPTS:
            return _Outcome(JobState.FAILED, f"begun {MAX_ATTEMPTS} times and never ended: see the worker's log")
        running = asyncio.ensure_future(handler.run(job, _Progress(self._database, job.id, self._holder)))
        beating = asyncio.create_task(self._keep(job, running))
        try:
            await running
        except JobFailedError as error:
            return _Outcome(JobState.FAILED, str(error))
        except (UnavailableError, JobPostponedError) as error:
            return _put_off(error)
        except JobCancelledError:
            return _Outcome(JobState.CANCELLED)
        except asyncio.CancelledError:
            if not beating.done():  # nobody wanted this job to end: it is the worker that stops
                raise
            return _Outcome(JobState.CANCELLED)
        except Exception as error:  # noqa: BLE001  # a fault of ours: it may pass
            _log.exception("job_broke_off", job_id=job.id, kind=job.kind)
            return _Outcome(None, type(error).__name__)
        finally:
            beating.cancel()
        return _Outcome(JobState.SUCCEEDED)

    async def _discard(self, job: Job, handler: Handler) -> _Outcome | None:
        """Remove what a job leaves; what becomes of the job where that fails."""
        try:
            if await self._renew(job) is None:
                return _Outcome(None, "LeaseLost", counted=False)
            discarding = asyncio.ensure_future(handler.discard(job))
            beating = asyncio.create_task(self._keep(job, discarding, heeding=False))
            try:
                await discarding
            except asyncio.CancelledError:
                if not beating.done():  # it is the worker that stops
                    raise
                return _Outcome(None, "LeaseLost", counted=False)
            finally:
                beating.cancel()
        except Exception as error:  # noqa: BLE001  # it may pass, and the worker must not end for it
            _log.warning("job_leaves_something", job_id=job.id, kind=job.kind, error=type(error).__name__)
            return _Outcome(None, type(error).__name__, counted=False)
        return None

    async def _record(self, job: Job, outcome: _Outcome) -> None:
        """Record what became of a job, unless it is another worker's by now."""
        _log.info("job_left", job_id=job.id, kind=job.kind, state=outcome.state or "postponed", error=outcome.error)
        ended: list[Job] = []
        async with self._database.worker_session() as connection:
            if outcome.state is not None:
                if await queries.end_job(connection, job.id, self._holder, outcome.state, outcome.error):
                    ended = await queries.find_jobs(connection, [job.id])
            else:
                pause = self._pause_seconds if outcome.pause is None else outcome.pause
                await queries.postpone_job(
                    connection, job.id, self._holder, pause, outcome.error or "", counted=outcome.counted
                )
        if self._ended is not None:
            for each in ended:
                await self._ended(each)

    async def _keep(self, job: Job, running: "asyncio.Future[None]", *, heeding: bool = True) -> None:
        """Renew the lease while a job runs; end the job when that is wanted (and heeded), or the lease is lost."""
        while True:
            await asyncio.sleep(min(self._lease_seconds / 3, 1.0))
            self._turned()
            with suppress(UnavailableError):
                wanted_to_end = await self._renew(job)
                if wanted_to_end is None or (wanted_to_end and heeding):
                    running.cancel()
                    return

    async def _renew(self, job: Job) -> bool | None:
        """Renew the lease of a job: whether somebody wants it to end, or None where it is lost."""
        async with self._database.worker_session() as connection:
            return await queries.renew_job(connection, job.id, self._holder, self._lease_seconds)


def _put_off(error: UnavailableError | JobPostponedError) -> _Outcome:
    """A job that can do nothing for now, by no fault of its own."""
    if isinstance(error, UnavailableError):
        return _Outcome(None, error.detail, counted=False)
    pause = max((error.until - datetime.now(UTC)).total_seconds(), 0.0)
    return _Outcome(None, error.reason, counted=False, pause=pause)
