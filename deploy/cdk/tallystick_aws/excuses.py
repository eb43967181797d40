"""Excuses to the rules of cdk-nag: each names the rule, the place, and why it does not hold there."""

from aws_cdk import Acknowledgment, Validations
from constructs import IConstruct


def excuse(construct: IConstruct, reason: str, *rules: str) -> None:
    """Let a construct, and what is in it, break rules.

    Args:
        construct: Where.
        reason: Why that is right.
        rules: Ids of rules of the pack AwsSolutions without its name, as in `IAM5[Resource::*]`.
    """
    Validations.of(construct).acknowledge(*(Acknowledgment(id=f"AwsSolutions-{rule}", reason=reason) for rule in rules))
