"""What all tasks have in common: no root, a file system that nobody writes to, roles and a log group of their own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from aws_cdk import Duration
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from tallystick_aws.choices import Choices
from tallystick_aws.collector import collector_config
from tallystick_aws.data import DataStack
from tallystick_aws.environment import DRAIN_NOTICE, DRAIN_TIMEOUT, HOME, Hidden
from tallystick_aws.excuses import excuse
from tallystick_aws.log_groups import log_group

CLUSTER: Final = "tallystick"

USER: Final = "10001:10001"
"""The image's own; here, so that no other image makes it root."""

CPU: Final = 1_024
MEMORY: Final = 2_048
STOP: Final = Duration.seconds(DRAIN_NOTICE + DRAIN_TIMEOUT + 15)
"""So long a task may take to commit what it holds before it is killed."""

ARCHITECTURE: Final = ecs.CpuArchitecture.ARM64


@dataclass(frozen=True, slots=True)
class Program:
    """What runs in a task.

    Attributes:
        command: Arguments of `entry_point`.
        told: Its environment.
        hidden: What of that is secret.
        entry_point: What is run.
        health: Port at which `/healthz` says whether it is alive; None where nobody asks.
        read_only: Whether nothing but its home and `/tmp` can be written.
    """

    command: Sequence[str]
    told: Mapping[str, str]
    hidden: Mapping[str, Hidden]
    entry_point: Sequence[str] = ("tallystick",)
    health: int | None = None
    read_only: bool = True


class Task(Construct):
    """A task definition with one container, `tallystick`.

    Attributes:
        definition: The definition.
        container: The container.
        role: What the code in it may do.
    """

    def __init__(self, scope: Construct, name: str, choices: Choices, data: DataStack, program: Program) -> None:
        super().__init__(scope, name)
        self._choices, self._data = choices, data
        self.role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("ecs-tasks.amazonaws.com"))
        starts = iam.Role(self, "Execution", assumed_by=iam.ServicePrincipal("ecs-tasks.amazonaws.com"))
        excuse(starts, "To log in to ECR is no action on a resource.", "IAM5[Resource::*]")
        self.definition = ecs.FargateTaskDefinition(
            self,
            "Definition",
            family=f"tallystick-{name.lower()}",
            cpu=CPU,
            memory_limit_mib=MEMORY,
            task_role=self.role,
            execution_role=starts,
            runtime_platform=ecs.RuntimePlatform(
                cpu_architecture=ARCHITECTURE, operating_system_family=ecs.OperatingSystemFamily.LINUX
            ),
            volumes=[ecs.Volume(name="home"), ecs.Volume(name="tmp")],
        )
        self.container = self.definition.add_container(
            "tallystick",
            image=ecs.ContainerImage.from_ecr_repository(data.images.tallystick, choices.version),
            entry_point=list(program.entry_point),
            command=list(program.command),
            user=USER,
            readonly_root_filesystem=program.read_only,
            linux_parameters=self._linux(program),
            environment=dict(program.told),
            secrets={name: self._secret(name, value) for name, value in program.hidden.items()},
            stop_timeout=STOP,
            logging=ecs.LogDrivers.aws_logs(
                stream_prefix="tallystick",
                log_group=log_group(self, "Log", data.keys.logs),
                mode=ecs.AwsLogDriverMode.NON_BLOCKING,
            ),
            health_check=None if program.health is None else _health_check(program.health),
        )
        self.container.add_mount_points(
            ecs.MountPoint(source_volume="home", container_path=HOME, read_only=False),
            ecs.MountPoint(source_volume="tmp", container_path="/tmp", read_only=False),  # noqa: S108  # in a task
        )
        excuse(self.definition, "No variable is a secret: those come from Secrets Manager.", "ECS2")

    def _linux(self, program: Program) -> ecs.LinuxParameters:
        linux = ecs.LinuxParameters(self, "Linux", init_process_enabled=True)
        if program.read_only:
            linux.drop_capabilities(ecs.Capability.ALL)
        return linux

    def _secret(self, name: str, hidden: Hidden) -> ecs.Secret:
        """Let ECS read a secret before it starts the task. The right is the role's alone; the key's policy stays."""
        scope = Construct(self, name)
        named = secretsmanager.Secret.from_secret_attributes(
            scope,
            "Secret",
            secret_complete_arn=hidden.secret.secret_arn,
            encryption_key=kms.Key.from_key_arn(scope, "Key", self._data.keys.secrets.key_arn),
        )
        return ecs.Secret.from_secrets_manager(named, hidden.member)

    def allow(self, actions: Sequence[str], resources: Sequence[str], **conditions: Mapping[str, object]) -> None:
        """Let the code in the task do something.

        Args:
            actions: What, without a wildcard.
            resources: On what.
            conditions: Under which conditions.
        """
        self.role.add_to_policy(
            iam.PolicyStatement(actions=list(actions), resources=list(resources), conditions=dict(conditions))
        )

    def collect_metrics(self, port: int) -> None:
        """Put a collector beside the container that brings its `/metrics` to CloudWatch.

        Args:
            port: Where the container answers it.
        """
        metrics = log_group(self, "Metrics", self._data.keys.logs)
        self.definition.add_container(
            "collector",
            image=ecs.ContainerImage.from_ecr_repository(self._data.images.collector, self._choices.collector),
            essential=False,  # a task without figures still serves
            user=USER,
            readonly_root_filesystem=True,
            memory_limit_mib=256,
            environment={"AOT_CONFIG_CONTENT": collector_config(port, metrics.log_group_name)},
            logging=ecs.LogDrivers.aws_logs(
                stream_prefix="collector", log_group=log_group(self, "Collector", self._data.keys.logs)
            ),
        )
        self.allow(["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"], [metrics.log_group_arn])


def _health_check(port: int) -> ecs.HealthCheck:
    return ecs.HealthCheck(
        command=["CMD", "python", "/opt/tallystick/healthcheck.py", str(port)],
        interval=Duration.seconds(10),
        timeout=Duration.seconds(5),
        retries=3,
        start_period=Duration.seconds(60),
    )
