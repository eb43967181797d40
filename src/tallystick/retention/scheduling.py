"""Asks for retention once a day, however many workers there are."""

from tallystick.auth.tenancy import PLATFORM_TENANT
from tallystick.database.pools import Database
from tallystick.jobs.service import JobService
from tallystick.retention import queries
from tallystick.retention.applying import APPLY_RETENTION

CREATED_BY = {"issuer": "tallystick", "subject": "retention"}

SCHEDULE_SECONDS = 600.0
"""Seconds between two looks whether a day has begun for which nobody asked yet."""


async def schedule(database: Database, jobs: JobService, platform_days: int | None = None) -> str | None:
    """Ask for the job of this day of UTC, unless it was asked for or nothing has a policy; returns its id.

    Raises:
        DatabaseDownError: PostgreSQL does not answer.
    """
    async with database.worker_session() as connection, connection.transaction():
        policies = await queries.read_policies(connection)
        if platform_days is None and all(policy.days is None for policy in policies):
            return None
        await queries.lock_runs(connection)
        day = await queries.today(connection)
        job_id = await queries.begin_run(connection, day, PLATFORM_TENANT, APPLY_RETENTION, CREATED_BY)
    if job_id is not None:
        await jobs.tell(job_id)
    return job_id
