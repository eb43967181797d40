"""The job that removes what no policy keeps: whole partitions where that can be, else a prefix of each log."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from datetime import date, datetime, timedelta
from functools import partial
from time import monotonic
from typing import Final

import structlog

from tallystick.database.pools import Database
from tallystick.jobs.model import Job, JobFailedError, Progress
from tallystick.log import removal_queries
from tallystick.log.removal import BEGINNING, Doomed, FollowersBehindError, Remover, Step
from tallystick.log.removal_queries import Orders, Partition
from tallystick.retention import queries
from tallystick.retention.cutting import ANNOUNCED, Cutter, announced
from tallystick.retention.guards import Guard, MinimumGuard
from tallystick.retention.model import (
    RETENTION,
    MinimumRetention,
    Plan,
    Policy,
    RemovalRefusedError,
    Tracing,
    cutoff,
    effective,
    midnight,
)
from tallystick.stats.removal import uncount_days

APPLY_RETENTION: Final = "apply_retention"
"""The kind of these jobs."""

_REPORTED: Final = 1.0

_log = structlog.get_logger("tallystick.retention")


class ApplyRetention:
    """Applies policies as of one day of UTC: all, or those of one tenant.

    Whatever was done is not found again, so it may begin anew.

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
        self._cutter = Cutter(database, remover, (MinimumGuard(database, minimum), *guards), tracing)
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
        orders = Orders(job.id, RETENTION)
        async with self._database.worker_session() as connection:
            day = min(_day_of(job), await queries.today(connection))
            written = await queries.read_policies(connection)
        policies = {each.log_id: each for each in effective(written, self._minimum, self._platform_days)}
        if (tenant_id := job.arguments.get("tenant")) is not None:
            policies = {log_id: each for log_id, each in policies.items() if each.tenant_id == tenant_id}
        async with self._database.worker_session() as connection:
            # What lies in a partition is of many: for one tenant alone none is dropped.
            partitions = [] if tenant_id else await removal_queries.find_partitions(connection, midnight(day))
        for partition in partitions:
            async with aclosing(self._drop(partition, policies, day, job, orders)) as steps:
                async for step in steps:
                    yield step
        behind: FollowersBehindError | None = None
        for policy in policies.values():
            if policy.days is None:
                continue
            try:
                plan = _plan(policy, cutoff(day, policy.days), job)
                async with aclosing(self._cutter.cut(plan, partial(self._standing, policy.log_id, day))) as steps:
                    async for step in steps:
                        yield step
            except FollowersBehindError as error:  # the others need not wait for it
                behind = error
            except RemovalRefusedError as error:
                _log.warning("removal_refused", log_id=policy.log_id, reason=str(error))
        if behind is not None:
            raise behind

    async def _standing(self, log_id: int, day: date) -> datetime:
        """Before which moment events of a log go by the policy that it has by now: a longer one saves what is left."""
        async with self._database.worker_session() as connection:
            written = await queries.read_policy(connection, log_id)
        held = effective([] if written is None else [written], self._minimum, self._platform_days)
        return next((cutoff(day, each.days) for each in held if each.days is not None), BEGINNING)

    async def _drop(
        self, partition: Partition, policies: Mapping[int, Policy], day: date, job: Job, orders: Orders
    ) -> AsyncGenerator[Step]:
        """Drop a partition where nobody's events in it live on."""
        if (plans := await self._plans(partition, policies, day, job)) is None:
            return
        for plan in plans:
            async for step in self._remover.prepare_drop(partition, Doomed(plan.tenant_id, plan.log_id), orders):
                yield step
        async with AsyncExitStack() as records:
            for plan in plans:
                await records.enter_async_context(announced(self._database, self._tracing, plan))
            yield Step(ANNOUNCED)
            removed = await self._remover.drop(partition, orders, self._platform_days)
            if removed is None:
                _log.warning("partition_not_dropped", partition=partition.name)
                return
            yield Step("partition dropped", removed)
            for plan in plans:
                await uncount_days(self._database, plan.log_id, partition.ends.date())

    async def _plans(
        self, partition: Partition, policies: Mapping[int, Policy], day: date, job: Job
    ) -> list[Plan] | None:
        """What goes with a partition, of each log that has events in it; None where something must stay."""
        if partition.ends > midnight(day) - timedelta(days=1):
            return None
        async with self._database.worker_session() as connection:
            logs = await removal_queries.logs_in(connection, partition)
        plans: list[Plan] = []
        for policy in map(policies.get, logs):
            if policy is None or policy.days is None or cutoff(day, policy.days) < partition.ends:
                return None
            plans.append(_plan(policy, partition.ends, job))
        for plan in plans:
            if not await self._allowed(plan):
                return None
        return plans

    async def _allowed(self, plan: Plan) -> bool:
        try:
            await self._cutter.check(plan)
        except RemovalRefusedError as error:
            _log.warning("removal_refused", log_id=plan.log_id, reason=str(error))
            return False
        return True


def _plan(policy: Policy, before: datetime, job: Job) -> Plan:
    asked_by = (job.created_by["issuer"], job.created_by["subject"])
    asked = (("days", str(policy.days)),)
    return Plan("retention", policy.tenant_id, policy.log_id, policy.name, before, RETENTION, job.id, asked_by, asked)


def _day_of(job: Job) -> date:
    """The day as of which policies are asked to be applied."""
    try:
        return date.fromisoformat(job.arguments["day"])
    except (KeyError, TypeError, ValueError) as error:
        raise JobFailedError("names no day: ask again") from error
