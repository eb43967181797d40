"""The counters of rate limits that all API tasks share: Valkey, two nodes in two zones. It holds nothing of value."""

from typing import Final

from aws_cdk import aws_elasticache as elasticache
from constructs import Construct

from tallystick_aws.choices import Choices
from tallystick_aws.excuses import excuse
from tallystick_aws.keys import Keys
from tallystick_aws.network import Network
from tallystick_aws.secrets import Secrets

PORT: Final = 6379


class Cache(Construct):
    """The replication group.

    Attributes:
        group: The replication group.
    """

    def __init__(
        self, scope: Construct, name: str, choices: Choices, network: Network, keys: Keys, secrets: Secrets
    ) -> None:
        super().__init__(scope, name)
        subnets = elasticache.CfnSubnetGroup(
            self,
            "Subnets",
            description="Where Tallystick's rate limits are counted",
            subnet_ids=network.vpc.select_subnets(subnet_group_name="Data").subnet_ids,
        )
        self.group = elasticache.CfnReplicationGroup(
            self,
            "Group",
            replication_group_description="Tallystick's rate limits",
            engine="valkey",
            engine_version="8.1",
            cache_node_type=choices.sizes.cache,
            num_cache_clusters=2,
            automatic_failover_enabled=True,
            multi_az_enabled=True,
            cache_subnet_group_name=subnets.ref,
            security_group_ids=[network.cache.security_group_id],
            port=PORT,
            transit_encryption_enabled=True,
            transit_encryption_mode="required",
            auth_token=secrets.cache.secret_value.unsafe_unwrap(),
            at_rest_encryption_enabled=True,
            kms_key_id=keys.storage.key_arn,
            auto_minor_version_upgrade=True,
            preferred_maintenance_window="sun:05:00-sun:06:00",
        )
        excuse(self.group, "No port is a secret; only API tasks reach it, with a password and over TLS.", "AEC5")
