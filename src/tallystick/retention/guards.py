"""What is asked before anything is removed. A legal hold, an archive or a second pair of eyes would be one more."""

from typing import Protocol

from tallystick.database.pools import Database
from tallystick.retention import queries
from tallystick.retention.model import MinimumRetention, Plan, RemovalRefusedError


class Guard(Protocol):
    """Is asked before each removal."""

    async def check(self, plan: Plan) -> None:
        """Let it pass, or not.

        Raises:
            RemovalRefusedError: It must stay.
            UnavailableError: That cannot be said now: it is tried again later.
        """
        ...


class MinimumGuard:
    """Keeps what the minimum retention protects.

    Args:
        database: Whose clock counts.
        minimum: What is kept at least.
    """

    def __init__(self, database: Database, minimum: MinimumRetention) -> None:
        self._database = database
        self._minimum = minimum

    async def check(self, plan: Plan) -> None:
        """See `Guard`."""
        async with self._database.worker_session() as connection:
            today = await queries.today(connection)
        if plan.arrived_before > self._minimum.protected_from(plan.log, today):
            raise RemovalRefusedError(
                f"events are kept for {self._minimum.days_of(plan.log)} days at least, as this installation is set"
            )
