"""One server of each kind for a whole test session, whichever of its processes asks first.

A guardian, a process of its own, runs the server for as long as anybody holds a shared lock on a file; it waits for the
same lock alone, and the kernel gives it that when the last user ends in whatever way. So nothing counts users, and
nothing is left behind by a session that is killed.

Usage of the guardian: ``python servers.py KIND FOLDER``
"""

import asyncio
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import kms_servers
import s3_servers
from deadlines import allow
from tallystick.runtime.servers import elasticmq, opensearch
from tallystick.runtime.servers.local import LocalServer, free_port

DEADLINE = 900.0
"""Seconds for a server to answer, the first fetch of it included."""

QUICK_START = {"JAVA_TOOL_OPTIONS": "-XX:TieredStopAtLevel=1"}
"""Halves what a start costs. What runs then is slower, which tests do not notice."""

_KINDS = {
    "elasticmq": elasticmq.prepare,
    "opensearch": opensearch.prepare,
    "s3": s3_servers.prepare,
    "kms": kms_servers.prepare,
}
_POLL = 0.05


@contextmanager
def shared_server(kind: str, session: Path) -> Generator[str]:
    """The URL of the session's server of a kind, started if need be.

    Args:
        kind: See `_KINDS`.
        session: A folder that all processes of the session share.
    """
    allow(DEADLINE)
    folder = session / kind
    folder.mkdir(exist_ok=True)
    with _locked(folder / "users", fcntl.LOCK_SH):
        with _locked(folder / "start", fcntl.LOCK_EX):
            if not (folder / "url").exists():
                _start(kind, folder)
        yield (folder / "url").read_text()


@contextmanager
def _locked(file: Path, how: int) -> Generator[None]:
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)


def _start(kind: str, folder: Path) -> None:
    with (folder / "guardian.log").open("wb") as log:
        guardian = subprocess.Popen(
            [sys.executable, __file__, kind, str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, **QUICK_START},
            start_new_session=True,
        )
    end = time.monotonic() + DEADLINE
    while not (folder / "url").exists():
        assert guardian.poll() is None, (folder / "guardian.log").read_text()
        assert time.monotonic() < end, f"{kind} does not answer"
        time.sleep(_POLL)
    # It outlives us where others use the server, and is nobody's to wait for.
    guardian.returncode = 0


def _guard(kind: str, folder: Path) -> None:
    """Run a server until nobody uses it."""
    # Away from pytest's folders, which as root no other account may search.
    data = Path(tempfile.mkdtemp(prefix=f"tallystick-{kind}-"))
    try:
        server = asyncio.run(_KINDS[kind](data, free_port(), print))
        with (data / "log").open("wb") as log:
            process = subprocess.Popen(
                server.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=server.folder,
                env=server.environment,
                **server.identity,
            )
        try:
            asyncio.run(_until_ready(server, process, data / "log"))
            beside = folder / "url.new"
            beside.write_text(server.url)
            beside.rename(folder / "url")
            with _locked(folder / "users", fcntl.LOCK_EX):
                (folder / "url").unlink()
                process.kill()
        finally:
            process.kill()
            process.wait()
    finally:
        shutil.rmtree(data)


async def _until_ready(server: LocalServer, process: subprocess.Popen[bytes], log: Path) -> None:
    await server.wait_ready(DEADLINE, log, lambda: process.poll() is None)


if __name__ == "__main__":
    _guard(sys.argv[1], Path(sys.argv[2]))
