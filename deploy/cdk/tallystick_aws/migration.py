"""Migrates the schema, by a task of its own, before anything of a new release is started.

A custom resource: CloudFormation updates it first, since both services depend on it, and waits until the task ended
well. One of its properties is the task definition, so it runs for each change of the image or of what the task is told.
"""

from pathlib import Path
from typing import Final

from aws_cdk import CustomResource, Duration, Stack
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from tallystick_aws.choices import Choices
from tallystick_aws.data import DataStack
from tallystick_aws.environment import for_migration, owner, passwords
from tallystick_aws.excuses import excuse
from tallystick_aws.log_groups import log_group
from tallystick_aws.tasks import CLUSTER, Program, Task

CODE: Final = Path(__file__).with_name("migration_function.py")
_LONGEST: Final = Duration.minutes(15)
"""So long a function may run at most; a migration takes short locks only, and seconds."""


class Migration(Construct):
    """The migration. What must run on the new schema depends on it."""

    def __init__(self, scope: Construct, name: str, choices: Choices, data: DataStack, cluster: ecs.Cluster) -> None:
        super().__init__(scope, name)
        task = Task(
            self,
            "Migration",
            choices,
            data,
            Program(
                command=["migrate"],
                told=for_migration(data),
                hidden={**owner(data), **passwords(data.secrets.all_roles)},
            ),
        )
        runs = self._function(data)
        task.definition.grant_run(runs)
        tasks = Stack.of(self).format_arn(service="ecs", resource="task", resource_name=f"{CLUSTER}/*")
        runs.add_to_role_policy(iam.PolicyStatement(actions=["ecs:DescribeTasks"], resources=[tasks]))
        excuse(
            runs,
            "A task has no name before it is begun; those of our cluster can be looked at, no other.",
            f"IAM5[Resource::arn:<AWS::Partition>:ecs:<AWS::Region>:<AWS::AccountId>:task/{CLUSTER}/*]",
        )
        change = CustomResource(
            self,
            "Run",
            service_token=runs.function_arn,
            service_timeout=_LONGEST,
            resource_type="Custom::TallystickMigration",
            properties={
                "cluster": cluster.cluster_arn,
                "task": task.definition.task_definition_arn,
                "subnets": data.network.vpc.select_subnets(subnet_group_name="Tasks").subnet_ids,
                "groups": [data.network.migration.security_group_id],
            },
        )
        # The function's rights are to this very definition, so they change first.
        change.node.add_dependency(runs)

    def _function(self, data: DataStack) -> lambda_.Function:
        function = lambda_.Function(
            self,
            "Function",
            description="Tallystick: runs the task that migrates the schema",
            runtime=lambda_.Runtime.PYTHON_3_14,
            architecture=lambda_.Architecture.ARM_64,
            handler="index.handler",
            code=lambda_.Code.from_inline(CODE.read_text()),
            timeout=_LONGEST,
            log_group=log_group(self, "Log", data.keys.logs),
        )
        basic = "IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole]"
        excuse(function, "The policy that AWS maintains for functions that write a log.", basic)
        return function
