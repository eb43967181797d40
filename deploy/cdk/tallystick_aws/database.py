"""The log: Aurora PostgreSQL, three instances in three zones on storage that six disks acknowledge."""

from typing import Final

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_rds as rds
from constructs import Construct

from tallystick_aws.choices import Choices
from tallystick_aws.excuses import excuse
from tallystick_aws.keys import Keys
from tallystick_aws.network import Network
from tallystick_aws.secrets import OWNER, Secrets

NAME: Final = "tallystick"
ROOTS: Final = "/etc/tallystick/rds-ca.pem"
"""Certificates of RDS in our image: no system knows them (deploy/cdk/image/Dockerfile)."""


class Database(Construct):
    """The cluster.

    Attributes:
        cluster: The cluster.
    """

    def __init__(
        self, scope: Construct, name: str, choices: Choices, network: Network, keys: Keys, secrets: Secrets
    ) -> None:
        super().__init__(scope, name)
        engine = rds.DatabaseClusterEngine.aurora_postgres(version=rds.AuroraPostgresEngineVersion.VER_18_4)
        instance = ec2.InstanceType(choices.sizes.database)
        self.cluster = rds.DatabaseCluster(
            self,
            "Cluster",
            engine=engine,
            default_database_name=NAME,
            credentials=rds.Credentials.from_secret(secrets.owner, OWNER),
            writer=rds.ClusterInstance.provisioned("Writer", instance_type=instance),
            readers=[
                # They take over: ours is one writer, and a reader that is behind would miss what was just written.
                rds.ClusterInstance.provisioned(f"Standby{number}", instance_type=instance, promotion_tier=0)
                for number in (1, 2)
            ],
            vpc=network.vpc,
            vpc_subnets=ec2.SubnetSelection(subnet_group_name="Data"),
            security_groups=[network.database],
            parameters={
                "rds.force_ssl": "1",
                "ssl_min_protocol_version": "TLSv1.2",
                "synchronous_commit": "on",
                "log_min_duration_statement": "1000",
                "log_connections": "1",
                "log_disconnections": "1",
            },
            storage_encrypted=True,
            storage_encryption_key=keys.storage,
            # An append log writes all day: paid by size, not by request.
            storage_type=rds.DBClusterStorageType.AURORA_IOPT1,
            backup=rds.BackupProps(retention=Duration.days(35), preferred_window="02:00-03:00"),
            preferred_maintenance_window="sun:03:30-sun:04:30",
            copy_tags_to_snapshot=True,
            deletion_protection=True,
            removal_policy=RemovalPolicy.RETAIN,
            cloudwatch_logs_exports=["postgresql"],
            database_insights_mode=rds.DatabaseInsightsMode.STANDARD,
            enable_performance_insights=True,
            performance_insight_encryption_key=keys.storage,
            monitoring_interval=Duration.seconds(15),
            monitoring_role=self._monitoring_role(),
            enable_cluster_level_enhanced_monitoring=True,
        )
        excuse(self.cluster, "The application logs in by roles with passwords of their own, over TLS.", "RDS6")
        excuse(self.cluster, "No port is a secret; only four security groups reach it.", "RDS11")

    def _monitoring_role(self) -> iam.Role:
        role = iam.Role(
            self,
            "Monitoring",
            assumed_by=iam.ServicePrincipal("monitoring.rds.amazonaws.com"),
            managed_policies=[
                iam.ManagedPolicy.from_aws_managed_policy_name("service-role/AmazonRDSEnhancedMonitoringRole")
            ],
        )
        managed = "IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole]"
        excuse(role, "The policy that AWS maintains for enhanced monitoring, which writes to one log group.", managed)
        return role
