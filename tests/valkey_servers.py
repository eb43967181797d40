"""A Valkey server for tests, or the Redis that it came from: whichever is on the PATH. It starts in milliseconds."""

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tallystick.runtime.servers.local import HOST, free_port

DEADLINE = 30.0
_POLL = 0.01


@dataclass
class ValkeyServer:
    """A server that keeps nothing: what is killed comes back empty, on the same port.

    Attributes:
        program: What runs.
        folder: Its working directory.
        port: Where it listens, on the loopback address.
        tls: Paths by the directives that take them (``tls-cert-file`` …); without any it speaks in clear.
        user: Besides whom nobody may log in, with `password`; everybody may, without either, when None.
        rules: What that user may do, as an ACL.
        more: Further directives.
    """

    program: str
    folder: Path
    port: int = field(default_factory=free_port)
    tls: Mapping[str, Path] = field(default_factory=dict[str, Path])
    user: str | None = None
    password: str = ""
    rules: str = "~* +@all"
    more: Sequence[str] = ()
    _process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"{'valkeys' if self.tls else 'valkey'}://{HOST}:{self.port}"

    @property
    def directives(self) -> list[str]:
        """Its configuration, which it reads from its standard input: no command line shows a password."""
        found = [f"bind {HOST}", 'save ""', "appendonly no", f"dir {self.folder}", *self.more]
        if self.tls:
            found += ["port 0", f"tls-port {self.port}", "tls-auth-clients no"]
            found += [f"{directive} {path}" for directive, path in self.tls.items()]
        else:
            found += [f"port {self.port}"]
        if self.user is not None:
            found += ["user default off", f"user {self.user} on >{self.password} {self.rules}"]
        return found

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        log = self.folder / "valkey.log"
        with log.open("ab") as out:
            process = subprocess.Popen([self.program, "-"], stdin=subprocess.PIPE, stdout=out, stderr=out)
        assert process.stdin is not None
        with process.stdin as given:
            given.write("\n".join(self.directives).encode())
        self._process = process
        end = time.monotonic() + DEADLINE
        while not self._listens():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, f"{self.program} does not answer"
            time.sleep(_POLL)

    def pause(self) -> None:
        """Let it hang: connections stay, and nothing is answered until it is killed."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        """End it at once, in the middle of whatever it does."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((HOST, self.port)) == 0


def valkey_program() -> str:
    """The program, where there is one; else the test that asks is skipped."""
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        pytest.skip("neither valkey-server nor redis-server is on the PATH: see `make servers`")
    return found


@contextmanager
def running(server: ValkeyServer) -> Generator[ValkeyServer]:
    """A server that is killed at the end."""
    server.start()
    try:
        yield server
    finally:
        server.kill()
