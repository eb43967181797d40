"""The application of the CDK: its two stacks, and the rules that they must keep."""

from collections.abc import Mapping
from typing import Final

from aws_cdk import App, Tags, Validations
from cdk_nag import AwsSolutionsChecks

from tallystick_aws.choices import Choices
from tallystick_aws.data import DataStack
from tallystick_aws.service import ServiceStack

FLAGS: Final = {
    "@aws-cdk/aws-ecs:arnFormatIncludesClusterName": True,
    "@aws-cdk/aws-ecs:reduceEc2FargateCloudWatchPermissions": True,
    "@aws-cdk/aws-ecs:removeDefaultDeploymentAlarm": True,
    "@aws-cdk/aws-iam:minimizePolicies": True,
    "@aws-cdk/aws-s3:serverAccessLogsUseBucketPolicy": True,
    "@aws-cdk/core:defaultCrossStackReferences": "strong",
    "@aws-cdk/core:enablePartitionLiterals": True,
    "@aws-cdk/core:validateAgainstDefaultRules": True,
}
"""Behaviour of the CDK that is newer than its default."""


def synthesise(context: Mapping[str, object] | None = None, outdir: str | None = None) -> None:
    """Write the templates of both stacks, checked against AWS's own rules of good practice.

    Args:
        context: Choices; what the CDK's command line says wins.
        outdir: Where to; None where the CDK says it.

    Raises:
        ChoiceError: A choice is missing or cannot be.
        RuntimeError: A rule is broken that nobody gave a reason for.
    """
    app = App(context={**FLAGS, **(context or {})}, outdir=outdir)
    choices = Choices.read(app.node.try_get_context)
    data = DataStack(app, "Tallystick-Data", choices)
    ServiceStack(app, "Tallystick-Service", choices, data)
    Tags.of(app).add("application", "tallystick")
    keep_rules(app)
    app.synth()


def keep_rules(app: App) -> None:
    """Let `app.synth` refuse what breaks a rule of AWS's good practice, unless there is an excuse."""
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))
