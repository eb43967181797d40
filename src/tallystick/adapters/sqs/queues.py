"""The queues themselves: found by their names, and made with their dead-letter queues where they are missing."""

import asyncio
import json
from typing import Final

from tallystick.adapters.sqs.client import NoQueueError, QueueNameTakenError, Sqs
from tallystick.ports import QueueKind

KINDS: Final[tuple[QueueKind, ...]] = ("wake-ups", "jobs")

MAX_RECEIVES: Final = 5
"""So often a message is given out; then it goes to the dead-letter queue."""

VISIBILITY_SECONDS: Final = 30
"""So long a message that was given out is not given out again. Ours are done with in a moment."""

_MINUTE, _DAY = 60, 86_400

_COMMON: Final = {
    "FifoQueue": "true",
    "ContentBasedDeduplication": "false",
    "DeduplicationScope": "messageGroup",
    "FifoThroughputLimit": "perMessageGroupId",
    "VisibilityTimeout": str(VISIBILITY_SECONDS),
}
_RETENTION: Final = {"wake-ups": 5 * _MINUTE, "jobs": _DAY}
"""Seconds; what is older the sweeps have found. Else a worker would come back to hours of stale wake-ups."""

_DEAD_RETENTION: Final = 14 * _DAY


class Queues:
    """URLs of the queues of one installation.

    Args:
        sqs: Where they are.
        prefix: Of their names.
    """

    def __init__(self, sqs: Sqs, prefix: str) -> None:
        self._sqs = sqs
        self._prefix = prefix
        self._urls: dict[str, str] = {}
        self._making = asyncio.Lock()

    async def url(self, kind: QueueKind, *, dead: bool = False) -> str:
        """The URL of a queue, or of its dead-letter queue. Both are made if the queue is missing.

        Raises:
            UnavailableError: As `Sqs.call` raises it.
        """
        name = self._name(kind, dead=dead)
        if name not in self._urls:
            async with self._making:
                if name not in self._urls:
                    self._urls[name] = await self._found_or_made(kind, dead=dead)
        return self._urls[name]

    def forget(self, kind: QueueKind) -> None:
        """Look for a queue again: it was removed."""
        for dead in (False, True):
            self._urls.pop(self._name(kind, dead=dead), None)

    def _name(self, kind: QueueKind, *, dead: bool) -> str:
        return f"{self._prefix}-{kind}{'-dead' if dead else ''}.fifo"

    async def _found_or_made(self, kind: QueueKind, *, dead: bool) -> str:
        """Look before making: who may not make queues can use those that are there."""
        name = self._name(kind, dead=dead)
        try:
            return await self._find(name)
        except NoQueueError:
            pass
        if dead:
            return await self._make(name, {"MessageRetentionPeriod": str(_DEAD_RETENTION)})
        dead_url = await self._found_or_made(kind, dead=True)
        answer = await self._sqs.call("get_queue_attributes", QueueUrl=dead_url, AttributeNames=["QueueArn"])
        redrive = {"deadLetterTargetArn": answer["Attributes"]["QueueArn"], "maxReceiveCount": MAX_RECEIVES}
        return await self._make(
            name, {"MessageRetentionPeriod": str(_RETENTION[kind]), "RedrivePolicy": json.dumps(redrive)}
        )

    async def _find(self, name: str) -> str:
        return (await self._sqs.call("get_queue_url", QueueName=name))["QueueUrl"]

    async def _make(self, name: str, attributes: dict[str, str]) -> str:
        try:
            answer = await self._sqs.call("create_queue", QueueName=name, Attributes={**_COMMON, **attributes})
        except QueueNameTakenError:  # another process was faster, with the attributes of its release
            return await self._find(name)
        return answer["QueueUrl"]
