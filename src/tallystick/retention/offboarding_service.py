"""Ordering that a tenant is removed, looking first at what that would take, and undoing it while that can be."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import asyncpg

from tallystick.auth.tenancy import PLATFORM_TENANT
from tallystick.database.pools import Connection, Database
from tallystick.errors import ConflictError, ForbiddenError, GoneError, NotFoundError
from tallystick.jobs.model import Job
from tallystick.jobs.queries import find_jobs, insert_job
from tallystick.jobs.service import JobService
from tallystick.retention import offboarding_queries as queries
from tallystick.retention.model import MinimumRetention, midnight
from tallystick.retention.offboarding import OFFBOARD
from tallystick.retention.offboarding_queries import LogHead, Standing
from tallystick.settings import RetentionSettings
from tallystick.tenants.model import Tenant, gone
from tallystick.tenants.queries import get_tenant
from tallystick.tenants.service import TenantService

LONGEST_WAIT: Final = 3_650
"""Days for which a removal can be put off."""

_RESERVED: Final = f"{PLATFORM_TENANT} holds the platform's own access log: it is never removed"


@dataclass(frozen=True, slots=True)
class Outlook:
    """What the removal of a tenant would take, and when.

    Attributes:
        tenant_id: Which.
        logs: Its logs, with all that they ever held.
        removal_at: Until when it could be restored.
        gone_at: When the last of it would go at the earliest: of each log the minimum retention is waited for.
        exports_until: Until when the last exports could be fetched.
    """

    tenant_id: str
    logs: Sequence[LogHead]
    removal_at: datetime
    gone_at: datetime
    exports_until: datetime


class OffboardingService:
    """Removals of tenants, as those see them who may order them.

    Args:
        database: Used as the control role.
        jobs: Tells the workers.
        tenants: Lets this process know at once.
        minimum: What is kept at least.
        settings: Of retention.
    """

    def __init__(
        self,
        database: Database,
        jobs: JobService,
        tenants: TenantService,
        minimum: MinimumRetention,
        settings: RetentionSettings,
    ) -> None:
        self._database = database
        self._jobs = jobs
        self._tenants = tenants
        self._minimum = minimum
        self._settings = settings

    @property
    def least_wait(self) -> int:
        """Days that must pass at least between order and removal."""
        return self._settings.offboarding_days

    async def look(self, tenant_id: str, wait_days: int | None) -> Outlook:
        """What the removal of a tenant would take. Nothing is stored.

        Raises:
            ForbiddenError: It is the reserved one.
            NotFoundError: There is none by that id.
            GoneError: It was removed.
            ConflictError: It is the last one.
            DatabaseDownError: PostgreSQL does not answer.
        """
        async with self._database.control_session() as connection:
            await self._removable(connection, tenant_id)
            logs = await queries.logs_of(connection, tenant_id)
        now = datetime.now(UTC)
        removal_at = now + timedelta(days=self.least_wait if wait_days is None else wait_days)
        exports_until = removal_at + timedelta(days=self._settings.offboarding_keep_days)
        # What is done meanwhile is recorded until the removal begins, and that record is kept as any.
        last = midnight(removal_at.date()) + timedelta(days=self._minimum.days_of("access") + 1)
        return Outlook(tenant_id, logs, removal_at, max(last, exports_until), exports_until)

    async def ask(
        self,
        tenant_id: str,
        reason: str,
        wait_days: int | None,
        created_by: Mapping[str, str],
        recipient: tuple[str, str],
    ) -> Job:
        """Order that a tenant is removed: at once it is suspended, and a job does the rest.

        To order it again answers the same job, or a new one that goes on where that one failed.

        Args:
            tenant_id: Which.
            reason: Why; told to whoever asks for the tenant later.
            wait_days: Days until it is removed; the least there may be when None.
            created_by: Issuer and subject of who orders it.
            recipient: Issuer and subject of whom the last exports are for.

        Raises:
            ForbiddenError: It is the reserved one.
            NotFoundError: There is none by that id.
            GoneError: It was removed.
            ConflictError: It is the last one, or it is to be removed at another time already.
            DatabaseDownError: PostgreSQL does not answer.
        """
        async with self._database.control_session() as connection, connection.transaction():
            await queries.lock_offboardings(connection)
            await self._removable(connection, tenant_id)
            standing = await queries.standing_of(connection, tenant_id)
            if standing is not None:
                job = await self._known(connection, standing, wait_days, created_by)
            else:
                job = await _insert(connection, tenant_id, created_by)
                await queries.suspend(connection, tenant_id)
                days = self.least_wait if wait_days is None else wait_days
                await queries.insert_offboarding(connection, tenant_id, job.id, reason, recipient, days)
        await self._tenants.announce()
        await self._jobs.tell(job.id)
        return job

    async def _removable(self, connection: Connection, tenant_id: str) -> None:
        if tenant_id == PLATFORM_TENANT:
            raise ForbiddenError(_RESERVED)
        tenant = await get_tenant(connection, tenant_id)
        if tenant is None:
            raise NotFoundError(f"there is no tenant {tenant_id}")
        if tenant.offboarding is None:
            if not await queries.has_others(connection, tenant_id):
                raise ConflictError(
                    f"{tenant_id} is the last tenant of this installation, which has at least one: make another first"
                )
        elif (removed := gone(tenant_id, tenant.offboarding)) is not None:
            raise GoneError(removed)

    async def _known(
        self, connection: Connection, standing: Standing, wait_days: int | None, created_by: Mapping[str, str]
    ) -> Job:
        """The job of a removal that was ordered before."""
        if wait_days is not None and standing.removal_at - standing.asked_at != timedelta(days=wait_days):
            raise ConflictError(
                f"the tenant {standing.tenant_id} is to be removed at {standing.removal_at:%Y-%m-%dT%H:%M:%SZ} already:"
                " restore it first, or leave `wait_days` out"
            )
        (job,) = await find_jobs(connection, [standing.job_id])
        if job.state.ended:
            job = await _insert(connection, standing.tenant_id, created_by)
            await queries.take_over(connection, standing.tenant_id, job.id)
        return job

    async def restore(self, tenant_id: str) -> Tenant:
        """Let a tenant in again that was to be removed. One that was not stays as it is.

        Raises:
            NotFoundError: There is none by that id.
            GoneError: It was removed.
            ConflictError: Its removal has begun.
            DatabaseDownError: PostgreSQL does not answer.
        """
        async with self._database.control_session() as connection:
            try:
                job_id = await queries.restore(connection, tenant_id)
            except asyncpg.ObjectNotInPrerequisiteStateError:
                job_id = None
        if job_id is not None:
            await self._tenants.announce()
            await self._jobs.tell(job_id)
        tenant = await self._tenants.get(tenant_id)
        if tenant.offboarding is not None:
            raise ConflictError(f"the removal of the tenant {tenant_id} has begun, which cannot be undone")
        return tenant


async def _insert(connection: Connection, tenant_id: str, created_by: Mapping[str, str]) -> Job:
    job = await insert_job(connection, tenant_id, None, OFFBOARD, {}, created_by)
    assert job is not None  # noqa: S101  # without a log there is no conflict
    return job
