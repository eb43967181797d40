"""Every tenant in memory: followed by version, asked for at once when missing, refused when too old to trust."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from types import MappingProxyType
from typing import Final

import structlog

from tallystick.auth.tenancy import PLATFORM_TENANT, TenantState
from tallystick.database.following import follow
from tallystick.database.outage import as_database_down
from tallystick.database.pools import Database
from tallystick.errors import DatabaseDownError, UnavailableError
from tallystick.tenants.model import LOGS, gone, is_tenant_id
from tallystick.tenants.queries import Change, changes_since, newest_version

POLL_INTERVAL = 1.0
"""Seconds between two looks at the database."""

MISS_MEMORY = 1.0
"""Seconds for which an id that nobody has is not asked for again."""

MAX_MISSES = 4096

_LOGS: Final = frozenset(LOGS)
_LOGS_OF: Final = MappingProxyType({PLATFORM_TENANT: frozenset({"access"})})

_log = structlog.get_logger("tallystick.tenants")


class TenantDirectory:
    """Implements `auth.tenancy.Tenancy` for one process.

    A tenant costs a kilobyte or so, so all of them are held. A change made by another process is seen within
    `POLL_INTERVAL`; one made here at once, by `refresh`. When the database has not answered for `freshness`
    seconds, nobody is let in on what may have been suspended meanwhile: `find` raises. So it does for a tenant that is
    there without its logs, as whoever restores tables one by one may leave it: each look asks for it anew.

    Args:
        database: Read as the control role.
        freshness: Seconds for which an answer of the database may be used (`auth.freshness`).
        clock: Monotonic seconds.
    """

    def __init__(self, database: Database, freshness: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._freshness = freshness
        self._clock = clock
        self._tenants: dict[str, TenantState] = {}
        self._unready: set[str] = set()
        self._version = 0
        self._polled_at = self._failed_at = float("-inf")
        self._polling = asyncio.Lock()
        self._misses: OrderedDict[str, float] = OrderedDict()

    @property
    def age(self) -> float:
        """Seconds since the state of the database that is held here; infinite before the first answer."""
        return self._clock() - self._polled_at

    @property
    def fresh(self) -> bool:
        """Whether what is held here may still be used."""
        return self.age <= self._freshness

    async def find(self, tenant_id: str) -> TenantState | None:
        """Find a tenant by its id.

        Raises:
            UnavailableError: The database has not answered for longer than the freshness allowed, or the tenant's logs
                are not there yet.
        """
        if not self.fresh:
            raise UnavailableError("which tenants are suspended is not known at the moment: try again", retry_after=2)
        tenant = self._tenants.get(tenant_id)
        if tenant is None and (is_tenant_id(tenant_id) or tenant_id == PLATFORM_TENANT):
            tenant = await self._ask(tenant_id)
        return tenant

    async def _ask(self, tenant_id: str) -> TenantState | None:
        if self._misses.get(tenant_id, float("-inf")) > self._clock():
            return None
        await self.refresh()
        tenant = self._tenants.get(tenant_id)
        if tenant_id in self._unready:
            raise UnavailableError(f"the logs of the tenant {tenant_id} are not there yet: try again", retry_after=1)
        if tenant is None:
            self._misses[tenant_id] = self._clock() + MISS_MEMORY
            self._misses.move_to_end(tenant_id)
            if len(self._misses) > MAX_MISSES:
                self._misses.popitem(last=False)
        return tenant

    async def refresh(self) -> None:
        """Look at the database now; callers who wait together share one look.

        Raises:
            UnavailableError: It does not answer.
        """
        called_at = self._clock()
        async with self._polling:
            if self._polled_at > called_at:
                return
            if self._failed_at > called_at:
                raise DatabaseDownError("the database does not answer: try again", retry_after=2)
            # The age counts from before the question: the answer may be as old as that.
            asked_at = self._clock()
            try:
                async with as_database_down(), asyncio.timeout(self._freshness):
                    await self._poll()
            except UnavailableError:
                self._failed_at = asked_at
                raise
            self._polled_at = asked_at

    async def _poll(self) -> None:
        async with self._database.control_session() as connection:
            newest = await newest_version(connection)
            if newest < self._version:
                # The database was put back to an earlier state: nothing that is held can be trusted.
                self._tenants, self._unready, self._version = {}, set(), 0
            looked_for = newest > self._version or self._unready
            changes = await changes_since(connection, self._version, self._unready) if looked_for else []
        for change in changes:
            self._keep(change)
            self._misses.pop(change.id, None)
            self._version = max(self._version, change.version)

    def _keep(self, change: Change) -> None:
        """Keep a tenant with its logs; what would write into one that is missing could only fail."""
        if change.logs.keys() >= _LOGS_OF.get(change.id, _LOGS):
            self._tenants[change.id] = _state(change)
            self._unready.discard(change.id)
            return
        if change.id not in self._unready:
            _log.warning("a tenant has not all of its logs", tenant=change.id)
        self._tenants.pop(change.id, None)
        self._unready.add(change.id)

    async def run(self) -> None:
        """Follow the changes until cancelled."""
        await follow(self.refresh, what="tenants", every=min(POLL_INTERVAL, self._freshness / 4))


def _state(change: Change) -> TenantState:
    offboarding = change.offboarding
    return TenantState(
        id=change.id,
        logs=change.logs,
        suspended=change.suspended,
        settings=change.settings,
        removing=offboarding is not None and offboarding.begun_at is not None,
        gone=None if offboarding is None else gone(change.id, offboarding),
    )
