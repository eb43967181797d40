"""`SqsQueue`: what the port asks for, and what an operator does with messages that were given out too often."""

import asyncio
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Final, Self

import structlog

from tallystick.adapters.sqs.client import LONGEST_WAIT, NoQueueError, Sqs
from tallystick.adapters.sqs.queues import Queues
from tallystick.errors import UnavailableError
from tallystick.ports import Depth, Message, QueueKind
from tallystick.settings import QueueSettings

_log = structlog.get_logger("tallystick.sqs")

_BATCH: Final = 10
"""Most messages in one call, by SQS's limit."""

_MOST_AT_ONCE: Final = 500
"""Most messages of one `receive`: the first are to be done with before they are given out again."""

_PAUSES: Final = (0.1, 0.4, 1.6)
"""Seconds before what a batch left undone is tried again."""

_REDRIVE_SECONDS: Final = 60

_CAUSE: Final = "traceparent"
"""The attribute of a message that says what it comes of: 55 characters, and none where nothing is traced."""

Entry = dict[str, Any]


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """What a dead-letter queue holds.

    Attributes:
        kind: Whose.
        count: How many messages, nearly.
        subjects: Of some of them, the oldest first.
    """

    kind: QueueKind
    count: int
    subjects: tuple[str, ...]


class SqsQueue:
    """A `Queue` over two FIFO queues of SQS, made on first use where they are missing.

    A message's group is its log or its job, so that none waits for another's. SQS swallows what comes again within five
    minutes under the same deduplication id: for a wake-up log and size, for a job its id.

    Args:
        settings: Where SQS is, and how the queues are named.
    """

    def __init__(self, settings: QueueSettings) -> None:
        self._sqs = Sqs(settings)
        self._queues = Queues(self._sqs, settings.prefix)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Open the connection.

        Raises:
            ConfigurationError: No credentials were found.
        """
        await self._stack.enter_async_context(self._sqs)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def wake(self, sizes: Mapping[int, int], causes: Mapping[int, str]) -> None:
        """See `Queue`."""
        await self._send(
            "wake-ups", [_entry(f"{log_id}:{size}", cause=causes.get(log_id)) for log_id, size in sizes.items()]
        )

    async def submit(self, job_id: str, cause: str | None = None) -> None:
        """See `Queue`. Again within five minutes it does nothing."""
        await self._send("jobs", [_entry(job_id, cause=cause)])

    async def receive(self, kind: QueueKind, *, limit: int, wait: float) -> Sequence[Message]:
        """See `Queue`. Waits whole seconds, at most 20."""
        most = min(limit, _MOST_AT_ONCE)
        found: list[Message] = []
        seconds = min(math.ceil(wait), LONGEST_WAIT)
        while len(found) < most:
            asked = min(_BATCH, most - len(found))
            answer = await self._call(
                kind,
                "receive_message",
                MaxNumberOfMessages=asked,
                WaitTimeSeconds=seconds,
                MessageAttributeNames=[_CAUSE],
            )
            messages = answer.get("Messages", ())
            found += map(_message, messages)
            if len(messages) < asked:
                break
            seconds = 0
        return found

    async def done(self, kind: QueueKind, messages: Sequence[Message]) -> None:
        """See `Queue`. A message whose time ran out meanwhile comes again."""
        await self._batches(kind, "delete_message_batch", [{"ReceiptHandle": each.receipt} for each in messages])

    async def depth(self, kind: QueueKind) -> Depth:
        """See `Queue`. Takes the permission `sqs:GetQueueAttributes`."""
        waiting, taken = await self._count(kind)
        return Depth(waiting, taken, dead=sum(await self._count(kind, dead=True)))

    async def _count(self, kind: QueueKind, *, dead: bool = False) -> tuple[int, int]:
        """How many messages can be taken, and how many are taken, nearly."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = await self._call(kind, "get_queue_attributes", dead=dead, AttributeNames=names)
        waiting, taken = (int(answer["Attributes"][name]) for name in names)
        return waiting, taken

    async def dead(self, kind: QueueKind, limit: int = 100) -> DeadLetters:
        """Look at messages that were given out too often without being done with.

        Args:
            kind: Of which queue.
            limit: Most subjects to look at.

        Raises:
            UnavailableError: SQS does not answer.
        """
        count = sum(await self._count(kind, dead=True))
        seen: list[Entry] = []
        most = min(limit, count)
        while len(seen) < most and (messages := await self._take_dead(kind, min(_BATCH, most - len(seen)))):
            seen += messages
        back = [{"ReceiptHandle": message["ReceiptHandle"], "VisibilityTimeout": 0} for message in seen]
        await self._batches(kind, "change_message_visibility_batch", back, dead=True)
        return DeadLetters(kind, count, tuple(message["Body"] for message in seen))

    async def redrive(self, kind: QueueKind) -> int:
        """Give dead messages out again; returns how many.

        One that is broken off has sent some twice at worst.

        Raises:
            UnavailableError: SQS does not answer.
        """
        moved = 0
        while messages := await self._take_dead(kind, _BATCH):
            # Under its own id: that of its subject may be of the last five minutes.
            await self._send(kind, [_entry(message["Body"], f"dead:{message['MessageId']}") for message in messages])
            receipts = [{"ReceiptHandle": message["ReceiptHandle"]} for message in messages]
            await self._batches(kind, "delete_message_batch", receipts, dead=True)
            moved += len(messages)
        return moved

    async def _take_dead(self, kind: QueueKind, limit: int) -> Sequence[Entry]:
        answer = await self._call(
            kind,
            "receive_message",
            dead=True,
            MaxNumberOfMessages=limit,
            WaitTimeSeconds=1,  # else not all of its servers are asked
            VisibilityTimeout=_REDRIVE_SECONDS,
        )
        return answer.get("Messages", ())

    async def _send(self, kind: QueueKind, entries: Sequence[Entry]) -> None:
        await self._batches(kind, "send_message_batch", entries)

    async def _batches(self, kind: QueueKind, operation: str, entries: Sequence[Entry], *, dead: bool = False) -> None:
        """Call a batch operation for any number of entries; those that SQS fails on are tried again, alone."""
        for batch in _tens(entries):
            left = batch
            for pause in (*_PAUSES, None):
                answer = await self._call(kind, operation, dead=dead, Entries=left)
                failures = answer.get("Failed", ())
                ours = [failure["Code"] for failure in failures if failure["SenderFault"]]
                if ours:  # as of a receipt that is too old: no repetition makes it better
                    _log.warning("entries_refused", operation=operation, codes=sorted(set(ours)), entries=len(ours))
                again = {failure["Id"] for failure in failures if not failure["SenderFault"]}
                left = [entry for entry in left if entry["Id"] in again]
                if not left:
                    break
                if pause is None:
                    raise UnavailableError(f"the queue left {len(left)} of {operation} undone")
                await asyncio.sleep(pause)

    async def _call(
        self, kind: QueueKind, operation: str, *, dead: bool = False, **parameters: object
    ) -> dict[str, Any]:
        """Call an operation on a queue; one that was removed is made again."""
        for _ in range(2):
            url = await self._queues.url(kind, dead=dead)
            try:
                return await self._sqs.call(operation, QueueUrl=url, **parameters)
            except NoQueueError:
                self._queues.forget(kind)
        raise UnavailableError(f"the queue of {kind} is removed again and again")


def _entry(subject: str, deduplication_id: str | None = None, *, cause: str | None = None) -> Entry:
    """A message to be sent; it goes under its subject where no deduplication id is given."""
    entry: Entry = {
        "MessageBody": subject,
        "MessageGroupId": subject.partition(":")[0],
        "MessageDeduplicationId": deduplication_id or subject,
    }
    if cause is not None:
        entry["MessageAttributes"] = {_CAUSE: {"DataType": "String", "StringValue": cause}}
    return entry


def _message(taken: Entry) -> Message:
    cause = taken.get("MessageAttributes", {}).get(_CAUSE, {}).get("StringValue")
    return Message(taken["Body"], taken["ReceiptHandle"], cause)


def _tens(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    """Cut entries into batches, and give each an id in its batch."""
    for start in range(0, len(entries), _BATCH):
        yield [{"Id": str(number), **entry} for number, entry in enumerate(entries[start : start + _BATCH])]
