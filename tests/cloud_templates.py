"""The templates of the deployment on AWS: made once a session, by whichever of its processes asks first."""

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

from deadlines import allow

ROOT: Final = Path(__file__).parents[1]
CDK: Final = ROOT / "deploy" / "cdk"
DEADLINE: Final = 600.0
"""Seconds that it may take: 15 of CPU, on a machine that others use."""

Resources: TypeAlias = Mapping[str, dict[str, Any]]

DEPLOYMENTS: Final[Mapping[str, Mapping[str, str]]] = {
    "small": {},
    "external": {
        "size": "medium",
        "database": "external",
        "egress": "yes",
        "issuers": '{"https://id.example.com/": "https://id.example.com/jwks.json"}',
        "alarm_email": "ops@example.com",
    },
    "large": {"size": "large", "network": "10.20.0.0/16"},
}
"""Names of deployments, and what they choose beside what all must."""

_MAKE: Final = """
import json, sys
import app
for folder, chosen in json.load(sys.stdin).items():
    app.main(chosen, folder)

from aws_cdk import App, Stack, aws_sqs
from tallystick_aws.application import keep_rules
careless = App(outdir=sys.argv[1])
aws_sqs.Queue(Stack(careless, "Careless"), "Queue")
keep_rules(careless)
try:
    careless.synth()
except RuntimeError:
    pass
"""


class Templates:
    """What CloudFormation is told, by deployment and stack.

    Args:
        folder: Where the templates lie.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def files(self) -> list[Path]:
        """All templates."""
        return sorted(file for name in DEPLOYMENTS for file in (self.folder / name).glob("*.template.json"))

    def resources(self, deployment: str, stack: str, kind: str = "") -> Resources:
        """The resources of a stack, those of one type where it is named."""
        text = (self.folder / deployment / f"Tallystick-{stack}.template.json").read_text()
        found: Resources = json.loads(text)["Resources"]
        return {name: each for name, each in found.items() if kind in ("", each["Type"])}

    def properties(self, deployment: str, stack: str, kind: str) -> list[dict[str, Any]]:
        """The properties of all resources of a type."""
        return [each["Properties"] for each in self.resources(deployment, stack, kind).values()]

    def the(self, deployment: str, stack: str, kind: str) -> dict[str, Any]:
        """The properties of the one resource of a type."""
        (found,) = self.properties(deployment, stack, kind)
        return found


def shared_templates(session: Path) -> Templates:
    """The templates of all deployments.

    Args:
        session: A folder that all processes of the session share.
    """
    allow(DEADLINE)
    folder = session / "templates"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "made").exists():
            _make(folder)
            (folder / "made").touch()
    return Templates(folder)


def _make(folder: Path) -> None:
    """Synthesise all of them in one process of its own: the CDK's library takes most of the time to load."""
    must = json.loads((CDK / "example.json").read_text())
    asked = {str(folder / name): {**must, **chosen} for name, chosen in DEPLOYMENTS.items()}
    made = subprocess.run(
        [sys.executable, "-c", _MAKE, str(folder / "careless")],
        cwd=CDK,
        # Whoever runs the tests may be one who deploys: nothing of theirs counts, and nothing is asked of a network.
        env={name: value for name, value in os.environ.items() if not name.startswith(("CDK_", "AWS_", "JSII_"))}
        | {"https_proxy": "http://127.0.0.1:9"},
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert made.returncode == 0, made.stdout + made.stderr
