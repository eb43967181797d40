"""SQS as we call it: by operation, with credentials found as AWS's tools find them and failures told as ours."""

from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, Final, Self
from urllib.parse import urlsplit

import structlog
from aiobotocore.config import AioConfig  # pyright: ignore[reportMissingTypeStubs]
from botocore.exceptions import BotoCoreError, ClientError  # pyright: ignore[reportMissingTypeStubs]

from tallystick.adapters.aws import find_client
from tallystick.errors import ConfigurationError, UnavailableError
from tallystick.settings import QueueSettings

_log = structlog.get_logger("tallystick.sqs")

LONGEST_WAIT: Final = 20
"""Seconds that a receive may wait for the first message, by SQS's limit."""

_CONNECT_SECONDS: Final = 3.0
_READ_SECONDS: Final = LONGEST_WAIT + 5.0
_ATTEMPTS: Final = 3

_MISSING: Final = ("QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue")
_TAKEN: Final = ("QueueNameExists", "QueueAlreadyExists")


class NoQueueError(Exception):
    """There is no queue of that name."""


class QueueNameTakenError(Exception):
    """There is a queue of that name already, with other attributes."""


class Sqs:
    """A connection to SQS.

    Args:
        settings: Where it is.
    """

    def __init__(self, settings: QueueSettings) -> None:
        self._settings = settings
        self._stack = AsyncExitStack()
        self._client: Any = None

    async def __aenter__(self) -> Self:
        """Find credentials.

        Raises:
            ConfigurationError: There are none, or the settings of AWS or ours cannot be used.
        """
        try:
            self._client = await self._stack.enter_async_context(await self._connect())
        except (BotoCoreError, ValueError) as error:
            raise ConfigurationError(
                f"the queue's client cannot be made: {error}. Check the settings of the queue and those of AWS in the "
                "environment"
            ) from error
        return self

    async def _connect(self) -> AbstractAsyncContextManager[Any]:
        endpoint = self._settings.endpoint
        if endpoint is not None and not urlsplit(endpoint).netloc:
            raise ValueError(f"{endpoint} is not a URL")
        config = AioConfig(
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=_READ_SECONDS,
            retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        )
        return await find_client("sqs", "the queue", region=self._settings.region, endpoint=endpoint, config=config)

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def call(self, operation: str, **parameters: object) -> dict[str, Any]:
        """Call an operation, named as in Python (``send_message_batch``); tried a few times where that may help.

        Raises:
            NoQueueError: The queue that was named is not there.
            QueueNameTakenError: A queue to be made is there, with other attributes.
            UnavailableError: SQS does not answer, refuses, or is at its limit.
        """
        try:
            return await getattr(self._client, operation)(**parameters)
        except ClientError as error:
            response: Any = error.response
            code = str(response["Error"]["Code"])
            if code.endswith(_MISSING):
                raise NoQueueError from error
            if code.endswith(_TAKEN):
                raise QueueNameTakenError from error
            _log.warning("sqs_refused", operation=operation, code=code)
            raise UnavailableError(f"the queue refused {operation}: {code}") from error
        except BotoCoreError as error:
            raise UnavailableError(f"the queue does not answer: {type(error).__name__}") from error
