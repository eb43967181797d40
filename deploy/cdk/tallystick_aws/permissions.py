"""What the code in each task may ask of AWS: the tables of docs/how-to, one function a task."""

from typing import Final

from aws_cdk import Aws

from tallystick_aws import objects
from tallystick_aws.data import DataStack
from tallystick_aws.excuses import excuse
from tallystick_aws.tasks import Task

_ALL_OBJECTS: Final = (
    f"IAM5[Resource::Tallystick-Data:ExportsOutputFnGetAttObjectsBucket5A707942Arn16CAD046/{objects.PREFIX}/*]"
)
"""What the rule calls the objects, by the export of the data stack that names their bucket."""


def let_api(task: Task, data: DataStack) -> None:
    """Tell workers that a log has grown, hand exports out, use the keys of tenants."""
    task.allow(["sqs:GetQueueUrl", "sqs:SendMessage"], _work(data))
    _let_touch_objects(task, data, "s3:GetObject")
    # Else S3 says of an object that was deleted that it is forbidden, not that it is gone.
    task.allow(["s3:ListBucket"], [data.objects.bucket.bucket_arn])
    task.allow(["kms:Encrypt", "kms:Decrypt", "kms:DescribeKey"], [data.keys.tenants.key_arn])
    _let_use_encrypted(task, data, writes=False)


def let_worker(task: Task, data: DataStack) -> None:
    """Take work, tell how much there is, write exports and leaf hashes, use the keys of tenants."""
    task.allow(["sqs:GetQueueUrl", "sqs:SendMessage", "sqs:ReceiveMessage", "sqs:DeleteMessage"], _work(data))
    task.allow(["sqs:GetQueueUrl", "sqs:GetQueueAttributes"], [*_work(data), *_dead(data)])
    _let_write_objects(task, data)
    task.allow(["kms:Encrypt", "kms:Decrypt", "kms:DescribeKey"], [data.keys.tenants.key_arn])
    _let_use_encrypted(task, data, writes=True)


def let_operator(task: Task, data: DataStack) -> None:
    """What commands do beside: look at dead letters and give them out again, wrap keys of tenants anew."""
    task.allow(
        [
            "sqs:GetQueueUrl",
            "sqs:GetQueueAttributes",
            "sqs:SendMessage",
            "sqs:ReceiveMessage",
            "sqs:DeleteMessage",
            "sqs:ChangeMessageVisibility",
        ],
        [*_work(data), *_dead(data)],
    )
    _let_write_objects(task, data)
    task.allow(
        ["kms:Encrypt", "kms:Decrypt", "kms:ReEncryptFrom", "kms:ReEncryptTo", "kms:DescribeKey"],
        [data.keys.tenants.key_arn],
    )
    _let_use_encrypted(task, data, writes=True)


def _work(data: DataStack) -> list[str]:
    return [queue.queue_arn for queue in data.queues.work.values()]


def _dead(data: DataStack) -> list[str]:
    return [queue.queue_arn for queue in data.queues.dead.values()]


def _let_write_objects(task: Task, data: DataStack) -> None:
    """Nobody may remove a version, or lift its lock."""
    _let_touch_objects(task, data, "s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload")
    task.allow(["s3:ListBucket", "s3:ListBucketMultipartUploads"], [data.objects.bucket.bucket_arn])


def _let_touch_objects(task: Task, data: DataStack, *actions: str) -> None:
    task.allow(actions, [data.objects.bucket.arn_for_objects(f"{objects.PREFIX}/*")])
    excuse(task.role, "All objects of this installation lie below this prefix, and nothing else does.", _ALL_OBJECTS)


def _let_use_encrypted(task: Task, data: DataStack, *, writes: bool) -> None:
    """What SQS and S3 ask KMS for in the name of who asks them."""
    reading, writing = ["kms:Decrypt"], ["kms:Decrypt", "kms:GenerateDataKey"]
    for key, service, actions in (
        (data.keys.messages, "sqs", writing),
        (data.keys.storage, "s3", writing if writes else reading),
    ):
        task.allow(
            actions,
            [key.key_arn],
            StringEquals={"kms:ViaService": f"{service}.{Aws.REGION}.amazonaws.com"},
        )
