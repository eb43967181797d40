"""A ring of master keys in AWS KMS: a key there wraps and unwraps, and never leaves it."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, Final, Self

import structlog
from aiobotocore.config import AioConfig  # pyright: ignore[reportMissingTypeStubs]
from botocore.exceptions import BotoCoreError, ClientError  # pyright: ignore[reportMissingTypeStubs]

from tallystick.adapters.aws import find_client
from tallystick.errors import ConfigurationError, KeysDownError
from tallystick.ports import MasterKeyLostError, Wrapped
from tallystick.settings import KeySettings

_log = structlog.get_logger("tallystick.kms")

_ATTEMPTS: Final = 2
_CONNECTIONS: Final = 16
_LOST: Final = frozenset({"InvalidCiphertextException", "IncorrectKeyException", "NotFoundException"})
"""What KMS says of a wrapped key that it can never unwrap: altered, of another context or key, or its key is gone."""


class KmsKeyRing:
    """Implements `KeyRing` by the operations Encrypt, Decrypt, ReEncrypt and DescribeKey of KMS.

    The context is the encryption context, so CloudTrail shows for which tenant a key was unwrapped. That KMS rotates
    the material of its key changes nothing here.

    Args:
        settings: Which key, and where.
    """

    def __init__(self, settings: KeySettings) -> None:
        self._settings = settings
        self._stack = AsyncExitStack()
        self._client: Any = None
        self._arn: str | None = None

    async def __aenter__(self) -> Self:
        """Find credentials; KMS itself is not asked anything.

        Raises:
            ConfigurationError: There are none, no key is named, or the settings of AWS or ours cannot be used.
        """
        if self._settings.key_id is None:
            raise ConfigurationError("name the key in KMS that wraps: set TALLYSTICK_KEYS__KEY_ID")
        try:
            self._client = await self._stack.enter_async_context(await self._connect())
        except (BotoCoreError, ValueError) as error:
            raise ConfigurationError(
                f"the client of KMS cannot be made: {error}. Check TALLYSTICK_KEYS__* and the settings of AWS in the"
                " environment"
            ) from error
        return self

    async def _connect(self) -> AbstractAsyncContextManager[Any]:
        settings = self._settings
        config = AioConfig(
            connect_timeout=settings.timeout,
            read_timeout=settings.timeout,
            max_pool_connections=_CONNECTIONS,
            retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        )
        return await find_client("kms", "KMS", region=settings.region, endpoint=settings.endpoint, config=config)

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def active_id(self) -> str:
        """See `ports.KeyRing`. An alias is looked up once a process: to move it takes a restart."""
        if self._arn is None:
            answer = await self._call("describe_key", KeyId=self._settings.key_id)
            self._arn = str(answer["KeyMetadata"]["Arn"])
        return self._arn

    async def wrap(self, key: bytes, context: Mapping[str, str]) -> Wrapped:
        """See `ports.KeyRing`."""
        arn = await self.active_id()
        answer = await self._call("encrypt", KeyId=arn, Plaintext=key, EncryptionContext=dict(context))
        return Wrapped(arn, answer["CiphertextBlob"])

    async def unwrap(self, wrapped: Wrapped, context: Mapping[str, str]) -> bytes:
        """See `ports.KeyRing`."""
        try:
            answer = await self._call(
                "decrypt",
                KeyId=wrapped.master_key_id,
                CiphertextBlob=wrapped.content,
                EncryptionContext=dict(context),
            )
        except MasterKeyLostError:
            # Where our own key is not found either, this is another region or account, and nothing is known to be lost.
            await self.active_id()
            raise
        return answer["Plaintext"]

    async def rewrap(self, wrapped: Wrapped, context: Mapping[str, str]) -> Wrapped:
        """See `ports.KeyRing`."""
        arn = await self.active_id()
        answer = await self._call(
            "re_encrypt",
            CiphertextBlob=wrapped.content,
            SourceKeyId=wrapped.master_key_id,
            SourceEncryptionContext=dict(context),
            DestinationKeyId=arn,
            DestinationEncryptionContext=dict(context),
        )
        return Wrapped(arn, answer["CiphertextBlob"])

    async def _call(self, operation: str, **parameters: object) -> dict[str, Any]:
        try:
            return await getattr(self._client, operation)(**parameters)
        except ClientError as error:
            response: Any = error.response
            code = str(response["Error"]["Code"])
            _log.warning("kms_refused", operation=operation, code=code)
            # Of the key that wraps now, which may be named wrongly, nothing is known to be lost.
            if code in _LOST and operation in ("decrypt", "re_encrypt"):
                raise MasterKeyLostError(f"KMS refused {operation}: {code}") from None
            raise KeysDownError(f"KMS refused {operation}: {code}", retry_after=5) from None
        except (BotoCoreError, OSError) as error:
            _log.warning("kms_down", operation=operation, error=type(error).__name__)
            raise KeysDownError(f"KMS does not answer: {type(error).__name__}", retry_after=2) from None
