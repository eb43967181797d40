"""What S3 needs beside `obstore`: credentials as AWS's own tools find them, and removing unfinished uploads."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import structlog
from aiobotocore.config import AioConfig  # pyright: ignore[reportMissingTypeStubs]
from aiobotocore.session import AioSession  # pyright: ignore[reportMissingTypeStubs]
from botocore.exceptions import BotoCoreError, ClientError  # pyright: ignore[reportMissingTypeStubs]

from tallystick.errors import ObjectsDownError
from tallystick.settings import ObjectSettings

if TYPE_CHECKING:
    from obstore.store import S3Credential

_log = structlog.get_logger("tallystick.objects")

_ASKED_AGAIN: Final = timedelta(seconds=30)
"""How long `obstore` uses credentials before it asks for them again; AWS gives new ones minutes before they expire."""


class S3Credentials:
    """Finds credentials when they are needed first, and renews them.

    `obstore` asks for them in threads of its own, where nothing can be awaited: it gets those that were found last.
    """

    def __init__(self) -> None:
        self._session: Any = AioSession()
        self._found: Any = None

    def __call__(self) -> "S3Credential":
        """The credentials that were found last."""
        return {
            "access_key_id": self._found.access_key,
            "secret_access_key": self._found.secret_key,
            "token": self._found.token,
            "expires_at": datetime.now(UTC) + _ASKED_AGAIN,
        }

    async def find(self) -> Any:  # noqa: ANN401  # the library has no types
        """Find them, new ones where those found last expire soon; to be called before the store is asked.

        Raises:
            ObjectsDownError: There are none.
        """
        try:
            credentials = await self._session.get_credentials()
            if credentials is not None:
                self._found = await credentials.get_frozen_credentials()
                return self._found
        except BotoCoreError as error:
            raise _down(type(error).__name__) from error
        raise ObjectsDownError(
            "no AWS credentials were found for the object store: give this machine a role, or set AWS_ACCESS_KEY_ID "
            "and AWS_SECRET_ACCESS_KEY",
            retry_after=60,
        )

    @asynccontextmanager
    async def client(self, settings: ObjectSettings) -> AsyncGenerator[Any]:
        """A client of S3, for what `obstore` has no call for.

        Raises:
            ObjectsDownError: There are no credentials, or S3 does not answer.
        """
        found = await self.find()
        config = AioConfig(
            connect_timeout=5,
            read_timeout=settings.timeout,
            retries={"mode": "standard", "total_max_attempts": 3},
            s3={"addressing_style": "path" if settings.path_style else "virtual"},
        )
        try:
            async with self._session.create_client(
                "s3",
                region_name=settings.region,
                endpoint_url=settings.endpoint,
                aws_access_key_id=found.access_key,
                aws_secret_access_key=found.secret_key,
                aws_session_token=found.token,
                config=config,
            ) as client:
                yield client
        except ClientError as error:
            response: Any = error.response
            raise _down(str(response["Error"]["Code"])) from error
        except BotoCoreError as error:
            raise _down(type(error).__name__) from error


class S3Uploads:
    """Uploads into a bucket that nobody will finish: S3 keeps their parts, and charges for them, until told.

    Args:
        settings: Of the store.
        bucket: Its bucket.
        prefix: What all keys in it begin with.
        credentials: For it.
    """

    def __init__(self, settings: ObjectSettings, bucket: str, prefix: str, credentials: S3Credentials) -> None:
        self._settings = settings
        self._bucket = bucket
        self._root = f"{prefix}/" if prefix else ""
        self._credentials = credentials

    async def prepare(self) -> None:
        """To be called before the store is asked.

        Raises:
            ObjectsDownError: There are no credentials.
        """
        await self._credentials.find()

    async def keys(self, prefix: str) -> Sequence[str]:
        """See `Objects.unfinished`."""
        async with self._credentials.client(self._settings) as client:
            return sorted({key async for key, _ in self._uploads(client, f"{prefix}/")})

    async def abort(self, key: str) -> None:
        """See `Objects.abort`."""
        async with self._credentials.client(self._settings) as client:
            async for found, upload in self._uploads(client, key):
                if found == key:
                    await client.abort_multipart_upload(Bucket=self._bucket, Key=self._root + key, UploadId=upload)

    async def _uploads(self, client: Any, prefix: str) -> AsyncGenerator[tuple[str, str]]:  # noqa: ANN401
        pages = client.get_paginator("list_multipart_uploads")
        async for page in pages.paginate(Bucket=self._bucket, Prefix=self._root + prefix):
            for upload in page.get("Uploads", ()):
                yield str(upload["Key"]).removeprefix(self._root), str(upload["UploadId"])


def _down(name: str) -> ObjectsDownError:
    _log.warning("objects_failed", error=name)
    return ObjectsDownError(f"the object store does not answer as it should: {name}", retry_after=10)
