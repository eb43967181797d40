"""A whole installation in processes of its own, some of which a test kills."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from deadlines import STEP, allow
from tallystick.runtime.state import Run, StateDirectory
from tallystick.settings import Settings

DEADLINE = 120.0
FETCHING = 900.0
"""Seconds in which an installation must be up: the first one fetches its servers, beside others that do."""


@dataclass
class Instance:
    """A running installation."""

    state: StateDirectory
    supervisor: psutil.Process
    run: Run
    environment: dict[str, str]
    """What commands on it need beside their own."""

    def processes(self, kind: str) -> list[psutil.Process]:
        """The children of a kind that live: ``serve``, ``worker``, ``postgres``, ``opensearch`` or ``elasticmq``."""
        found: list[psutil.Process] = []
        for child in self.supervisor.children():
            try:
                words = child.cmdline()
            except psutil.NoSuchProcess:
                continue
            if any(Path(word).name == kind for word in words[:4]) or any(f"org.{kind}." in word for word in words):
                found.append(child)
        return found

    def faults(self) -> str:
        """What its processes logged of faults of their own, to be shown where a test fails."""
        logs = sorted(self.state.logs.glob("*.log"))
        return "\n".join(line for log in logs for line in log.read_text().splitlines() if '"level":"error"' in line)


async def until(condition: Callable[[], bool], seconds: float = DEADLINE) -> None:
    """Wait for other processes: they send no signal, so it is looked at again and again until the deadline."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@asynccontextmanager
async def installation(*arguments: str, measured: bool = True, **environment: str) -> AsyncGenerator[Instance]:
    """Start everything with `tallystick up`, and end it.

    Args:
        arguments: Further ones of the command.
        measured: Whether coverage looks at its processes. They start at a third of their speed then, which is much
            where they are killed again and again.
        environment: Further variables.
    """
    home = Path(tempfile.mkdtemp(prefix="tallystick-chaos-"))
    outer = {name: value for name, value in os.environ.items() if measured or not name.startswith("COVERAGE_")}
    own = {"TALLYSTICK_HOME": str(home), "TALLYSTICK_PORT": "0", **environment}
    log = (home / "up.log").open("wb")
    process = subprocess.Popen(  # noqa: ASYNC220  # returns at once
        [sys.executable, "-m", "tallystick", "up", *arguments],
        env={**outer, **own},
        stdout=log,
        stderr=log,
        process_group=0,
    )
    state = StateDirectory.from_settings(Settings(home=home))
    allow(FETCHING)
    try:
        await until(lambda: state.read_run() is not None or process.poll() is not None, FETCHING)
        run = state.read_run()
        assert run is not None, (home / "up.log").read_text()
        allow(STEP)
        yield Instance(state, psutil.Process(process.pid), run, own)
    finally:
        process.send_signal(signal.SIGTERM)
        ended = await asyncio.to_thread(process.wait, 60)
        log.close()
    assert ended == 0
    shutil.rmtree(home)
