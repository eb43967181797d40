"""The search index: an OpenSearch domain in the VPC, over three zones. It can be made anew from the log."""

from typing import Final

from aws_cdk import Aws, CfnDeletionPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_opensearchservice as opensearch
from constructs import Construct

from tallystick_aws.choices import Choices
from tallystick_aws.excuses import excuse
from tallystick_aws.keys import Keys
from tallystick_aws.log_groups import log_group
from tallystick_aws.network import ZONES, Network
from tallystick_aws.secrets import SEARCH_USER, Secrets

_LOGS: Final = ("ES_APPLICATION_LOGS", "INDEX_SLOW_LOGS", "SEARCH_SLOW_LOGS", "AUDIT_LOGS")
NAME: Final = "tallystick"


class Search(Construct):
    """The domain.

    Attributes:
        domain: The domain.
    """

    def __init__(
        self, scope: Construct, name: str, choices: Choices, network: Network, keys: Keys, secrets: Secrets
    ) -> None:
        super().__init__(scope, name)
        size = choices.sizes
        arn = f"arn:{Aws.PARTITION}:es:{Aws.REGION}:{Aws.ACCOUNT_ID}:domain/{NAME}"
        self.domain = opensearch.CfnDomain(
            self,
            "Domain",
            domain_name=NAME,
            engine_version="OpenSearch_3.7",
            # Who comes by the network must still log in: fine-grained access judges, not signatures.
            access_policies={
                "Version": "2012-10-17",
                "Statement": [
                    {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "es:ESHttp*", "Resource": f"{arn}/*"}
                ],
            },
            cluster_config=opensearch.CfnDomain.ClusterConfigProperty(
                instance_type=size.search_node,
                instance_count=size.search_nodes,
                zone_awareness_enabled=True,
                zone_awareness_config=opensearch.CfnDomain.ZoneAwarenessConfigProperty(availability_zone_count=ZONES),
                dedicated_master_enabled=True,
                dedicated_master_type=size.search_master,
                dedicated_master_count=3,
            ),
            ebs_options=opensearch.CfnDomain.EBSOptionsProperty(
                ebs_enabled=True, volume_type="gp3", volume_size=size.search_storage
            ),
            vpc_options=opensearch.CfnDomain.VPCOptionsProperty(
                subnet_ids=network.vpc.select_subnets(subnet_group_name="Data").subnet_ids,
                security_group_ids=[network.search.security_group_id],
            ),
            encryption_at_rest_options=opensearch.CfnDomain.EncryptionAtRestOptionsProperty(
                enabled=True, kms_key_id=keys.storage.key_id
            ),
            node_to_node_encryption_options=opensearch.CfnDomain.NodeToNodeEncryptionOptionsProperty(enabled=True),
            domain_endpoint_options=opensearch.CfnDomain.DomainEndpointOptionsProperty(
                enforce_https=True, tls_security_policy="Policy-Min-TLS-1-2-PFS-2023-10"
            ),
            advanced_security_options=opensearch.CfnDomain.AdvancedSecurityOptionsInputProperty(
                enabled=True,
                internal_user_database_enabled=True,
                master_user_options=opensearch.CfnDomain.MasterUserOptionsProperty(
                    master_user_name=SEARCH_USER,
                    master_user_password=secrets.search.secret_value_from_json("password").unsafe_unwrap(),
                ),
            ),
            software_update_options=opensearch.CfnDomain.SoftwareUpdateOptionsProperty(
                auto_software_update_enabled=True
            ),
            off_peak_window_options=opensearch.CfnDomain.OffPeakWindowOptionsProperty(enabled=True),
            log_publishing_options=self._logs(keys, arn),
        )
        self.domain.cfn_options.deletion_policy = CfnDeletionPolicy.RETAIN
        self.domain.cfn_options.update_replace_policy = CfnDeletionPolicy.RETAIN
        self.domain.add_resource_dependency(self._may_log)
        excuse(
            self.domain,
            "A domain in a VPC takes no lists of addresses: security groups do that, and each request carries a"
            " password that fine-grained access judges.",
            "OS3",
            "OS5",
        )

    def _logs(self, keys: Keys, arn: str) -> dict[str, opensearch.CfnDomain.LogPublishingOptionProperty]:
        group = log_group(self, "Log", keys.logs)
        policy = logs.ResourcePolicy(
            self,
            "MayLog",
            policy_statements=[
                iam.PolicyStatement(
                    principals=[iam.ServicePrincipal("es.amazonaws.com")],
                    actions=["logs:PutLogEvents", "logs:CreateLogStream"],
                    resources=[group.log_group_arn],
                    conditions={"ArnEquals": {"aws:SourceArn": arn}},
                )
            ],
        )
        self._may_log = policy.node.default_child
        option = opensearch.CfnDomain.LogPublishingOptionProperty(
            cloud_watch_logs_log_group_arn=group.log_group_arn, enabled=True
        )
        return dict.fromkeys(_LOGS, option)
