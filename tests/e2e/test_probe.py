"""`tallystick probe` against a whole installation, as an operator runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from installations import Instance, installation
from tallystick.auth.operations import OPERATIONS

pytestmark = pytest.mark.slow


def run(instance: Instance, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tallystick", *arguments],
        env={**os.environ, **instance.environment, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )


def output(instance: Instance, *arguments: str) -> dict[str, Any]:
    done = run(instance, *arguments, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


async def test_an_installation_is_clean_again_and_again(tmp_path: Path) -> None:
    metrics = tmp_path / "tallystick_probe.prom"
    async with installation(TALLYSTICK_API__PROCESSES="2") as instance:
        first = output(instance, "probe", "--tenants", "2", "--metrics-file", str(metrics))
        again = run(instance, "probe", "--tenants", "3")
        tenants = output(instance, "tenants", "list")["tenants"]
    assert (first["verdict"], first["findings"]) == ("clean", [])
    assert set(first["operations"]) == {*OPERATIONS, "healthz", "readyz", "metrics"}
    assert "tallystick_probe_leaks 0.0" in metrics.read_text()
    assert again.returncode == 0, again.stdout + again.stderr
    assert "No tenant reaches what is another's." in again.stdout
    # It makes no new tenants for each run.
    assert [each["id"] for each in tenants if each["id"] != "default"] == [f"probe-canary-{each}" for each in "abc"]


async def test_what_cannot_be_told_is_no_leak(tmp_path: Path) -> None:
    weak = tmp_path / "weak.jwt"
    async with installation() as instance:
        made = ("token", "create", "--role", "admin", "--subject", "x", "--tenant", "default", "--out", str(weak))
        assert run(instance, *made).returncode == 0
        refused = run(instance, "probe", "--token-file", str(weak))
        misspelt = run(instance, "probe", "--as", "acme:owner=x")
        alone = run(instance, "probe", "--as", f"default:admin={weak}")
        away = run(instance, "probe", "--url", "http://127.0.0.1:1", "--token-file", str(weak), "--patience", "1")
        nameless = run(instance, "probe", "--url", "http://127.0.0.1:1")
    for done, word in (
        (refused, "platform admin"),
        (misspelt, "TENANT:ROLE=FILE"),
        (alone, "two tenants"),
        (away, "/openapi.json"),
        (nameless, "--token-file"),
    ):
        assert done.returncode == 2, done.stdout + done.stderr
        assert word in done.stderr
        assert "Traceback" not in done.stderr
