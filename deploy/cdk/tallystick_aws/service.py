"""The stack of what can be made anew at any time: balancer, firewall, services, alarms. Each release deploys it."""

from aws_cdk import CfnOutput, Stack
from aws_cdk import aws_ecs as ecs
from constructs import Construct

from tallystick_aws.alarms import Alarms
from tallystick_aws.balancer import Balancer
from tallystick_aws.choices import Choices
from tallystick_aws.dashboard import Dashboard
from tallystick_aws.data import DataStack
from tallystick_aws.firewall import Firewall
from tallystick_aws.migration import Migration
from tallystick_aws.services import ApiService, WorkerService
from tallystick_aws.shell import Shell
from tallystick_aws.tasks import CLUSTER


class ServiceStack(Stack):
    """Everything that a deployment replaces."""

    def __init__(self, scope: Construct, name: str, choices: Choices, data: DataStack) -> None:
        super().__init__(scope, name, description="Tallystick: what serves")
        cluster = ecs.Cluster(
            self,
            "Cluster",
            cluster_name=CLUSTER,
            vpc=data.network.vpc,
            container_insights_v2=ecs.ContainerInsights.ENABLED,
            # What an operator sees, tokens too, is kept in no log.
            execute_command_configuration=ecs.ExecuteCommandConfiguration(logging=ecs.ExecuteCommandLogging.NONE),
        )
        balancer = Balancer(self, "Edge", choices, data.network)
        Firewall(self, "Firewall", balancer.balancer, choices.sizes, data.keys)
        migration = Migration(self, "Schema", choices, data, cluster)
        # In this order, as docs/how-to/upgrade.md says: a new worker may write what an old API process cannot read.
        api = ApiService(self, "Api", choices, data, cluster, balancer.targets)
        api.node.add_dependency(migration, balancer.listener)
        worker = WorkerService(self, "Worker", choices, data, cluster)
        worker.node.add_dependency(migration, api.service)
        Shell(self, "Operator", choices, data)
        alarms = Alarms(self, "Alarms", choices, data, balancer)
        Dashboard(self, "Watch", data, balancer, alarms)
        CfnOutput(self, "Address", value=balancer.balancer.load_balancer_dns_name)
