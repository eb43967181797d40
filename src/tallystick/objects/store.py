"""Objects in a folder or in S3: written in parts and seen whole or not at all, read by ranges, listed, deleted."""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import obstore
import structlog
from obstore.exceptions import BaseError
from obstore.store import LocalStore, S3Store
from prometheus_client import CollectorRegistry

from tallystick.errors import ConfigurationError, ObjectsDownError
from tallystick.objects.folders import FolderUploads, private_folder, restrict, sync
from tallystick.objects.metrics import ObjectMetrics, Operation
from tallystick.settings import ObjectSettings

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore, S3Config

    from tallystick.objects.s3 import S3Uploads

_log = structlog.get_logger("tallystick.objects")

PART_BYTES: Final = 16 * 1024 * 1024
"""Size of a part of an upload."""

LARGEST: Final = 10_000 * PART_BYTES
"""Largest object: S3 takes 10,000 parts."""

READ_BYTES: Final = 4 * 1024 * 1024
"""What is read at once."""

_PARTS_AT_ONCE: Final = 2
_CODE: Final = re.compile(r"<Code>(\w{1,64})</Code>")


class ObjectMissingError(Exception):
    """There is no object of that key."""


class Objects:
    """The objects of an installation.

    Args:
        store: Where they are.
        uploads: Uploads into it that were never finished.
        folder: Where they lie as files, or None.
        metrics: Where it counts.
    """

    def __init__(
        self,
        store: "ObjectStore",
        uploads: "FolderUploads | S3Uploads",
        folder: Path | None,
        metrics: ObjectMetrics,
    ) -> None:
        self._store = store
        self._uploads = uploads
        self._folder = folder
        self._metrics = metrics

    @classmethod
    def from_settings(cls, settings: ObjectSettings, home: Path, metrics: ObjectMetrics | None = None) -> "Objects":
        """Open the store that the settings name, without asking it anything.

        Args:
            settings: Which.
            home: The state directory, which holds the folder where none is named.
            metrics: Where it counts.

        Raises:
            ConfigurationError: The settings name none, or the folder cannot be made.
        """
        metrics = metrics or ObjectMetrics(CollectorRegistry())
        place = urlsplit(settings.url or "")
        try:
            if settings.url is None or place.scheme == "file":
                folder = private_folder(home / "objects" if settings.url is None else Path(place.path))
                return cls(LocalStore(folder, automatic_cleanup=True), FolderUploads(folder), folder, metrics)
            if place.scheme == "s3" and place.netloc:
                return cls._in_s3(settings, place.netloc, place.path.strip("/"), metrics)
        except (BaseError, ValueError) as error:
            raise ConfigurationError(f"the object store cannot be used ({type(error).__name__}): {_FORMS}") from error
        raise ConfigurationError(f"the object store cannot be used: {_FORMS}")

    @classmethod
    def _in_s3(cls, settings: ObjectSettings, bucket: str, prefix: str, metrics: ObjectMetrics) -> "Objects":
        # Loaded where it is used alone: it takes most of a second.
        from tallystick.objects.s3 import S3Credentials, S3Uploads  # noqa: PLC0415

        credentials = S3Credentials()
        limits: ClientConfig = {
            "timeout": timedelta(seconds=settings.timeout),
            "connect_timeout": timedelta(seconds=5),
            "allow_http": True,
        }
        store = S3Store(
            bucket,
            prefix=prefix or None,
            region=settings.region,
            virtual_hosted_style_request=not settings.path_style,
            client_options=limits,
            credential_provider=credentials,
            retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=settings.timeout)},
            config=_at(settings.endpoint, bucket, path_style=settings.path_style),
        )
        return cls(store, S3Uploads(settings, bucket, prefix, credentials), None, metrics)

    async def put(self, key: str, pieces: AsyncIterable[bytes], *, synced: bool = False) -> int:
        """Write an object, part by part as its pieces come; returns its size. It is not there before it is whole.

        Whatever `pieces` raises is raised, and nothing is left of the object. One that is `synced` outlives a loss of
        power from the return on, as S3 promises of all.

        Raises:
            ObjectsDownError: The store does not take it.
        """
        # Not as a context: leaving that by an error would finish the object.
        writer = obstore.open_writer_async(self._store, key, buffer_size=PART_BYTES, max_concurrency=_PARTS_AT_ONCE)
        size = 0
        try:
            async for piece in pieces:
                size += len(piece)
                async with self._asking("write"):
                    await writer.write(piece)
            async with self._asking("write"):
                await writer.close()
        except BaseException:
            del writer
            await asyncio.shield(self._give_up(key))
            raise
        if self._folder is not None:
            async with self._asking("write"):
                await asyncio.to_thread(restrict, self._folder / key)
                if synced:
                    await asyncio.to_thread(sync, self._folder, key)
        return size

    async def _give_up(self, key: str) -> None:
        try:
            await self.abort(key)
        except ObjectsDownError:
            _log.warning("upload_left", reason="the store does not answer: it is removed later")

    async def read(self, key: str, start: int, end: int) -> AsyncGenerator[bytes]:
        """Read the bytes from `start` to before `end`, in pieces: each is a request of its own, however long it takes.

        Raises:
            ObjectMissingError: There is no such object.
            ObjectsDownError: The store does not answer.
        """
        while start < end:
            async with self._asking("read", for_one=True):
                length = min(READ_BYTES, end - start)
                piece = bytes(await obstore.get_range_async(self._store, key, start=start, length=length))
            yield piece
            start += len(piece)

    async def keys(self, prefix: str) -> AsyncGenerator[str]:
        """The keys of the objects below a prefix, a whole part of keys.

        Raises:
            ObjectsDownError: The store does not answer.
        """
        async with self._asking("list"):
            pages = obstore.list(self._store, prefix, chunk_size=1_000)  # pyright: ignore[reportUnknownMemberType]  # Arrow
            async for page in pages:
                for each in page:
                    yield each["path"]

    async def folders(self, prefix: str) -> Sequence[str]:
        """The next parts of keys below a prefix, with it.

        Raises:
            ObjectsDownError: The store does not answer.
        """
        async with self._asking("list"):
            found = await obstore.list_with_delimiter_async(self._store, prefix)  # pyright: ignore[reportUnknownMemberType]  # Arrow
            return found["common_prefixes"]

    async def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; those that are not there are passed over.

        Raises:
            ObjectsDownError: The store does not answer.
        """
        for key in keys:
            try:
                async with self._asking("delete", for_one=True):
                    await obstore.delete_async(self._store, key)
            except ObjectMissingError:
                pass

    async def unfinished(self, prefix: str) -> Sequence[str]:
        """Keys below a prefix, a whole part of keys, of uploads that go on or that nobody will finish.

        Raises:
            ObjectsDownError: The store does not answer.
        """
        async with self._asking("list"):
            return await self._uploads.keys(prefix)

    async def abort(self, key: str) -> None:
        """Remove what uploads left that are to be of this key.

        Raises:
            ObjectsDownError: The store does not answer.
        """
        async with self._asking("delete"):
            await self._uploads.abort(key)

    @asynccontextmanager
    async def _asking(self, operation: Operation, *, for_one: bool = False) -> AsyncGenerator[None]:
        """Tell failures of the store as ours. Its own words may name keys of access: of them the code alone is kept.

        Args:
            operation: What is asked.
            for_one: It is asked for one object. What else is not found is the bucket.
        """
        await self._uploads.prepare()
        began = perf_counter()
        try:
            yield
        except ObjectsDownError:  # of uploads, already told
            self._metrics.failures.labels(operation).inc()
            raise
        except (BaseError, OSError) as error:
            if for_one and isinstance(error, FileNotFoundError):
                raise ObjectMissingError from error
            code = _CODE.search(str(error))
            name = code[1] if code else type(error).__name__
            self._metrics.failures.labels(operation).inc()
            _log.warning("objects_failed", error=name)
            raise ObjectsDownError(f"the object store does not answer as it should: {name}", retry_after=10) from error
        finally:
            self._metrics.seconds.labels(operation).observe(perf_counter() - began)


_FORMS: Final = "set TALLYSTICK_OBJECTS__URL to file:///folder or s3://bucket/prefix"


def _at(endpoint: str | None, bucket: str, *, path_style: bool) -> "S3Config":
    """Where a bucket is. `obstore` takes an endpoint as it is: a bucket that goes into the host is put there."""
    if endpoint is None:
        return {}
    url = urlsplit(endpoint.rstrip("/"))
    if url.scheme not in ("http", "https") or not url.netloc:
        raise ConfigurationError("TALLYSTICK_OBJECTS__ENDPOINT must be a URL with http or https")
    host = url.netloc if path_style else f"{bucket}.{url.netloc}"
    return {"endpoint": url._replace(netloc=host).geturl()}
