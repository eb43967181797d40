"""Runs in AWS Lambda for CloudFormation: runs the task that migrates the schema, and says how it ended."""

import json
from typing import Any
from urllib.request import Request, urlopen

import boto3  # pyright: ignore[reportMissingTypeStubs]

_PATIENCE = {"Delay": 6, "MaxAttempts": 130}
"""Thirteen minutes, for a function that lives for fifteen."""


def handler(event: dict[str, Any], context: object) -> None:  # noqa: ARG001  # what Lambda passes
    """Do what CloudFormation asks, and answer it in any case: it would wait for an hour."""
    failure = ""
    try:
        # To take the resource away is to take nothing back: old code runs on the new schema.
        if event["RequestType"] != "Delete":
            _migrate(event)
    except Exception as error:  # noqa: BLE001  # whatever it is, CloudFormation must hear of it
        failure = f"the migration failed: {error}"
    _answer(event, failure)


def _migrate(event: dict[str, Any]) -> None:
    asked = event["ResourceProperties"]
    ecs = _client()
    begun = ecs.run_task(
        cluster=asked["cluster"],
        taskDefinition=asked["task"],
        launchType="FARGATE",
        clientToken=event["RequestId"],  # Lambda may call again for the same change
        networkConfiguration={
            "awsvpcConfiguration": {
                "subnets": asked["subnets"],
                "securityGroups": asked["groups"],
                "assignPublicIp": "DISABLED",
            }
        },
    )
    if begun["failures"]:
        raise RuntimeError(f"the task was not begun: {begun['failures']}")
    which = {"cluster": asked["cluster"], "tasks": [begun["tasks"][0]["taskArn"]]}
    ecs.get_waiter("tasks_stopped").wait(**which, WaiterConfig=_PATIENCE)
    (task,) = ecs.describe_tasks(**which)["tasks"]
    codes = [container.get("exitCode") for container in task["containers"]]
    if codes != [0]:
        raise RuntimeError(f"exit codes {codes}, {task.get('stoppedReason')}: read its log group")


def _client() -> Any:  # noqa: ANN401  # the library has no types
    aws: Any = boto3
    return aws.client("ecs")


def _answer(event: dict[str, Any], failure: str) -> None:
    answer = {
        "Status": "FAILED" if failure else "SUCCESS",
        "Reason": failure[:1000],
        "PhysicalResourceId": "tallystick-migration",
        **{name: event[name] for name in ("StackId", "RequestId", "LogicalResourceId")},
    }
    # A signed URL of S3, which takes no other type of content than that for which it was signed: none.
    request = Request(event["ResponseURL"], json.dumps(answer).encode(), {"Content-Type": ""}, method="PUT")  # noqa: S310
    with urlopen(request, timeout=30):  # noqa: S310  # CloudFormation's own URL
        pass
