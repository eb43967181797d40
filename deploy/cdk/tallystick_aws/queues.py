"""The two queues and their dead-letter queues, as the application would make them itself, and encrypted by our key."""

from collections.abc import Mapping
from typing import Final

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from tallystick_aws.keys import Keys

PREFIX: Final = "tallystick"
_RETENTION: Final[Mapping[str, Duration]] = {"wake-ups": Duration.minutes(5), "jobs": Duration.days(1)}


class Queues(Construct):
    """The queues.

    Attributes:
        work: By kind.
        dead: Their dead-letter queues, by the same kinds.
    """

    def __init__(self, scope: Construct, name: str, keys: Keys) -> None:
        super().__init__(scope, name)
        self._keys = keys
        self.dead = {kind: self._queue(f"{kind}-dead", Duration.days(14)) for kind in _RETENTION}
        self.work = {
            kind: self._queue(kind, kept, sqs.DeadLetterQueue(queue=self.dead[kind], max_receive_count=5))
            for kind, kept in _RETENTION.items()
        }

    def _queue(self, kind: str, kept: Duration, dead: sqs.DeadLetterQueue | None = None) -> sqs.Queue:
        return sqs.Queue(
            self,
            kind.title().replace("-", ""),
            queue_name=f"{PREFIX}-{kind}.fifo",
            fifo=True,
            content_based_deduplication=False,
            deduplication_scope=sqs.DeduplicationScope.MESSAGE_GROUP,
            fifo_throughput_limit=sqs.FifoThroughputLimit.PER_MESSAGE_GROUP_ID,
            visibility_timeout=Duration.seconds(30),
            retention_period=kept,
            dead_letter_queue=dead,
            encryption=sqs.QueueEncryption.KMS,
            encryption_master_key=self._keys.messages,
            # A message says two numbers: to ask KMS once an hour is enough.
            data_key_reuse=Duration.hours(1),
            enforce_ssl=True,
            removal_policy=RemovalPolicy.DESTROY,
        )
