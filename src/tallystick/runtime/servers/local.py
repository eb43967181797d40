"""A server that stands in for a cloud's: how it is started, when it answers, and what a killed run left of it."""

import asyncio
import os
import secrets
import shutil
import signal
import socket
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tallystick.errors import ConfigurationError
from tallystick.runtime.account import Account, ChildIdentity, child_identity, open_path, unprivileged_account
from tallystick.runtime.diagnosis import recent_lines
from tallystick.runtime.processes import outliving, send, working_in

HOST: Final = "127.0.0.1"

_POLL: Final = 0.05
_ANSWER_SECONDS: Final = 5.0
_LEAST_PORT, _PORTS = 15_000, 17_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalServer:
    """A server over one folder, ready to be started. One at a time: whoever uses it holds the state directory's lock.

    Attributes:
        name: In messages.
        url: Where it will answer.
        health: Path of the URL that answers 200 once it works.
        command: Its command line.
        environment: All of its environment.
        folder: Its working directory, by which a leftover is known.
        identity: Whom it runs as.
        program: How the name of its process begins.
    """

    name: str
    url: str
    health: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    folder: Path
    identity: ChildIdentity
    program: str = "java"

    async def wait_ready(self, seconds: float, log_file: Path, alive: Callable[[], bool], log_since: int = 0) -> None:
        """Wait until the server works.

        Args:
            seconds: How long at most.
            log_file: What it writes.
            alive: Whether its process lives.
            log_since: Length of the log file before the start.

        Raises:
            ConfigurationError: It ended or did not answer in time; the message has its last words.
        """
        await until_it_works(self.name, self.answers, seconds, log_file, alive, log_since)

    async def answers(self) -> bool:
        """Whether it works now."""
        return await says_yes(self.url, self.health)

    def stop_leftovers(self) -> None:
        """End the server that a killed run left behind in this folder."""
        leftovers = working_in(self.folder, self.program)
        for number in (signal.SIGTERM, signal.SIGKILL):
            for process in leftovers:
                send(process, number)
            leftovers = outliving(leftovers, 10)


async def until_it_works(
    name: str,
    answers: Callable[[], Awaitable[bool]],
    seconds: float,
    log_file: Path,
    alive: Callable[[], bool],
    log_since: int = 0,
) -> None:
    """Wait until a server works; see `LocalServer.wait_ready`.

    Raises:
        ConfigurationError: It ended or did not answer in time; the message has its last words.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while not await answers():
        if not alive():
            said = " ".join(recent_lines(log_file, log_since)[-3:])
            raise ConfigurationError(f"{name} did not start (see {log_file}): {said}")
        if loop.time() > end:
            raise ConfigurationError(f"{name} was not ready after {seconds:.0f} s: see {log_file}")
        await asyncio.sleep(_POLL)


async def says_yes(url: str, path: str) -> bool:
    """Whether a server answers a GET with 200.

    Args:
        url: Of `http`, with a port.
        path: What is asked for.
    """
    host, _, port = url.removeprefix("http://").partition(":")
    asked = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n"
    return b" 200 " in await first_line(host, int(port), asked.encode())


async def first_line(host: str, port: int, said: bytes) -> bytes:
    """What a server says to this first; nothing where it does not answer in a few seconds."""
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(said)
                return await reader.readline()
            finally:
                writer.close()
    except (OSError, ValueError):  # a line too long for an answer is the other
        return b""


def free_port() -> int:
    """A port of this machine that is free now, and will be while its server starts again.

    Connections that go out are given higher ones on every system.
    """
    while True:
        with socket.socket() as probe, suppress(OSError):
            probe.bind((HOST, _LEAST_PORT + secrets.randbelow(_PORTS)))
            return probe.getsockname()[1]


def plain_environment(**more: str) -> dict[str, str]:
    """Ours without what would change a server or reveal our own settings; but what is meant for any Java holds."""
    kept = ("PATH", "LANG", "TZ", "JAVA_TOOL_OPTIONS")
    return {**{name: os.environ[name] for name in kept if name in os.environ}, **more}


@dataclass(frozen=True, slots=True)
class ServerFolder:
    """A server's folder: ours, with parts in it that belong to the account the server runs as.

    Attributes:
        path: The folder.
        account: Whom the server runs as; None is ourselves.
        report: Told of all out of the ordinary that is done.
    """

    path: Path
    account: Account | None
    report: Callable[[str], None]

    @classmethod
    def make(cls, path: Path, report: Callable[[str], None]) -> "ServerFolder":
        """Make the folder, and choose the account.

        Raises:
            ConfigurationError: It cannot be made, or the account cannot reach it.
        """
        made = cls(path, unprivileged_account(path / "data", report), report)
        with made._making():
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(0o700 if made.account is None else 0o711)
        made.reach(path / "data")
        return made

    @property
    def identity(self) -> ChildIdentity:
        """Keyword arguments that make a child process run as the account."""
        return child_identity(self.account)

    def reach(self, target: Path) -> None:
        """Let the account pass through the folders above a path."""
        if self.account is not None:
            open_path(target, self.account, self.report)

    def part(self, name: str, texts: Mapping[str, str] | None = None) -> Path:
        """A folder inside that belongs to the account.

        Args:
            name: Its name.
            texts: Files that are all it holds; None leaves what is in it.

        Raises:
            ConfigurationError: It cannot be made.
        """
        folder = self.path / name
        with self._making():
            if texts is not None:
                shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(mode=0o700, exist_ok=True)
            for file, text in (texts or {}).items():
                (folder / file).write_text(text)
            if self.account is not None:
                for each in (folder, *(folder / file for file in texts or {})):
                    os.chown(each, self.account.uid, self.account.gid, follow_symlinks=False)
        return folder

    @contextmanager
    def _making(self) -> Generator[None]:
        try:
            yield
        except OSError as error:
            raise ConfigurationError(
                f"cannot make {error.filename or self.path} ({error.strerror}): make room or mend its permissions, or "
                "choose another folder with TALLYSTICK_HOME"
            ) from error
