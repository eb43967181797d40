"""Log groups: encrypted by our key, and kept for three months."""

from aws_cdk import RemovalPolicy
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from constructs import Construct


def log_group(scope: Construct, name: str, key: kms.IKey, called: str | None = None) -> logs.LogGroup:
    """A log group.

    Args:
        scope: Where it belongs.
        name: Its name there.
        key: What encrypts it.
        called: Its name in CloudWatch, where AWS wants a certain one.
    """
    return logs.LogGroup(
        scope,
        name,
        log_group_name=called,
        encryption_key=key,
        retention=logs.RetentionDays.THREE_MONTHS,
        removal_policy=RemovalPolicy.DESTROY,
    )
