"""The plain application of ``bench/baseline``, run against a database of its own on the same PostgreSQL server."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import asyncpg
import httpx

from tallystick.bench.instance import Server
from tallystick.errors import ConfigurationError

FOLDER: Final = Path(__file__).resolve().parents[3] / "bench" / "baseline"
_START_SECONDS: Final = 60


@contextlib.asynccontextmanager
async def own_database(server: Server, name: str) -> AsyncGenerator[str]:
    """Make a database on the server and drop it afterwards; gives its URL."""
    admin = await asyncpg.connect(server.database("postgres"))
    try:
        await admin.execute(f'drop database if exists "{name}" with (force)')
        await admin.execute(f'create database "{name}"')
        try:
            yield server.database(name)
        finally:
            await admin.execute(f'drop database if exists "{name}" with (force)')
    finally:
        await admin.close()


@contextlib.contextmanager
def running_baseline(database_url: str) -> Generator[tuple[str, int]]:
    """Run the baseline application; gives its URL and its process id.

    Raises:
        ConfigurationError: It is not there, or it does not start.
    """
    if not (FOLDER / "app.py").exists():
        raise ConfigurationError(
            "the baseline lies in the source checkout (bench/baseline): run the benchmark from there"
        )
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(  # noqa: S603 - ourselves
        [
            *(sys.executable, "-m", "uvicorn", "--app-dir", str(FOLDER), "app:app", "--port", str(port)),
            *("--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"),
        ],
        env={
            **os.environ,
            "BASELINE_DATABASE_URL": urlsplit(database_url)._replace(scheme="postgresql+asyncpg").geturl(),
        },
        stdin=subprocess.DEVNULL,
        process_group=0,
    )
    try:
        _wait_until_up(url, process)
        yield url, process.pid
    finally:
        process.terminate()
        process.wait(30)


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def _wait_until_up(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{url}/healthz", timeout=5).is_success:
                return
        time.sleep(0.1)
    raise ConfigurationError("the baseline did not start: it needs the development dependencies (make setup)")
