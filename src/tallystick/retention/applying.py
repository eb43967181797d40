"""The job that removes what no policy keeps: whole partitions where that can be, else a prefix of each log."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, date, datetime, timedelta
from time import monotonic
from typing import Final

import structlog

from tallystick.auth.tenancy import PLATFORM_TENANT
from tallystick.database.pools import Database
from tallystick.jobs.model import Job, JobFailedError, Progress
from tallystick.log import removal_queries
from tallystick.log.removal import BEGINNING, Doomed, FollowersBehindError, Remover, Step
from tallystick.log.removal_queries import Orders, Partition
from tallystick.retention import queries
from tallystick.retention.model import (
    RETENTION,
    Guard,
    MinimumRetention,
    Plan,
    Policy,
    RemovalRefusedError,
    Tracing,
    cutoff,
    midnight,
)
from tallystick.stats.removal import uncount_days

APPLY_RETENTION: Final = "apply_retention"
"""The kind of these jobs."""

_REPORTED: Final = 1.0

_log = structlog.get_logger("tallystick.retention")


class ApplyRetention:
    """Applies all policies as of one day of UTC. Whatever was done is not found again, so it may begin anew.

    Args:
        database: Where policies are.
        remover: Takes events out.
        minimum: What is kept at least, whatever a policy says.
        guards: Are asked before each removal.
        tracing: Records each.
        platform_days: The policy of the platform's own log.
    """

    def __init__(
        self,
        database: Database,
        remover: Remover,
        minimum: MinimumRetention,
        guards: Sequence[Guard],
        tracing: Tracing,
        platform_days: int | None = None,
    ) -> None:
        self._database = database
        self._remover = remover
        self._minimum = minimum
        self._guards = (minimum, *guards)
        self._tracing = tracing
        self._platform_days = platform_days

    async def run(self, job: Job, progress: Progress) -> None:
        """See `jobs.model.Handler`."""
        removed = 0
        told = monotonic()
        async with aclosing(self.steps(job)) as steps:
            async for step in steps:
                removed += step.events
                if monotonic() - told >= _REPORTED:
                    await progress.report(job.done + removed, None, {})
                    told = monotonic()
        await progress.report(job.done + removed, job.done + removed, {})

    async def discard(self, job: Job) -> None:
        """See `jobs.model.Handler`. What is removed is removed, and what it stored besides is tidied up later."""

    async def steps(self, job: Job) -> AsyncGenerator[Step]:
        """All that is to be done, step by step.

        Raises:
            JobFailedError: It names no day.
            FollowersBehindError: Of some logs, something must wait for a follower.
            UnavailableError: Something that is needed does not answer.
        """
        day = _day_of(job)
        orders = Orders(job.id, RETENTION)
        policies = await self._policies()
        async with self._database.worker_session() as connection:
            partitions = await removal_queries.find_partitions(connection, midnight(day))
        for partition in partitions:
            async for step in self._drop(partition, policies, day, job, orders):
                yield step
        behind: FollowersBehindError | None = None
        for policy in policies.values():
            if policy.days is None:
                continue
            try:
                async for step in self._cut(policy, cutoff(day, policy.days), job, orders):
                    yield step
            except FollowersBehindError as error:  # the others need not wait for it
                behind = error
        if behind is not None:
            raise behind

    async def _policies(self) -> Mapping[int, Policy]:
        """The policies that hold: of each log its own, or the minimum where that is longer."""
        async with self._database.worker_session() as connection:
            written = await queries.read_policies(connection)
        held: dict[int, Policy] = {}
        for policy in written:
            days = self._platform_days if policy.tenant_id == PLATFORM_TENANT else policy.days
            if days is not None:
                days = max(days, self._minimum.days_of(policy.name))
            held[policy.log_id] = Policy(policy.log_id, policy.tenant_id, policy.name, days)
        return held

    async def _cut(self, policy: Policy, before: datetime, job: Job, orders: Orders) -> AsyncGenerator[Step]:
        """Remove a prefix of a log, and what counts it."""
        async with self._database.log_session(policy.log_id) as connection:
            some = await removal_queries.arrived_before(connection, -1, BEGINNING, before, 1)
        async with self._database.worker_session() as connection:
            begun = await removal_queries.removed_by(connection, job.id, policy.log_id)
        if not some and not begun.events:
            await uncount_days(self._database, policy.log_id, before.date())
            return
        plan = _plan(policy, before, job)
        if not await self._allowed(plan):
            return
        trace = await self._tracing.intend(plan)
        yield Step("removal announced")
        async for step in self._remover.remove_before(Doomed(policy.tenant_id, policy.log_id), before, orders):
            yield step
        await uncount_days(self._database, policy.log_id, before.date())
        yield Step("statistics cut")
        async with self._database.worker_session() as connection:
            taken = await removal_queries.removed_by(connection, job.id, policy.log_id)
        await trace.told(taken.events, taken.first_seq, taken.last_seq, taken.leaves)
        yield Step("removal told")

    async def _drop(
        self, partition: Partition, policies: Mapping[int, Policy], day: date, job: Job, orders: Orders
    ) -> AsyncGenerator[Step]:
        """Drop a partition where nobody's events in it live on."""
        if partition.ends > midnight(day) - timedelta(days=1):
            return
        async with self._database.worker_session() as connection:
            logs = await removal_queries.logs_in(connection, partition)
        going = [policies.get(log_id) for log_id in logs]
        plans: list[Plan] = []
        for policy in going:
            if policy is None or policy.days is None or cutoff(day, policy.days) < partition.ends:
                return
            plans.append(_plan(policy, partition.ends, job))
        for plan in plans:
            if not await self._allowed(plan):
                return
        for plan in plans:
            async for step in self._remover.prepare_drop(partition, Doomed(plan.tenant_id, plan.log_id), orders):
                yield step
        traces = [(plan, await self._tracing.intend(plan)) for plan in plans]
        yield Step("removal announced")
        removed = await self._remover.drop(partition, orders, self._platform_days)
        if removed is None:
            _log.warning("partition_not_dropped", partition=partition.name)
            return
        yield Step("partition dropped", removed)
        for plan, trace in traces:
            async with self._database.worker_session() as connection:
                taken = await removal_queries.removed_by(connection, job.id, plan.log_id)
            await trace.told(taken.events, taken.first_seq, taken.last_seq, taken.leaves)
            await uncount_days(self._database, plan.log_id, partition.ends.date())

    async def _allowed(self, plan: Plan) -> bool:
        try:
            for guard in self._guards:
                await guard.check(plan)
        except RemovalRefusedError as error:
            _log.warning("removal_refused", log_id=plan.log_id, reason=str(error))
            return False
        return True


def _plan(policy: Policy, before: datetime, job: Job) -> Plan:
    asked_by = (job.created_by["issuer"], job.created_by["subject"])
    asked = (("days", str(policy.days)),)
    return Plan("retention", policy.tenant_id, policy.log_id, policy.name, before, RETENTION, job.id, asked_by, asked)


def _day_of(job: Job) -> date:
    """The day as of which policies are applied, which is today at the latest."""
    try:
        return min(date.fromisoformat(job.arguments["day"]), datetime.now(UTC).date())
    except (KeyError, TypeError, ValueError) as error:
        raise JobFailedError("names no day: ask again") from error
