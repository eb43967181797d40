"""Queues in the session's server that speaks SQS, under names that no other test has."""

import asyncio
from uuid import uuid4

from tallystick.adapters.sqs.client import Sqs
from tallystick.adapters.sqs.queue import SqsQueue
from tallystick.ports import QueueKind
from tallystick.settings import QueueSettings

DEADLINE = 30.0


def queue_settings(endpoint: str) -> QueueSettings:
    """Settings of queues that nobody else uses."""
    return QueueSettings(kind="sqs", endpoint=endpoint, prefix=f"test-{uuid4().hex[:12]}")


def open_queue(endpoint: str) -> SqsQueue:
    """A queue that nobody else uses."""
    return SqsQueue(queue_settings(endpoint))


async def kill_messages(settings: QueueSettings, queue: SqsQueue, kind: QueueKind, wanted: int) -> None:
    """Let so many messages be given out too often."""
    async with Sqs(settings) as sqs:
        url = (await sqs.call("get_queue_url", QueueName=f"{settings.prefix}-{kind}.fifo"))["QueueUrl"]
        await sqs.call("set_queue_attributes", QueueUrl=url, Attributes={"VisibilityTimeout": "0"})
        async with asyncio.timeout(DEADLINE):
            while (await queue.dead(kind)).count < wanted:
                await queue.receive(kind, limit=100, wait=0)
        await sqs.call("set_queue_attributes", QueueUrl=url, Attributes={"VisibilityTimeout": "30"})
