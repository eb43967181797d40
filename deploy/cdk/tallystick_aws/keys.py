"""Keys of KMS: one for each kind of thing, all rotated every year, so that who may read one kind reads no other."""

from typing import Final

from aws_cdk import Aws, Duration, RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

_WAIT: Final = Duration.days(30)
"""So long a key that somebody scheduled for deletion can still be saved."""


class Keys(Construct):
    """The keys.

    Attributes:
        tenants: Wraps the data keys of tenants; the application's own, `TALLYSTICK_KEYS__KEY_ID`.
        storage: Database, objects, search index, cache, images, backups.
        secrets: Secrets Manager.
        messages: Queues and alarms.
        logs: Log groups.
    """

    def __init__(self, scope: Construct, name: str) -> None:
        super().__init__(scope, name)
        self.tenants = self._key("Tenants", "Wraps the data keys of Tallystick's tenants")
        self.storage = self._key("Storage", "Encrypts what Tallystick stores")
        self.secrets = self._key("Secrets", "Encrypts Tallystick's secrets")
        self.messages = self._key("Messages", "Encrypts Tallystick's queues and alarms")
        self.logs = self._key("Logs", "Encrypts Tallystick's log groups")
        self._let_services_use()

    def _key(self, name: str, description: str) -> kms.Key:
        return kms.Key(
            self,
            name,
            description=description,
            alias=f"alias/tallystick-{name.lower()}",
            enable_key_rotation=True,
            pending_window=_WAIT,
            removal_policy=RemovalPolicy.RETAIN,
        )

    def _let_services_use(self) -> None:
        """Log groups and alarms are encrypted by services, not by a role of ours."""
        use = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"]
        logs = f"arn:{Aws.PARTITION}:logs:{Aws.REGION}:{Aws.ACCOUNT_ID}:log-group:*"
        self.logs.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[iam.ServicePrincipal(f"logs.{Aws.REGION}.amazonaws.com")],
                actions=use,
                resources=["*"],  # in the policy of a key: this key
                conditions={"ArnLike": {"kms:EncryptionContext:aws:logs:arn": logs}},
            )
        )
        self.messages.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["kms:Decrypt", "kms:GenerateDataKey*"],
                resources=["*"],
                conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}},
            )
        )
