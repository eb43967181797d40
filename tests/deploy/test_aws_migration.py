"""The function that migrates in a deployment: it runs one task, waits, and tells CloudFormation how it ended."""

import json
import threading
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, cast

import pytest

from tallystick_aws.migration_function import handler

TASK: Final = "arn:aws:ecs:eu-central-1:111122223333:task/tallystick/1"


class Aws(ThreadingHTTPServer):
    """Speaks as ECS does, and takes what is told to CloudFormation.

    Attributes:
        exit_code: Of the container, once its task has stopped.
        failures: Why no task is begun.
        begun: What was asked for when tasks were begun.
        answers: What CloudFormation was told.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Speaking)
        self.exit_code: int | None = 0
        self.failures: list[dict[str, str]] = []
        self.begun: list[dict[str, Any]] = []
        self.answers: list[dict[str, Any]] = []

    def run_task(self, asked: dict[str, Any]) -> dict[str, Any]:
        self.begun.append(asked)
        return {"failures": self.failures, "tasks": [] if self.failures else [{"taskArn": TASK}]}

    def describe_tasks(self, asked: dict[str, Any]) -> dict[str, Any]:
        assert asked["tasks"] == [TASK]
        container = {} if self.exit_code is None else {"exitCode": self.exit_code}
        stopped = {"lastStatus": "STOPPED", "stoppedReason": "it ended", "containers": [container]}
        return {"failures": [], "tasks": [{"taskArn": TASK, **stopped}]}


class _Speaking(BaseHTTPRequestHandler):
    @property
    def aws(self) -> Aws:
        return cast("Aws", self.server)

    def do_POST(self) -> None:
        operation = self.headers["x-amz-target"].rpartition(".")[2]
        asked = self._body()
        self._send(self.aws.run_task(asked) if operation == "RunTask" else self.aws.describe_tasks(asked))

    def do_PUT(self) -> None:
        assert not self.headers["content-type"], "a signed URL takes none"
        self.aws.answers.append(self._body())
        self._send({})

    def _body(self) -> dict[str, Any]:
        return json.loads(self.rfile.read(int(self.headers["content-length"])))

    def _send(self, answer: dict[str, Any]) -> None:
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # as its class names it
        """Nobody reads it."""


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Generator[Aws]:
    with Aws() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_ECS", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "anonymous")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "anonymous")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def event(aws: Aws, kind: str) -> dict[str, Any]:
    """What CloudFormation asks."""
    return {
        "RequestType": kind,
        "ResponseURL": f"http://127.0.0.1:{aws.server_port}/answer",
        "StackId": "stack",
        "RequestId": "request-1",
        "LogicalResourceId": "Run",
        "ResourceProperties": {"cluster": "tallystick", "task": "migration:7", "subnets": ["s-1"], "groups": ["g-1"]},
    }


@pytest.mark.parametrize("kind", ["Create", "Update"])
def test_it_runs_the_task_and_says_that_it_ended_well(aws: Aws, kind: str) -> None:
    handler(event(aws, kind), None)

    (begun,) = aws.begun
    assert begun["taskDefinition"] == "migration:7"
    assert begun["networkConfiguration"]["awsvpcConfiguration"]["assignPublicIp"] == "DISABLED"
    assert begun["clientToken"] == "request-1", "called again for the same change, it begins no second task"
    (answer,) = aws.answers
    assert answer["Status"] == "SUCCESS"
    assert {answer[name] for name in ("StackId", "RequestId", "LogicalResourceId")} == {"stack", "request-1", "Run"}


@pytest.mark.parametrize("code", [1, None])
def test_a_migration_that_fails_fails_the_deployment(aws: Aws, code: int | None) -> None:
    aws.exit_code = code

    handler(event(aws, "Update"), None)

    (answer,) = aws.answers
    assert answer["Status"] == "FAILED"
    assert f"exit codes [{code}], it ended" in answer["Reason"]


def test_a_task_that_cannot_be_begun_fails_it_too(aws: Aws) -> None:
    aws.failures = [{"reason": "no capacity"}]

    handler(event(aws, "Update"), None)

    assert "no capacity" in aws.answers[0]["Reason"]


def test_to_take_it_away_runs_nothing(aws: Aws) -> None:
    handler(event(aws, "Delete"), None)

    assert not aws.begun
    assert aws.answers[0]["Status"] == "SUCCESS"
