"""Backups beside the database's own: daily, in a vault whose copies cannot be removed before their time."""

from collections.abc import Sequence
from typing import Final

from aws_cdk import Aws, Duration, RemovalPolicy
from aws_cdk import aws_backup as backup
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from constructs import Construct

from tallystick_aws.excuses import excuse
from tallystick_aws.keys import Keys

KEPT: Final = Duration.days(35)
_LEAST: Final = Duration.days(30)
_POLICIES: Final = (
    "service-role/AWSBackupServiceRolePolicyForBackup",
    "service-role/AWSBackupServiceRolePolicyForRestores",
    "AWSBackupServiceRolePolicyForS3Backup",
    "AWSBackupServiceRolePolicyForS3Restore",
)


class Backup(Construct):
    """The plan.

    Args:
        scope: Where it belongs.
        name: Its name there.
        keys: The storage key encrypts the vault.
        arns: What is backed up.
    """

    def __init__(self, scope: Construct, name: str, keys: Keys, arns: Sequence[str]) -> None:
        super().__init__(scope, name)
        vault = backup.BackupVault(
            self,
            "Vault",
            backup_vault_name=f"tallystick-{Aws.REGION}",
            encryption_key=keys.storage,
            # In governance: nobody removes a copy but who may lift the lock itself.
            lock_configuration=backup.LockConfiguration(min_retention=_LEAST),
            removal_policy=RemovalPolicy.RETAIN,
        )
        plan = backup.BackupPlan(
            self,
            "Plan",
            backup_plan_rules=[
                backup.BackupPlanRule(
                    rule_name="daily",
                    backup_vault=vault,
                    schedule_expression=events.Schedule.cron(hour="4", minute="0"),
                    start_window=Duration.hours(1),
                    completion_window=Duration.hours(12),
                    delete_after=KEPT,
                )
            ],
        )
        role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal("backup.amazonaws.com"),
            managed_policies=[iam.ManagedPolicy.from_aws_managed_policy_name(policy) for policy in _POLICIES],
        )
        excuse(
            role,
            "The policies that AWS maintains for AWS Backup; only that service assumes the role.",
            *(f"IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/{policy}]" for policy in _POLICIES),
        )
        plan.add_selection(
            "What",
            resources=[backup.BackupResource.from_arn(arn) for arn in arns],
            role=role,
            disable_default_backup_policy=True,
        )
