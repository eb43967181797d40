"""Exports in the object store: asked for, looked at, fetched and deleted, each by the one principal it is for."""

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

import structlog

from tallystick.auth.access import Access
from tallystick.auth.permissions import Permission
from tallystick.database.pools import Database
from tallystick.errors import (
    ConflictError,
    ForbiddenError,
    GoneError,
    NotFoundError,
    ObjectsDownError,
    RateLimitedError,
)
from tallystick.export import narrowing, queries
from tallystick.export.admission import Admission
from tallystick.export.jobs import EXPORT
from tallystick.export.model import Owner, StoredExport
from tallystick.export.parameters import compression_of, export_query
from tallystick.export.service import ExportService
from tallystick.jobs.queries import JobFilter, insert_job, request_cancel
from tallystick.jobs.service import JobService
from tallystick.log.query_string import Values, refuse_nul
from tallystick.objects.store import ObjectMissingError, Objects
from tallystick.privacy.chunks import DamagedObjectError, Decryptor, header_bytes, span_of
from tallystick.privacy.sealing import DataKeys
from tallystick.privacy.service import TenantKeys
from tallystick.query.ast import Everything
from tallystick.settings import ExportSettings

_log: Any = structlog.get_logger("tallystick.export")

_ID: Final = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}")

DOWNLOADS: Final = 32
"""Objects that a process sends at once, each with 4 MiB in memory."""

_EVERYTHING: Final = narrowing.written(Everything())
_LONGEST_WAIT: Final = 3_600


@dataclass(frozen=True, slots=True)
class StoredPage:
    """A page of a listing, with the cursors of its neighbours."""

    exports: Sequence[StoredExport]
    next: str | None
    prev: str | None


class Content:
    """Bytes of an object, of which the first are read already.

    Attributes:
        pieces: They, piece by piece.
    """

    def __init__(self, first: bytes, rest: AsyncGenerator[bytes]) -> None:
        self.pieces = self._pieces(first)
        self._rest = rest

    async def _pieces(self, first: bytes) -> AsyncGenerator[bytes]:
        piece = first
        while piece:
            yield piece
            piece = await anext(self._rest, b"")

    async def aclose(self) -> None:
        """Read no further."""
        await self.pieces.aclose()
        await self._rest.aclose()


