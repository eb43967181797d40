"""Queues in the session's server that speaks SQS, under names that no other test has."""

from uuid import uuid4

from tallystick.adapters.sqs.queue import SqsQueue
from tallystick.settings import QueueSettings


def queue_settings(endpoint: str) -> QueueSettings:
    """Settings of queues that nobody else uses."""
    return QueueSettings(kind="sqs", endpoint=endpoint, prefix=f"test-{uuid4().hex[:12]}")


def open_queue(endpoint: str) -> SqsQueue:
    """A queue that nobody else uses."""
    return SqsQueue(queue_settings(endpoint))
