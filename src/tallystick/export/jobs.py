"""The job that writes an export into the object store, in the worker."""

import asyncio
import hashlib
import secrets
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Final

from tallystick.database.pools import Database
from tallystick.errors import InvalidError
from tallystick.export import narrowing, queries
from tallystick.export.formats import Compression, Compressor, compressor, file_ending
from tallystick.export.model import ExportQuery, Finished, StoredExport
from tallystick.export.parameters import compression_of, export_query
from tallystick.export.service import Export, ExportService
from tallystick.jobs.model import Job, JobFailedError, Progress
from tallystick.objects.store import Objects
from tallystick.privacy.chunks import Encryptor
from tallystick.privacy.service import TenantKeys
from tallystick.query.ast import Everything, Node, conjunction
from tallystick.settings import ExportSettings

EXPORT: Final = "export"
"""The kind of these jobs."""

_PATIENCE: Final = timedelta(days=1)
"""How long an export is tried while what it needs does not answer."""

_REPORTED: Final = 1.0
"""Seconds between two reports of progress."""


class ExportJob:
    """Writes exports. After a crash one begins anew, up to the same end: nothing of a half object was ever seen.

    Every attempt writes an object of its own, and the one recorded is the export. So a worker that was taken for dead
    never touches what another has finished.

    Args:
        database: Where exports are recorded.
        exports: Reads them.
        objects: Where they are written.
        keys: Of tenants, which encrypt them.
        settings: Of exports.
    """

    def __init__(
        self, database: Database, exports: ExportService, objects: Objects, keys: TenantKeys, settings: ExportSettings
    ) -> None:
        self._database = database
        self._exports = exports
        self._objects = objects
        self._keys = keys
        self._settings = settings

    async def run(self, job: Job, progress: Progress) -> None:
        """See `jobs.model.Handler`."""
        if job.started_at is not None and datetime.now(UTC) - job.started_at > _PATIENCE and job.error is not None:
            raise JobFailedError(f"not written within a day: {job.error}")
        export = await self._find(job.id)
        if export is None or export.deleted:
            raise JobFailedError("it was deleted")
        if export.key is not None:  # written just before its worker ended
            return
        narrow, query, compression = _read(export)
        key = f"{export.folder}/{secrets.token_hex(8)}{file_ending(query.format, compression)}"
        encryptor = Encryptor(await self._keys.of(export.owner.tenant_id), key)
        reading = await self._exports.open(export.log_id, narrow, query)
        writing = _Writing(reading, progress, _total(narrow, query), self._settings.max_bytes, encryptor)
        try:
            await self._objects.put(key, writing.pieces(compression))
        finally:
            await reading.aclose()
        finished = Finished(key, reading.events, writing.size, writing.digest.digest(), encryptor.key_id)
        await self._record(export, finished)
        await progress.report(reading.events, reading.events, {})

    async def discard(self, job: Job) -> None:
        """See `jobs.model.Handler`."""
        export = await self._find(job.id)
        if export is not None:
            await remove_objects(self._objects, export.folder)

    async def _find(self, export_id: str) -> StoredExport | None:
        async with self._database.worker_session() as connection:
            return (await queries.find_exports(connection, [export_id])).get(export_id)

    async def _record(self, export: StoredExport, finished: Finished) -> None:
        async with self._database.worker_session() as connection:
            recorded = await queries.finish_export(connection, export.id, finished, self._settings.keep)
        if not recorded:  # another was quicker, or nobody wants it any more
            await self._objects.delete([finished.key])


def _read(export: StoredExport) -> tuple[Node, ExportQuery, Compression]:
    """What was asked for, and what its owner may see of it.

    Raises:
        JobFailedError: This release does not understand it as the one did that took it.
    """
    try:
        narrow = narrowing.read(export.narrowing)
        query = replace(export_query(export.asked), through=export.through_seq)
        return narrow, query, compression_of(export.asked)
    except (InvalidError, ValueError) as error:
        raise JobFailedError("this release cannot read what was asked for: ask again") from error


def _total(narrow: Node, query: ExportQuery) -> int | None:
    """How many events there will be, or a few more where some were removed; None where only the end can tell."""
    listing = query.search.listing
    wanted = conjunction(listing.filters, query.search.text, narrow)
    whole = isinstance(wanted, Everything) and listing.from_us is None and listing.to_us is None
    return (query.through or 0) + 1 if whole else None


class _Writing:
    """Turns an export into the bytes of its object, and tells how far it is.

    Attributes:
        size: Of the content, before it is encrypted.
        digest: Likewise.
    """

    def __init__(
        self, export: Export, progress: Progress, total: int | None, max_bytes: int, encryptor: Encryptor
    ) -> None:
        self._export = export
        self._progress = progress
        self._total = total
        self._max_bytes = max_bytes
        self._encryptor = encryptor
        self.size = 0
        self.digest = hashlib.sha256()

    async def pieces(self, compression: Compression) -> AsyncGenerator[bytes]:
        squeeze = None if compression == "none" else compressor(compression)
        told = monotonic() - _REPORTED
        async for piece in self._export.pieces:
            if data := await asyncio.to_thread(self._take, piece, squeeze):
                yield data
            if monotonic() - told >= _REPORTED:
                await self._progress.report(self._export.events, self._total, {})
                told = monotonic()
        if squeeze is not None and (data := self._encrypt(squeeze.flush())):
            yield data
        yield self._encryptor.end()

    def _take(self, piece: bytes, squeeze: Compressor | None) -> bytes:
        return self._encrypt(piece if squeeze is None else squeeze.compress(piece))

    def _encrypt(self, data: bytes) -> bytes:
        self.digest.update(data)
        self.size += len(data)
        if self.size > self._max_bytes:
            raise JobFailedError(
                f"it has more than {self._max_bytes} bytes, the most that TALLYSTICK_EXPORTS__MAX_BYTES allows: ask for"
                " less at a time, such as one month, or let it be compressed"
            )
        return self._encryptor.take(data)


async def remove_objects(objects: Objects, folder: str) -> None:
    """Remove all that lies below a prefix, unfinished uploads included.

    Raises:
        ObjectsDownError: The store does not answer.
    """
    for key in await objects.unfinished(folder):
        await objects.abort(key)
    async with aclosing(objects.keys(folder)) as found:
        await objects.delete([key async for key in found])
