"""The two services: API tasks behind the balancer, and workers that follow the log."""

from typing import Final

from aws_cdk import Duration
from aws_cdk import aws_applicationautoscaling as scaling
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_elasticloadbalancingv2 as elb
from constructs import Construct

from tallystick_aws import environment
from tallystick_aws.choices import Choices
from tallystick_aws.data import DataStack
from tallystick_aws.figures import longest_lag
from tallystick_aws.network import API_PORT
from tallystick_aws.permissions import let_api, let_worker
from tallystick_aws.tasks import Program, Task

WORKER_PORT: Final = 9464
"""Where a worker tells how it is; nobody but its own task reaches it."""


class ApiService(Construct):
    """API tasks; as many as requests ask for.

    Attributes:
        service: The service.
    """

    def __init__(
        self,
        scope: Construct,
        name: str,
        choices: Choices,
        data: DataStack,
        cluster: ecs.Cluster,
        targets: elb.ApplicationTargetGroup,
    ) -> None:
        super().__init__(scope, name)
        task = Task(
            self,
            "Api",
            choices,
            data,
            Program(
                command=["serve"],
                told={**environment.common(choices, data), **environment.for_api(choices, data)},
                hidden={
                    **environment.external_url(data),
                    **environment.passwords(data.secrets.api_roles),
                    **environment.search_password(data),
                    **environment.cache_password(data),
                    **environment.key_files(data),
                },
                health=API_PORT,
            ),
        )
        task.container.add_port_mappings(ecs.PortMapping(container_port=API_PORT))
        task.collect_metrics(API_PORT)
        let_api(task, data)
        self.service = _service(self, task, cluster, data.network.api)
        self.service.attach_to_application_target_group(targets)
        count = _count(self.service, choices.sizes.api_tasks)
        count.scale_on_request_count(
            "Requests",
            target_group=targets,
            requests_per_target=choices.sizes.requests,
            scale_in_cooldown=Duration.minutes(10),
            scale_out_cooldown=Duration.minutes(1),
        )
        # A bulk request is one request, and may be the work of 10,000.
        count.scale_on_cpu_utilization(
            "Cpu",
            target_utilization_percent=60,
            scale_in_cooldown=Duration.minutes(10),
            scale_out_cooldown=Duration.minutes(1),
        )


class WorkerService(Construct):
    """Workers; as many as keep followers from lagging.

    Attributes:
        service: The service.
    """

    def __init__(
        self,
        scope: Construct,
        name: str,
        choices: Choices,
        data: DataStack,
        cluster: ecs.Cluster,
    ) -> None:
        super().__init__(scope, name)
        told = {"TALLYSTICK_WORKER__METRICS_PORT": str(WORKER_PORT)}
        task = Task(
            self,
            "Worker",
            choices,
            data,
            Program(
                command=["worker"],
                told={**environment.common(choices, data), **told},
                hidden={
                    **environment.external_url(data),
                    **environment.passwords(data.secrets.all_roles),
                    **environment.search_password(data),
                },
                health=WORKER_PORT,
            ),
        )
        task.collect_metrics(WORKER_PORT)
        let_worker(task, data)
        self.service = _service(self, task, cluster, data.network.worker)
        count = _count(self.service, choices.sizes.worker_tasks)
        # In steps: a lag of twice as many seconds asks for no twice as many workers, as a log has one at a time.
        count.scale_on_metric(
            "Lag",
            metric=longest_lag(),
            scaling_steps=[
                scaling.ScalingInterval(upper=5, change=-1),
                scaling.ScalingInterval(lower=30, upper=300, change=1),
                scaling.ScalingInterval(lower=300, change=2),
            ],
            evaluation_periods=3,
            cooldown=Duration.minutes(5),
        )


def _service(
    scope: Construct,
    task: Task,
    cluster: ecs.Cluster,
    group: ec2.SecurityGroup,
) -> ecs.FargateService:
    return ecs.FargateService(
        scope,
        "Service",
        cluster=cluster,
        task_definition=task.definition,
        # The new ones serve before an old one goes.
        min_healthy_percent=100,
        max_healthy_percent=200,
        circuit_breaker=ecs.DeploymentCircuitBreaker(enable=True, rollback=True),
        vpc_subnets=ec2.SubnetSelection(subnet_group_name="Tasks"),
        security_groups=[group],
        assign_public_ip=False,
        platform_version=ecs.FargatePlatformVersion.LATEST,
        propagate_tags=ecs.PropagatedTagSource.SERVICE,
    )


def _count(service: ecs.FargateService, least_and_most: tuple[int, int]) -> ecs.ScalableTaskCount:
    least, most = least_and_most
    return service.auto_scale_task_count(min_capacity=least, max_capacity=most)
