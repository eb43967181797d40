"""The network: three availability zones, nothing reachable from outside but the balancer, and no way out but to AWS."""

from collections.abc import Mapping, Sequence
from typing import Final

from aws_cdk import Aws, Fn
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from constructs import Construct

from tallystick_aws.choices import Choices
from tallystick_aws.excuses import excuse
from tallystick_aws.keys import Keys
from tallystick_aws.log_groups import log_group

API_PORT: Final = 8080
ZONES: Final = 3

_ENDPOINTS: Final[Mapping[str, ec2.InterfaceVpcEndpointAwsService]] = {
    "EcrApi": ec2.InterfaceVpcEndpointAwsService.ECR,
    "EcrDocker": ec2.InterfaceVpcEndpointAwsService.ECR_DOCKER,
    "Logs": ec2.InterfaceVpcEndpointAwsService.CLOUDWATCH_LOGS,
    "Sqs": ec2.InterfaceVpcEndpointAwsService.SQS,
    "Kms": ec2.InterfaceVpcEndpointAwsService.KMS,
    "SecretsManager": ec2.InterfaceVpcEndpointAwsService.SECRETS_MANAGER,
    "Sts": ec2.InterfaceVpcEndpointAwsService.STS,
    "SsmMessages": ec2.InterfaceVpcEndpointAwsService.SSM_MESSAGES,  # an operator's shell (ECS Exec)
}


class Network(Construct):
    """The VPC and who may talk to whom in it.

    Attributes:
        vpc: With subnets `Edge` (the balancer), `Tasks` and `Data`.
        balancer, api, worker, operator, migration, database, search, cache: The security groups.
    """

    def __init__(self, scope: Construct, name: str, choices: Choices, keys: Keys) -> None:
        super().__init__(scope, name)
        log = log_group(self, "FlowLog", keys.logs)
        tasks = ec2.SubnetType.PRIVATE_WITH_EGRESS if choices.egress else ec2.SubnetType.PRIVATE_ISOLATED
        self.vpc = ec2.Vpc(
            self,
            "Vpc",
            ip_addresses=ec2.IpAddresses.cidr(choices.network),
            # By number: a stack for any region knows no names of zones.
            availability_zones=[Fn.select(zone, Fn.get_azs()) for zone in range(ZONES)],
            nat_gateways=ZONES if choices.egress else 0,
            subnet_configuration=[
                ec2.SubnetConfiguration(name="Edge", subnet_type=ec2.SubnetType.PUBLIC, cidr_mask=24),
                ec2.SubnetConfiguration(name="Tasks", subnet_type=tasks, cidr_mask=22),
                ec2.SubnetConfiguration(name="Data", subnet_type=ec2.SubnetType.PRIVATE_ISOLATED, cidr_mask=24),
            ],
            flow_logs={"All": ec2.FlowLogOptions(destination=ec2.FlowLogDestination.to_cloud_watch_logs(log))},
            restrict_default_security_group=False,  # it takes a function of the CDK's own, and nobody uses that group
        )
        self._make_groups()
        self._make_endpoints()

    @property
    def edge_networks(self) -> Sequence[str]:
        """Addresses from which the balancer speaks to the API."""
        return [subnet.ipv4_cidr_block for subnet in self.vpc.public_subnets]

    def _make_groups(self) -> None:
        self.balancer = self._group("Balancer", "The balancer: HTTPS from anywhere, to the API")
        self.api = self._group("Api", "API tasks")
        self.worker = self._group("Worker", "Workers")
        self.migration = self._group("Migration", "The task that migrates the schema")
        self.operator = self._group("Operator", "Tasks in which an operator runs commands")
        self.database = self._group("Database", "PostgreSQL")
        self.search = self._group("Search", "OpenSearch")
        self.cache = self._group("Cache", "Valkey")
        self.endpoints = self._group("Endpoints", "Services of AWS in this network")

        for port in (80, 443):
            self.balancer.add_ingress_rule(ec2.Peer.any_ipv4(), ec2.Port.tcp(port), "The public")
        excuse(self.balancer, "The balancer is what the public reaches; the firewall is before it.", "EC23")
        _let(self.balancer, self.api, API_PORT)
        for group in (self.api, self.worker, self.migration, self.operator):
            _let(group, self.database, 5432)
            _let(group, self.endpoints, 443)
            # S3's gateway has a list of addresses, which only a region knows. Without a NAT nothing else is out there.
            group.add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.tcp(443), "S3, and the internet where there is a way")
        for group in (self.api, self.worker, self.operator):
            _let(group, self.search, 443)
        _let(self.api, self.cache, 6379)

    def _group(self, name: str, description: str) -> ec2.SecurityGroup:
        return ec2.SecurityGroup(self, name, vpc=self.vpc, description=description, allow_all_outbound=False)

    def _make_endpoints(self) -> None:
        self.objects = self.vpc.add_gateway_endpoint("S3", service=ec2.GatewayVpcEndpointAwsService.S3)
        layers = f"arn:{Aws.PARTITION}:s3:::prod-{Aws.REGION}-starport-layer-bucket/*"
        self.objects.add_to_policy(
            iam.PolicyStatement(principals=[iam.AnyPrincipal()], actions=["s3:GetObject"], resources=[layers])
        )
        for name, service in _ENDPOINTS.items():
            self.vpc.add_interface_endpoint(
                name,
                service=service,
                subnets=ec2.SubnetSelection(subnet_group_name="Tasks"),
                security_groups=[self.endpoints],
                open=False,
            )

    def let_through(self, bucket: str) -> None:
        """Let the way to S3 lead to one bucket more.

        Args:
            bucket: Its ARN.
        """
        self.objects.add_to_policy(
            iam.PolicyStatement(
                principals=[iam.AnyPrincipal()],
                actions=["s3:*"],
                resources=[bucket, f"{bucket}/*"],
                conditions={"StringEquals": {"aws:PrincipalAccount": Aws.ACCOUNT_ID}},
            )
        )


def _let(source: ec2.SecurityGroup, target: ec2.SecurityGroup, port: int) -> None:
    source.connections.allow_to(target, ec2.Port.tcp(port))
