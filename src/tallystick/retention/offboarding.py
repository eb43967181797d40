"""The job that removes a whole tenant: it waits, exports, removes, and erases the keys; each step bears being repeated.

What stands in `offboardings` says where it is, so that it needs no checkpoint: begun again after any step it does what
is left. Between two things to do it is postponed, for weeks if need be, and holds nothing meanwhile.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from time import monotonic
from typing import Final

from tallystick.database.pools import Database
from tallystick.export.model import Owner, StoredExport
from tallystick.export.whole import WholeExports
from tallystick.jobs.model import Job, JobCancelledError, JobPostponedError, JobState, Progress
from tallystick.log.removal import Step, first_arrived
from tallystick.query.timestamps import format_moment
from tallystick.retention import offboarding_queries as queries
from tallystick.retention import queries as retention_queries
from tallystick.retention.cutting import Cutter
from tallystick.retention.model import Milestone, MinimumRetention, Plan, RemovalRefusedError, Tracing, midnight
from tallystick.retention.offboarding_queries import LogHead, Standing
from tallystick.stats.removal import uncount_days

OFFBOARD: Final = "offboard_tenant"
"""The kind of these jobs."""

NOT_CANCELLED: Final = {
    OFFBOARD: "the removal of a tenant is not cancelled but undone: POST /tenants/{id}/restore, or"
    " `tallystick tenants restore`"
}
"""What to do instead of cancelling one."""

_REPORTED: Final = 1.0
_SOON: Final = timedelta(seconds=2)
_LONGEST: Final = timedelta(hours=1)
"""How long it waits at most without looking again: clocks are set, and databases put back."""

_FUTURE: Final = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Terms:
    """How a removal is to go.

    Attributes:
        settle: Time after which no process acts any more by what it knew of the tenant before.
        keep: Time after its beginning for which the last exports can be fetched.
    """

    settle: timedelta
    keep: timedelta


class Offboarding:
    """Removes tenants.

    Args:
        database: Where their removals are recorded.
        exports: Makes the last exports.
        cutter: Removes events, past its guards.
        minimum: What is kept at least: what it protects is waited for.
        tracing: Records what cannot be undone.
        terms: How long it waits.
    """

    def __init__(
        self,
        database: Database,
        exports: WholeExports,
        cutter: Cutter,
        minimum: MinimumRetention,
        tracing: Tracing,
        terms: Terms,
    ) -> None:
        self._database = database
        self._exports = exports
        self._cutter = cutter
        self._minimum = minimum
        self._tracing = tracing
        self._terms = terms

    async def run(self, job: Job, progress: Progress) -> None:
        """See `jobs.model.Handler`. What is counted are events."""
        done, told = job.done, monotonic()
        total = max(job.total or 0, done + await self._left(job))
        try:
            async with aclosing(self.steps(job)) as steps:
                async for step in steps:
                    done += step.events
                    if monotonic() - told >= _REPORTED:
                        await progress.report(done, max(total, done), {})
                        told = monotonic()
        except JobPostponedError:
            await progress.report(done, max(total, done), {})
            raise
        await progress.report(done, done, {})

    async def discard(self, job: Job) -> None:
        """See `jobs.model.Handler`. Who restores a tenant discards its exports; what is removed is removed."""

    async def _left(self, job: Job) -> int:
        """About how many events are still there."""
        async with self._database.worker_session() as connection:
            logs = await queries.logs_of(connection, job.tenant_id)
        firsts = [await first_arrived(self._database, log.id, _FUTURE) for log in logs]
        return sum(log.size - first.seq for log, first in zip(logs, firsts, strict=True) if first is not None)

    async def steps(self, job: Job) -> AsyncGenerator[Step]:
        """All that is to be done now, step by step.

        Raises:
            JobPostponedError: There is nothing more to do now.
            JobFailedError: An export came to nothing.
            JobCancelledError: The tenant was restored.
            UnavailableError: Something that is needed does not answer.
        """
        standing = await self._standing(job)
        _wait(standing.asked_at + self._terms.settle, "waits until every process refuses the tenant")
        if standing.begun_at is None:
            async with aclosing(self._export(standing, job, complete=False)) as steps:
                async for step in steps:
                    yield step
            moment = format_moment(standing.removal_at)
            _wait(standing.removal_at, f"waits until {moment}: till then the tenant can be restored")
            await self._begin(standing, job)
            yield Step("removal begun")
            standing = await self._standing(job)
        assert standing.begun_at is not None  # noqa: S101  # it was begun just now, at the latest
        _wait(standing.begun_at + self._terms.settle, "waits until no process writes into the tenant's logs")
        if standing.exports_until is None:
            async with self._database.worker_session() as connection:
                others = await queries.end_others(connection, standing.tenant_id, job.id)
            if others:
                raise JobPostponedError(_now() + _SOON, f"waits until {others} other jobs of the tenant have ended")
            async with aclosing(self._export(standing, job, complete=True)) as steps:
                async for step in steps:
                    yield step
            standing = await self._standing(job)
        async with aclosing(self._remove(standing, job)) as steps:
            async for step in steps:
                yield step

    async def _standing(self, job: Job) -> Standing:
        async with self._database.worker_session() as connection:
            standing = await queries.standing_by(connection, job.id)
        if standing is None:
            raise JobCancelledError  # it was restored just now, or another job goes on
        return standing

    async def _logs(self, standing: Standing) -> list[LogHead]:
        async with self._database.worker_session() as connection:
            return await queries.logs_of(connection, standing.tenant_id)

    async def _begin(self, standing: Standing, job: Job) -> None:
        async with (
            self._tracing.around(_milestone("removal begun", standing, job)),
            self._database.worker_session() as connection,
        ):
            if not await queries.begin(connection, standing.job_id):
                raise JobCancelledError  # it was restored at the last moment

    async def _export(self, standing: Standing, job: Job, *, complete: bool) -> AsyncGenerator[Step]:
        """Have every log exported: `complete` when nothing is written any more, else as it is, to be looked at."""
        owner = Owner(standing.tenant_id, standing.issuer, standing.subject)
        until = (standing.begun_at or standing.removal_at) + self._terms.keep
        ready: list[StoredExport] = []
        waiting: list[str] = []
        for log in await self._logs(standing):
            least = log.size - 1 if complete else -1
            export = await self._exports.of(owner, log.id, least, job.created_at)
            if export is None:
                await self._exports.ask(owner, log.id, log.size - 1, until)
                yield Step("export asked for")
            if export is None or export.state is not JobState.SUCCEEDED:
                waiting.append(log.name)
            else:
                ready.append(export)
        if waiting:
            raise JobPostponedError(_now() + _SOON, f"waits for the export of {' and '.join(waiting)}")
        if not complete:
            return
        until = max(until, *(export.expires_at or until for export in ready))
        for export in ready:
            await self._exports.keep(export, until)
        if await self._exports.remove(standing.tenant_id, but=[export.id for export in ready]):
            yield Step("other exports removed")
        async with self._database.worker_session() as connection:
            await queries.note_exported(connection, standing.tenant_id, until)
        yield Step("exports complete")

    async def _remove(self, standing: Standing, job: Job) -> AsyncGenerator[Step]:
        """Remove what may go by now, and the tenant when nothing is left of it.

        What was written after the last exports, by a request that took longer than any should, is in none of them.
        """
        waits: list[tuple[datetime, str]] = []
        held = False
        for log in await self._logs(standing):
            async with aclosing(self._cut(standing, log, job)) as steps:
                async for step in steps:
                    yield step
            if (first := await first_arrived(self._database, log.id, _FUTURE)) is None:
                await uncount_days(self._database, log.id, date.max)
                continue
            held = held or log.name == "events"
            goes_at = midnight(first.received_at.date()) + timedelta(days=self._minimum.days_of(log.name) + 1)
            waits.append((goes_at, f"waits until what is left of {log.name} may go: it is kept for its minimum"))
        if standing.keys_erased_at is None and not held:
            assert standing.exports_until is not None  # noqa: S101  # else they would be made first
            if standing.exports_until <= _now():
                await self._exports.remove(standing.tenant_id)
                yield Step("exports removed")
                async with (
                    self._tracing.around(_milestone("keys erased", standing, job)),
                    self._database.worker_session() as connection,
                ):
                    await queries.erase_keys(connection, job.id)
                yield Step("keys erased")
            else:
                waits.append((standing.exports_until, "waits until its exports have expired, and its keys with them"))
        if waits:
            until, reason = min(waits)
            raise JobPostponedError(min(until, _now() + _LONGEST), reason)
        async with (
            self._tracing.around(_milestone("tenant removed", standing, job)),
            self._database.worker_session() as connection,
        ):
            await queries.finish(connection, job.id)
        yield Step("tenant removed")

    async def _cut(self, standing: Standing, log: LogHead, job: Job) -> AsyncGenerator[Step]:
        async with self._database.worker_session() as connection:
            today = await retention_queries.today(connection)
        plan = Plan(
            kind="offboarding",
            tenant_id=standing.tenant_id,
            log_id=log.id,
            log=log.name,
            arrived_before=self._minimum.protected_from(log.name, today),
            reason=standing.reason,
            job_id=job.id,
            asked_by=_author(job),
        )
        try:
            async with aclosing(self._cutter.cut(plan)) as steps:
                async for step in steps:
                    yield step
        except RemovalRefusedError as error:
            raise JobPostponedError(_now() + _LONGEST, f"the log {log.name} must stay: {error}") from error


def _milestone(name: str, standing: Standing, job: Job) -> Milestone:
    return Milestone(name, standing.tenant_id, job.id, standing.reason, _author(job))


def _author(job: Job) -> tuple[str, str]:
    return job.created_by["issuer"], job.created_by["subject"]


def _now() -> datetime:
    return datetime.now(UTC)


def _wait(until: datetime, reason: str) -> None:
    now = _now()
    if now < until:
        raise JobPostponedError(min(until, now + _LONGEST), reason)
