"""A task in which an operator runs commands: started by hand, entered by ECS Exec, gone within an hour.

So a token that is made is seen on the operator's terminal and nowhere else; who entered is in CloudTrail.
"""

from aws_cdk import aws_iam as iam
from constructs import Construct

from tallystick_aws import environment
from tallystick_aws.choices import Choices
from tallystick_aws.data import DataStack
from tallystick_aws.excuses import excuse
from tallystick_aws.permissions import let_operator
from tallystick_aws.tasks import Program, Task


class Shell(Construct):
    """The definition of that task; nothing runs until somebody starts one."""

    def __init__(self, scope: Construct, name: str, choices: Choices, data: DataStack) -> None:
        super().__init__(scope, name)
        task = Task(
            self,
            "Operator",
            choices,
            data,
            Program(
                command=["-c", "import time; time.sleep(3600)"],
                entry_point=["python"],
                told=environment.common(choices, data),
                hidden={
                    **environment.external_url(data),
                    **environment.passwords(data.secrets.all_roles),
                    **environment.search_password(data),
                    **environment.key_files(data),
                },
                read_only=False,  # what lets an operator in writes its own files
            ),
        )
        let_operator(task, data)
        task.role.add_to_policy(
            iam.PolicyStatement(
                actions=[
                    "ssmmessages:CreateControlChannel",
                    "ssmmessages:CreateDataChannel",
                    "ssmmessages:OpenControlChannel",
                    "ssmmessages:OpenDataChannel",
                ],
                resources=["*"],
            )
        )
        excuse(task.role, "The channels of ECS Exec are no resources that could be named.", "IAM5[Resource::*]")
