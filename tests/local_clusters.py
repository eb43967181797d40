"""The picture of `deploy/local` in processes of its own, some of which a test kills."""

import asyncio
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from balancers import need
from deadlines import STEP, allow
from installations import FETCHING, until
from servers import QUICK_START
from tallystick.runtime.client import read_token
from tallystick.runtime.state import StateDirectory
from tallystick.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
_SCRIPT = ROOT / "deploy" / "local" / "cluster.py"
_SERVERS = ("api-1", "api-2")


@dataclass
class RunningCluster:
    """A running cluster."""

    home: Path
    environment: dict[str, str]

    @property
    def picture(self) -> dict[str, Any]:
        """What it says of itself now."""
        return json.loads((self.home / "cluster.json").read_text())

    @property
    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.picture["authority_file"])

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {read_token(Path(self.picture['token_file']))}"}

    def client(self) -> httpx.AsyncClient:
        """A client that comes through the balancer."""
        url = f"{self.picture['url']}/api/v1"
        return httpx.AsyncClient(base_url=url, headers=self.headers, verify=self.trust, timeout=60)

    def pid(self, name: str) -> int | None:
        return self.picture["pids"].get(name)

    def kill(self, name: str) -> int:
        """Kill a process that runs; returns its number."""
        pid = self.pid(name)
        assert pid is not None, f"{name} does not run"
        os.kill(pid, signal.SIGKILL)
        return pid

    async def back(self, name: str, before: int) -> None:
        """Wait until another process is in the place of one that was killed."""
        await until(lambda: self.pid(name) not in (None, before), STEP)

    async def command(self, *words: str | Path) -> str:
        """Run a command on it that must succeed; returns what it said."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *words,
            env=self.environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        assert process.returncode == 0, said.decode()
        return said.decode()

    async def roll(self, tree: Path) -> None:
        """Roll to the release in a tree."""
        await self.command(_SCRIPT, "roll", tree)

    async def all_serve(self) -> None:
        """Wait until the balancer sends requests to all API processes."""
        async with asyncio.timeout(STEP):
            while True:
                said = json.loads(await self.command(_SCRIPT, "status", "--json"))
                if all(said["servers"].get(name) == "UP" for name in _SERVERS):
                    return

    def faults(self) -> str:
        """What our processes logged of faults of their own, to be shown where a test fails."""
        logs = sorted((self.home / "logs").glob("*.log"))
        return "\n".join(line for log in logs for line in log.read_text().splitlines() if '"level":"error"' in line)


@asynccontextmanager
async def local_cluster(**environment: str) -> AsyncGenerator[RunningCluster]:
    """Start the picture, and end it. It skips where HAProxy or Valkey is not installed.

    Args:
        environment: Further variables.
    """
    need("haproxy")
    need("valkey-server", "redis-server")
    home = Path(tempfile.mkdtemp(prefix="tallystick-cluster-"))
    # Not measured: what is killed and rolled would start at a third of its speed.
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("COVERAGE_", "TALLYSTICK_"))}
    cluster = RunningCluster(home, {**clean, **QUICK_START, "TALLYSTICK_HOME": str(home), **environment})
    log = (home / "cluster.log").open("wb")
    process = subprocess.Popen(  # noqa: ASYNC220  # returns at once
        [sys.executable, _SCRIPT, "up", "--https-port", "0", "--http-port", "0"],
        env=cluster.environment,
        stdout=log,
        stderr=log,
        process_group=0,
    )
    state = StateDirectory.from_settings(Settings(home=home))
    allow(FETCHING)
    try:
        up = home / "cluster.json"
        await until(lambda: (up.exists() and state.read_run() is not None) or process.poll() is not None, FETCHING)
        assert process.poll() is None, (home / "cluster.log").read_text()
        allow(STEP)
        yield cluster
    finally:
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGTERM)
        ended = await asyncio.to_thread(process.wait, STEP)
        log.close()
    assert ended == 0, (home / "cluster.log").read_text()
    shutil.rmtree(home)
