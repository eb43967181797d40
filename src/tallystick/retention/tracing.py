"""Records removals in the access log of the tenant: what is about to go, and what went."""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from tallystick.access_log.model import Actor, Deed, Result
from tallystick.access_log.service import AccessLog, Intent
from tallystick.log.removal_queries import Taken
from tallystick.query.timestamps import format_moment
from tallystick.retention.model import Milestone, Plan, Trace

_MOST_OBJECTS = 50


class RecordedRemovals:
    """Records them.

    Args:
        log: The recorder of this process.
    """

    def __init__(self, log: AccessLog) -> None:
        self._log = log

    async def intend(self, plan: Plan) -> Trace:
        """See `Tracing`."""
        asked: dict[str, object] = {
            "kind": plan.kind,
            "log": plan.log,
            "reason": plan.reason,
            "job_id": plan.job_id,
            "arrived_before": format_moment(plan.arrived_before),
            **dict(plan.asked),
        }
        deed = Deed("worker", "logs.remove", "log", plan.log, asked)
        issuer, subject = plan.asked_by
        intent = self._log.intend(Actor(issuer, subject), deed, await self._log.places(plan.tenant_id))
        await intent.durable()
        return _Recorded(intent)

    def around(self, milestone: Milestone) -> AbstractAsyncContextManager[object]:
        """See `Tracing`."""
        asked = {"step": milestone.name, "reason": milestone.reason, "job_id": milestone.job_id}
        deed = Deed("worker", "tenants.remove", "tenant", milestone.tenant_id, asked)
        return self._log.act(Actor(*milestone.asked_by), deed, milestone.tenant_id)


@dataclass(frozen=True, slots=True)
class _Recorded:
    """A removal whose intent is recorded."""

    intent: Intent

    async def told(self, result: Result, taken: Taken) -> None:
        told = {
            "count": taken.events,
            "first_seq": taken.first_seq,
            "last_seq": taken.last_seq,
            "leaves": taken.leaves[:_MOST_OBJECTS],
            "objects": len(taken.leaves),
        }
        self.intent.outcome(result, told)
