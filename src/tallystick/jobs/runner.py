"""Runs jobs in the worker: leased by their row, so that no message is on its way for long."""

import asyncio
import os
import secrets
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import structlog

from tallystick.database.pools import Connection, Database
from tallystick.errors import UnavailableError
from tallystick.jobs import queries
from tallystick.jobs.model import MAX_ATTEMPTS, Handler, Job, JobCancelledError, JobFailedError, JobState
from tallystick.ports import Queue

_log = structlog.get_logger("tallystick.jobs")

PARALLEL: Final = 2
"""Jobs that one worker runs beside each other."""

_WAIT_SECONDS: Final = 1.0
_PAUSE_SECONDS: Final = 10.0

_End: TypeAlias = Callable[[Connection], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Progress:
    """Records how far a job is, while the lease is ours."""

    database: Database
    job_id: str
    holder: str

    async def report(self, done: int, total: int, checkpoint: Mapping[str, Any]) -> None:
        async with self.database.worker_session() as connection:
            wanted_to_end = await queries.report_job(connection, self.job_id, self.holder, done, total, checkpoint)
        if wanted_to_end is not False:
            raise JobCancelledError


class JobRunner:
    """Takes jobs from the queue, and from their table what the queue has lost.

    Args:
        database: Where jobs are recorded.
        queue: Tells of new ones.
        handlers: By kind.
        lease_seconds: Seconds after which the job of a dead worker is another's to go on with.
        sweep_seconds: Seconds between two looks into the table.
        pause_seconds: Seconds after which a job that broke off is tried again.
    """

    def __init__(
        self,
        database: Database,
        queue: Queue,
        handlers: Mapping[str, Handler],
        *,
        lease_seconds: float = 15.0,
        sweep_seconds: float = 30.0,
        pause_seconds: float = _PAUSE_SECONDS,
    ) -> None:
        self._database = database
        self._queue = queue
        self._handlers = handlers
        self._lease_seconds = lease_seconds
        self._sweep_seconds = sweep_seconds
        self._pause_seconds = pause_seconds
        self._holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._free = asyncio.Semaphore(PARALLEL)

    async def run(self) -> None:
        """Run jobs until cancelled; what runs then is gone on with by the next worker."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen(group))
            group.create_task(self._sweep(group))

    async def _listen(self, group: asyncio.TaskGroup) -> None:
        while True:
            try:
                messages = await self._queue.receive("jobs", limit=1, wait=_WAIT_SECONDS)
                for message in messages:
                    await self._begin(group, message.subject)
                if messages:
                    await self._queue.done("jobs", messages)
            except UnavailableError as error:
                _log.warning("queue_down", error=type(error).__name__)
                await asyncio.sleep(_WAIT_SECONDS)

    async def _sweep(self, group: asyncio.TaskGroup) -> None:
        while True:
            with suppress(UnavailableError):
                async with self._database.worker_session() as connection:
                    found = await queries.find_open(connection)
                for job_id in found:
                    await self._begin(group, job_id)
            await asyncio.sleep(self._sweep_seconds)

    async def _begin(self, group: asyncio.TaskGroup, job_id: str) -> None:
        """Lease a job and start it, once there is a place for it."""
        await self._free.acquire()
        try:
            async with self._database.worker_session() as connection:
                job = await queries.lease_job(connection, job_id, self._holder, self._lease_seconds)
        except BaseException:
            self._free.release()
            raise
        if job is None:
            self._free.release()
        else:
            group.create_task(self._run(job))

    async def _run(self, job: Job) -> None:
        try:
            end = await self._attempt(job)
            with suppress(UnavailableError):  # else the lease runs out, and it is done again
                async with self._database.worker_session() as connection:
                    await end(connection)
        finally:
            self._free.release()

    async def _attempt(self, job: Job) -> _End:  # noqa: PLR0911  # one for each way a job ends
        """Run a job; how to record what became of it."""
        handler = self._handlers.get(job.kind)
        if job.cancel_requested:
            return self._ended(job, JobState.CANCELLED)
        if handler is None:
            return self._ended(job, JobState.FAILED, f"this release runs no jobs of kind {job.kind}")
        if job.attempts > MAX_ATTEMPTS:
            return self._ended(
                job, JobState.FAILED, f"begun {MAX_ATTEMPTS} times and never ended: see the worker's log"
            )
        running = asyncio.ensure_future(handler(job, _Progress(self._database, job.id, self._holder)))
        beating = asyncio.create_task(self._keep(job, running))
        try:
            await running
        except JobFailedError as error:
            return self._ended(job, JobState.FAILED, str(error))
        except UnavailableError as error:
            return self._postponed(job, error, counted=False)
        except JobCancelledError:
            return self._ended(job, JobState.CANCELLED)
        except asyncio.CancelledError:
            if not beating.done():  # nobody wanted this job to end: it is the worker that stops
                raise
            return self._ended(job, JobState.CANCELLED)
        except Exception as error:  # noqa: BLE001  # a fault of ours: it may pass
            _log.exception("job_broke_off", job_id=job.id, kind=job.kind)
            return self._postponed(job, error, counted=True)
        finally:
            beating.cancel()
        return self._ended(job, JobState.SUCCEEDED)

    def _ended(self, job: Job, state: JobState, error: str | None = None) -> _End:
        _log.info("job_ended", job_id=job.id, kind=job.kind, state=str(state))
        return lambda connection: queries.end_job(connection, job.id, self._holder, state, error)

    def _postponed(self, job: Job, error: Exception, *, counted: bool) -> _End:
        told = type(error).__name__
        _log.warning("job_postponed", job_id=job.id, kind=job.kind, error=told)
        return lambda connection: queries.postpone_job(
            connection, job.id, self._holder, self._pause_seconds, told, counted=counted
        )

    async def _keep(self, job: Job, running: "asyncio.Future[None]") -> None:
        """Renew the lease while a job runs; end the job when somebody wants that, or the lease is lost."""
        while True:
            await asyncio.sleep(min(self._lease_seconds / 3, 1.0))
            with suppress(UnavailableError):
                async with self._database.worker_session() as connection:
                    wanted_to_end = await queries.renew_job(connection, job.id, self._holder, self._lease_seconds)
                if wanted_to_end is not False:
                    running.cancel()
                    return
