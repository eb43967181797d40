"""Runs subcommands of `tallystick bench`, and reads what they report."""

import json
from typing import Any

from typer.testing import CliRunner

from tallystick.bench.cli import app
from tallystick.bench.instance import Instance


def bench(instance: Instance, *words: str) -> dict[str, Any]:
    result = CliRunner().invoke(app, [*words, "--home", str(instance.home), "--json"])
    assert result.exit_code == 0, f"{result.output}\n{faults(instance)}"
    return json.loads(result.stdout)


def faults(instance: Instance) -> str:
    """What the API processes say of requests that failed unexpectedly: their logs go with the instance."""
    logs = (log.read_text(errors="replace") for log in sorted((instance.home / "logs").glob("api-*.log")))
    return "\n".join(log[max(log.find("failed unexpectedly") - 200, 0) :][:8_000] for log in logs)


def figures(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {figure["name"]: figure for figure in report["figures"]}


def proofs(report: dict[str, Any]) -> list[bool]:
    return [check["passed"] for check in report["checks"] if not check["target"]]