class StoredExports:
    """Exports as their owners see them. Another's is not there, whoever asks.

    Args:
        database: Used as the control role.
        jobs: Their jobs.
        exports: Settles where an export ends.
        objects: Where they are; here only read.
        keys: Of tenants, which decrypt them.
        settings: Of exports.

    Attributes:
        downloads: Places for those that are being fetched.
    """

    def __init__(
        self,
        database: Database,
        jobs: JobService,
        exports: ExportService,
        objects: Objects,
        keys: TenantKeys,
        settings: ExportSettings,
    ) -> None:
        self._database = database
        self._jobs = jobs
        self._exports = exports
        self._objects = objects
        self._keys = keys
        self._settings = settings
        self.downloads = Admission(DOWNLOADS, "too many exports are being fetched from this process; try again")

    async def ask(self, access: Access, values: Values) -> StoredExport:
        """Ask for an export. Its end is settled here, and what its owner may see: a job does the rest.

        Args:
            access: The owner, in the tenant.
            values: What is asked for; see `export.parameters.STORING`.

        Raises:
            InvalidError: Something in it is not valid.
            RateLimitedError: The owner or the tenant has as many as may be.
            KeysDownError: The tenant has no keys yet, and they cannot be made now.
            DatabaseDownError: PostgreSQL does not answer.
        """
        query = export_query(values)
        compression_of(values)
        refuse_nul(values)
        owner = _owner(access)
        await self._keys.of(owner.tenant_id)  # without a key the job could only wait
        through = await self._exports.end_of(access.events_log, query)
        asked = {name: list(each) for name, each in values.items() if name != "tenant_id"}
        created_by = {"issuer": owner.issuer, "subject": owner.subject}
        async with self._database.control_session() as connection, connection.transaction():
            await queries.lock_quota(connection, owner.tenant_id)
            self._refuse_more(*await queries.count_in_use(connection, owner))
            # No log of the job's own: of those kinds a log has one job at a time.
            job = await insert_job(connection, owner.tenant_id, None, EXPORT, {}, created_by)
            assert job is not None  # noqa: S101  # without a log there is no conflict
            narrow = narrowing.written(access.narrowing)
            await queries.insert_export(connection, job.id, owner, access.events_log, asked, narrow, through)
            export = (await queries.find_exports(connection, [job.id]))[job.id]
        await self._jobs.tell(export.id)
        return export

    def _refuse_more(self, own: int, of_tenant: int, seconds: float | None) -> None:
        settings = self._settings
        if own >= settings.per_principal:
            reason = f"you have {own} exports, the most that there may be: delete one that you have fetched"
        elif of_tenant >= settings.per_tenant:
            reason = f"the tenant has {of_tenant} exports, the most that there may be: fetched ones should be deleted"
        else:
            return
        wait = _LONGEST_WAIT if seconds is None else min(max(int(seconds) + 1, 1), _LONGEST_WAIT)
        raise RateLimitedError(f"{reason}, or wait until one expires", retry_after=wait)

    async def get(self, access: Access, export_id: str) -> StoredExport:
        """Read an export.

        Raises:
            NotFoundError: This principal has none by that id in this tenant.
            DatabaseDownError: PostgreSQL does not answer.
        """
        found = None
        if _ID.fullmatch(export_id):
            async with self._database.control_session() as connection:
                found = await queries.get_export(connection, _owner(access), export_id)
        if found is None:
            raise NotFoundError(f"you have no export {export_id[:50]} here")
        return found

    async def page(self, access: Access, cursor: str | None, limit: int) -> StoredPage:
        """List the principal's exports in a tenant, the newest first.

        Raises:
            InvalidError: The cursor is not one of this listing.
            DatabaseDownError: PostgreSQL does not answer.
        """
        owner = _owner(access)
        created_by = {"issuer": owner.issuer, "subject": owner.subject}
        page = await self._jobs.page(owner.tenant_id, JobFilter(kind=EXPORT, created_by=created_by), cursor, limit)
        async with self._database.control_session() as connection:
            found = await queries.find_exports(connection, [job.id for job in page.jobs])
        # Of what was removed long ago the job alone is known.
        return StoredPage([found[job.id] for job in page.jobs if job.id in found], page.next, page.prev)

    async def delete(self, access: Access, export_id: str) -> None:
        """Delete an export: its job ends, nobody can fetch it from now on, and soon it is removed from the store.

        Raises:
            NotFoundError: This principal has none by that id in this tenant.
            DatabaseDownError: PostgreSQL does not answer.
        """
        export = await self.get(access, export_id)
        async with self._database.control_session() as connection, connection.transaction():
            await queries.delete_export(connection, export.id)
            await request_cancel(connection, export.owner.tenant_id, export.id)

    def check_ready(self, access: Access, export: StoredExport) -> None:
        """Whether an export can be fetched now by its owner.

        Raises:
            ForbiddenError: The owner's token sees less of the log now than when it was asked for, or not this one.
            ConflictError: It is not ready, or came to nothing.
            GoneError: It expired or was deleted.
        """
        if narrowing.written(access.narrowing) not in (_EVERYTHING, export.narrowing):
            raise ForbiddenError("the token sees less of the log than when the export was asked for: ask for a new one")
        if export.log == "access" and not access.may(Permission.ACCESS_READ):
            raise ForbiddenError(f"an export of the access log needs the permission `{Permission.ACCESS_READ}`, too")
        match export.stands:
            case "queued" | "running":
                raise ConflictError("the export is not ready yet: look at its state now and then", retry_after=2)
            case "failed" | "cancelled":
                raise ConflictError(f"the export was {export.stands}, so there is nothing to fetch: ask for a new one")
            case "expired" | "deleted":
                raise GoneError(f"the export is {export.stands}: ask for a new one")
            case "succeeded" if (export.key or "").rpartition("/")[0] == export.folder:
                return
            case _:
                # Whatever the row says: nobody is sent an object from outside of their own folder.
                raise GoneError("the export's object is not where it belongs: ask for a new one")

    async def open(self, export: StoredExport, start: int, end: int) -> Content:
        """Begin to read an export that can be fetched; the first bytes are read, so that a failure is told before.

        Args:
            export: Which.
            start: First byte.
            end: Where to end, exclusive.

        Raises:
            GoneError: Its object is not there, or the key that encrypts it.
            ObjectsDownError: The store does not answer, or gives what was not written.
            KeysDownError: The tenant's keys cannot be had now.
        """
        if export.key_id is None:
            rest = self._objects.read(export.key or "", start, end)
        else:
            keys = await self._keys.of(export.owner.tenant_id, export.key_id)
            if export.key_id not in keys.keys:
                raise GoneError("the key that encrypted the export is gone: ask for a new one")
            rest = self._decrypted(export, keys, export.key_id, start, end)
        try:
            return Content(await anext(rest, b""), rest)
        except ObjectMissingError:
            raise GoneError("the export is no longer in the object store: ask for a new one") from None

    async def _decrypted(
        self, export: StoredExport, keys: DataKeys, key_id: str, start: int, end: int
    ) -> AsyncGenerator[bytes]:
        name, size = export.key or "", export.size or 0
        span = span_of(key_id, size, start, end)
        try:
            header = b""
            async with aclosing(self._objects.read(name, 0, header_bytes(key_id))) as pieces:
                async for piece in pieces:
                    header += piece
            decryptor = Decryptor(keys, name, key_id, header, size, span)
            async with aclosing(self._objects.read(name, span.begin, span.end)) as pieces:
                async for piece in pieces:
                    if content := await asyncio.to_thread(decryptor.take, piece):
                        yield content
            if content := decryptor.end():
                yield content
        except DamagedObjectError as error:
            _log.error("export_damaged", export=export.id, reason=str(error))  # no stack: it is no fault of the code
            raise ObjectsDownError(
                "the object store does not give what was written into it: ask for a new export"
            ) from error


def _owner(access: Access) -> Owner:
    return Owner(access.tenant.id, access.principal.issuer, access.principal.subject)
