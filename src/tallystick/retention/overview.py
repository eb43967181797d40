"""What `tallystick retention` shows and asks for: policies and what they would take next, and a run of them now."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from tallystick.auth.tenancy import PLATFORM_TENANT
from tallystick.database.pools import Database
from tallystick.errors import NotFoundError
from tallystick.jobs.model import Job
from tallystick.jobs.queries import JobFilter, insert_job
from tallystick.jobs.service import JobService
from tallystick.retention import queries
from tallystick.retention.applying import APPLY_RETENTION
from tallystick.retention.model import MinimumRetention, Policy, cutoff, effective

MOST_COUNTED: Final = 100_000
"""Events up to which it is counted what would go."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What retention does to a log.

    Attributes:
        policy: As the tenant set it.
        minimum: Days for which the log is kept at least.
        held: Days for which it is kept; None is for ever.
        goes_before: What arrived before this moment goes with the next run, or None.
        events: How many that are, up to one more than `MOST_COUNTED`.
    """

    policy: Policy
    minimum: int
    held: int | None
    goes_before: datetime | None
    events: int


async def look(
    database: Database, minimum: MinimumRetention, platform_days: int | None, tenant_id: str | None = None
) -> list[Outlook]:
    """What retention does to every log, or to those of a tenant.

    Raises:
        NotFoundError: There is no such tenant.
        DatabaseDownError: PostgreSQL does not answer.
    """
    async with database.control_session() as connection:
        policies = await queries.read_policies(connection)
        today = await queries.today(connection)
    shown = [each for each in policies if tenant_id in (None, each.tenant_id)]
    if not shown:
        raise NotFoundError(f"there is no tenant {tenant_id}: `tallystick tenants list` names all")
    found: list[Outlook] = []
    for policy, holds in zip(shown, effective(shown, minimum, platform_days), strict=True):
        before = None if holds.days is None else cutoff(today, holds.days)
        events = 0
        if before is not None:
            async with database.log_session(policy.log_id) as connection:
                events = await queries.count_before(connection, before, MOST_COUNTED + 1)
        found.append(Outlook(policy, minimum.days_of(policy.name), holds.days, before, events))
    return found


async def last_run(jobs: JobService, tenant_id: str | None) -> Job | None:
    """The newest run of all policies, or of those of a tenant.

    Raises:
        DatabaseDownError: PostgreSQL does not answer.
    """
    runs = await jobs.newest(JobFilter(PLATFORM_TENANT, kind=APPLY_RETENTION), 1)
    if tenant_id is not None:
        runs += await jobs.newest(JobFilter(tenant_id, kind=APPLY_RETENTION), 1)
    return max(runs, key=lambda job: job.created_at, default=None)


async def run_now(database: Database, jobs: JobService, tenant_id: str | None, created_by: Mapping[str, str]) -> Job:
    """Ask for a run of all policies now, or of those of a tenant. While one is open that does it, that is the answer.

    Raises:
        DatabaseDownError: PostgreSQL does not answer.
    """
    async with database.control_session() as connection, connection.transaction():
        await queries.lock_runs(connection)
        for holder in dict.fromkeys((PLATFORM_TENANT, tenant_id or PLATFORM_TENANT)):
            for job in await jobs.newest(JobFilter(holder, kind=APPLY_RETENTION), 1):
                if not job.state.ended:
                    return job
        day = await queries.today(connection)
        arguments = {"day": day.isoformat()} | ({} if tenant_id is None else {"tenant": tenant_id})
        made = await insert_job(connection, tenant_id or PLATFORM_TENANT, None, APPLY_RETENTION, arguments, created_by)
        assert made is not None  # noqa: S101  # without a log there is no conflict
    await jobs.tell(made.id)
    return made
