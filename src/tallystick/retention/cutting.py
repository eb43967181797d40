"""Removes what arrived in a log before a moment, and what counts it, once every guard lets it pass."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from typing import Final, TypeAlias

from tallystick.access_log.model import Result
from tallystick.database.pools import Database
from tallystick.errors import UnavailableError
from tallystick.log import removal_queries
from tallystick.log.removal import Doomed, Remover, Step, first_arrived
from tallystick.log.removal_queries import Orders
from tallystick.retention.guards import Guard
from tallystick.retention.model import Plan, Trace, Tracing, midnight
from tallystick.stats.removal import uncount_days

ANNOUNCED: Final = "removal announced"
"""The step after which a removal is on record."""


Standing: TypeAlias = Callable[[], Awaitable[datetime]]
"""Tells the moment before which what arrived still goes: what ordered a removal may have changed since."""


class Cutter:
    """Cuts prefixes off logs. One that was broken off is gone on with by the same plan.

    Args:
        database: Where the logs are.
        remover: Takes events out.
        guards: Are asked before each removal.
        tracing: Records each.
    """

    def __init__(self, database: Database, remover: Remover, guards: Sequence[Guard], tracing: Tracing) -> None:
        self._database = database
        self._remover = remover
        self._guards = guards
        self._tracing = tracing

    async def check(self, plan: Plan) -> None:
        """Ask the guards.

        Raises:
            RemovalRefusedError: One keeps it.
            UnavailableError: One cannot say now.
        """
        for guard in self._guards:
            await guard.check(plan)

    async def cut(self, plan: Plan, standing: Standing | None = None) -> AsyncGenerator[Step]:
        """Remove what a plan says, a day of arrival after the other, as long as it stands.

        Nothing is recorded where there is nothing to remove.

        Args:
            plan: It. Its moment is a midnight of UTC.
            standing: Asked before each day; without it the plan stands to its end.

        Raises:
            RemovalRefusedError: A guard keeps it, or what is left of it.
            FollowersBehindError: Of the rest, a follower has not passed anything.
            UnavailableError: Something that is needed does not answer.
        """
        async with self._database.worker_session() as connection:
            begun = await removal_queries.removed_by(connection, plan.job_id, plan.log_id)
        if await self._first_day(plan, plan.arrived_before) is None and not begun.events:
            await uncount_days(self._database, plan.log_id, plan.arrived_before.date())
            return
        await self.check(plan)
        async with announced(self._database, self._tracing, plan):
            yield Step(ANNOUNCED)
            async for step in self._days(plan, standing):
                yield step
            yield Step("statistics cut")
        yield Step("removal told")

    async def _days(self, plan: Plan, standing: Standing | None) -> AsyncGenerator[Step]:
        log, orders = Doomed(plan.tenant_id, plan.log_id), Orders(plan.job_id, plan.reason)
        while True:
            before = plan.arrived_before if standing is None else min(plan.arrived_before, await standing())
            day = await self._first_day(plan, before)
            if day is None:
                await uncount_days(self._database, plan.log_id, before.date())
                return
            await self.check(plan)
            async for step in self._remover.remove_before(log, midnight(day + timedelta(days=1)), orders):
                yield step
            await uncount_days(self._database, plan.log_id, day + timedelta(days=1))

    async def _first_day(self, plan: Plan, before: datetime) -> date | None:
        """The day on which the first event arrived that the log still has from before a moment."""
        first = await first_arrived(self._database, plan.log_id, before)
        return None if first is None else first.received_at.astimezone(UTC).date()


@asynccontextmanager
async def announced(database: Database, tracing: Tracing, plan: Plan) -> AsyncGenerator[None]:
    """Record a removal around the block: before it what is about to go, and after it, however it ended, what went.

    Raises:
        UnavailableError: It cannot be recorded: nothing may be removed.
    """
    trace = await tracing.intend(plan)
    try:
        yield
    except BaseException:
        with suppress(UnavailableError):  # the intent alone is on record then, as after a crash
            await _tell(database, plan, trace, "aborted")
        raise
    await _tell(database, plan, trace, "completed")


async def _tell(database: Database, plan: Plan, trace: Trace, result: Result) -> None:
    async with database.worker_session() as connection:
        taken = await removal_queries.removed_by(connection, plan.job_id, plan.log_id)
    await trace.told(result, taken)
