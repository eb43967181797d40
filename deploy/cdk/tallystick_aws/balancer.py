"""The Application Load Balancer: TLS, redirects, health, and connections that may last."""

from typing import Final

from aws_cdk import Duration, RemovalPolicy, Stack
from aws_cdk import aws_certificatemanager as acm
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_elasticloadbalancingv2 as elb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from constructs import Construct

from tallystick_aws.choices import Choices
from tallystick_aws.environment import DRAIN_TIMEOUT, IDLE
from tallystick_aws.excuses import excuse
from tallystick_aws.network import API_PORT, Network

_LOOK: Final = 10
_LOOKS: Final = 6
"""A minute: ECS kills what is not ready for longer, and no task should die of a fail-over of the database."""


class Balancer(Construct):
    """The balancer.

    Attributes:
        balancer: The balancer.
        targets: The API tasks.
    """

    def __init__(self, scope: Construct, name: str, choices: Choices, network: Network) -> None:
        super().__init__(scope, name)
        self.balancer = elb.ApplicationLoadBalancer(
            self,
            "Balancer",
            vpc=network.vpc,
            internet_facing=True,
            vpc_subnets=ec2.SubnetSelection(subnet_group_name="Edge"),
            security_group=network.balancer,
            idle_timeout=Duration.seconds(IDLE),
            desync_mitigation_mode=elb.DesyncMitigationMode.STRICTEST,
            drop_invalid_header_fields=True,
            xff_header_processing_mode=elb.XffHeaderProcessingMode.APPEND,
            deletion_protection=True,
        )
        self._keep_access_logs()
        self.targets = elb.ApplicationTargetGroup(
            self,
            "Api",
            vpc=network.vpc,
            port=API_PORT,
            protocol=elb.ApplicationProtocol.HTTP,
            target_type=elb.TargetType.IP,
            load_balancing_algorithm_type=elb.TargetGroupLoadBalancingAlgorithmType.LEAST_OUTSTANDING_REQUESTS,
            deregistration_delay=Duration.seconds(DRAIN_TIMEOUT),
            health_check=elb.HealthCheck(
                path="/readyz",
                healthy_http_codes="200",
                interval=Duration.seconds(_LOOK),
                timeout=Duration.seconds(5),
                healthy_threshold_count=2,
                unhealthy_threshold_count=_LOOKS,
            ),
        )
        self._listen(choices)

    def _listen(self, choices: Choices) -> None:
        self.listener = self.balancer.add_listener(
            "Https",
            port=443,
            protocol=elb.ApplicationProtocol.HTTPS,
            certificates=[acm.Certificate.from_certificate_arn(self, "Certificate", choices.certificate)],
            ssl_policy=elb.SslPolicy.RECOMMENDED_TLS,
            default_target_groups=[self.targets],
            open=False,  # the security group says who
        )
        self.balancer.add_listener(
            "Http",
            port=80,
            protocol=elb.ApplicationProtocol.HTTP,
            default_action=elb.ListenerAction.redirect(protocol="HTTPS", port="443", permanent=True),
            open=False,
        )

    def _keep_access_logs(self) -> None:
        """In a bucket; who writes there does so by AWS's service, since regions without a number of their own."""
        bucket = s3.Bucket(
            self,
            "Requests",
            encryption=s3.BucketEncryption.S3_MANAGED,  # what a balancer can write with
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            lifecycle_rules=[s3.LifecycleRule(id="forget", expiration=Duration.days(90))],
            removal_policy=RemovalPolicy.RETAIN,
        )
        account = Stack.of(self).account
        bucket.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[iam.ServicePrincipal("logdelivery.elasticloadbalancing.amazonaws.com")],
                actions=["s3:PutObject"],
                resources=[bucket.arn_for_objects(f"AWSLogs/{account}/*")],
            )
        )
        self.balancer.set_attribute("access_logs.s3.enabled", "true")
        self.balancer.set_attribute("access_logs.s3.bucket", bucket.bucket_name)
        if bucket.policy is not None:
            self.balancer.node.add_dependency(bucket.policy)
        excuse(bucket, "It holds access logs; a log of who reads these would never end.", "S1")
        excuse(self.balancer, "They are on, by an attribute that the rule cannot read.", "ELB2")
