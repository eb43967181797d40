"""Exports of whole logs, made before all of a tenant goes: asked for where there is none, kept, removed at the end."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from tallystick.database.pools import Database
from tallystick.export import narrowing, queries
from tallystick.export.jobs import EXPORT, remove_objects
from tallystick.export.model import Owner, StoredExport
from tallystick.jobs.model import JobFailedError, JobState
from tallystick.jobs.queries import insert_job
from tallystick.jobs.service import JobService
from tallystick.objects.store import Objects
from tallystick.query.ast import Everything

_ASKED: Final[Mapping[str, Sequence[str]]] = {"format": ["ndjson"], "compression": ["gzip"]}
"""What any machine can read in ten years."""


class WholeExports:
    """The exports of whole logs of tenants that are to be removed. No limit on the number of exports holds for them.

    Args:
        database: Where exports are recorded; they are asked for as the control role, which the worker is not.
        jobs: Their jobs.
        objects: Where they are.
    """

    def __init__(self, database: Database, jobs: JobService, objects: Objects) -> None:
        self._database = database
        self._jobs = jobs
        self._objects = objects

    async def of(self, owner: Owner, log_id: int, least_seq: int, asked_since: datetime) -> StoredExport | None:
        """The export of a log that holds everything through a seq, whether it is ready or not; None where none is.

        Args:
            owner: Whom it is for.
            log_id: The log.
            least_seq: The seq.
            asked_since: A failure of one that was asked for before is not looked at.

        Raises:
            JobFailedError: It came to nothing.
            DatabaseDownError: PostgreSQL does not answer.
        """
        async with self._database.worker_session() as connection:
            exports = await queries.exports_of(connection, owner.tenant_id)
        for export in reversed(exports):
            if export.kept_until is None or export.log_id != log_id or export.through_seq < least_seq:
                continue
            if export.deleted or export.expired:
                continue
            if export.state in (JobState.FAILED, JobState.CANCELLED):
                if export.created_at < asked_since:
                    continue
                raise JobFailedError(
                    f"the export of the log {export.log} was {export.state}: {export.error or 'somebody wanted that'};"
                    " mend that and ask again"
                )
            return export
        return None

    async def ask(self, owner: Owner, log_id: int, through_seq: int, kept_until: datetime) -> None:
        """Ask for the export of a log through a seq.

        Raises:
            DatabaseDownError: PostgreSQL does not answer.
        """
        created_by = {"issuer": owner.issuer, "subject": owner.subject}
        async with self._database.control_session() as connection, connection.transaction():
            job = await insert_job(connection, owner.tenant_id, None, EXPORT, {}, created_by)
            assert job is not None  # noqa: S101  # without a log there is no conflict
            everything = narrowing.written(Everything())
            await queries.insert_export(
                connection, job.id, owner, log_id, _ASKED, everything, through_seq, kept_until=kept_until
            )
        await self._jobs.tell(job.id)

    async def keep(self, export: StoredExport, until: datetime) -> None:
        """Let one expire at a moment, if not later.

        Raises:
            DatabaseDownError: PostgreSQL does not answer.
        """
        async with self._database.worker_session() as connection:
            await queries.keep_until(connection, export.id, until)

    async def remove(self, tenant_id: str, *, but: Sequence[str] = ()) -> int:
        """Remove exports of a tenant, whosever they are; returns how many. Their jobs must have ended.

        Args:
            tenant_id: Whose.
            but: Ids of those that stay. With none, whatever else lies in the folder of exports goes, too.

        Raises:
            ObjectsDownError: The store does not answer.
            DatabaseDownError: PostgreSQL does not answer.
        """
        async with self._database.worker_session() as connection:
            exports = await queries.exports_of(connection, tenant_id)
        going = [export for export in exports if export.id not in but]
        for export in going:
            await remove_objects(self._objects, export.folder)
            async with self._database.worker_session() as connection:
                await queries.mark_removed(connection, export.id)
        if not but:
            await remove_objects(self._objects, f"tenants/{tenant_id}/exports")
        return len(going)
