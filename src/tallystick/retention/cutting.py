"""Removes what arrived in a log before a moment, and what counts it, once every guard lets it pass."""

from collections.abc import AsyncGenerator, Sequence
from typing import Final

from tallystick.database.pools import Database
from tallystick.log import removal_queries
from tallystick.log.removal import BEGINNING, Doomed, Remover, Step
from tallystick.log.removal_queries import Orders
from tallystick.retention.model import Guard, Plan, Tracing
from tallystick.stats.removal import uncount_days

ANNOUNCED: Final = "removal announced"
"""The step after which a removal is on record."""


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

    async def cut(self, plan: Plan) -> AsyncGenerator[Step]:
        """Remove what a plan says. Nothing is recorded where there is nothing to remove.

        Raises:
            RemovalRefusedError: A guard keeps it.
            FollowersBehindError: Of the rest, a follower has not passed anything.
            UnavailableError: Something that is needed does not answer.
        """
        before = plan.arrived_before
        async with self._database.log_session(plan.log_id) as connection:
            some = await removal_queries.arrived_before(connection, -1, BEGINNING, before, 1)
        async with self._database.worker_session() as connection:
            begun = await removal_queries.removed_by(connection, plan.job_id, plan.log_id)
        if not some and not begun.events:
            await uncount_days(self._database, plan.log_id, before.date())
            return
        await self.check(plan)
        trace = await self._tracing.intend(plan)
        yield Step(ANNOUNCED)
        orders = Orders(plan.job_id, plan.reason)
        async for step in self._remover.remove_before(Doomed(plan.tenant_id, plan.log_id), before, orders):
            yield step
        await uncount_days(self._database, plan.log_id, before.date())
        yield Step("statistics cut")
        async with self._database.worker_session() as connection:
            taken = await removal_queries.removed_by(connection, plan.job_id, plan.log_id)
        await trace.told(taken.events, taken.first_seq, taken.last_seq, taken.leaves)
        yield Step("removal told")
