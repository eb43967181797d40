"""The state directory: where everything of one installation lies, and who may use it now.

::

    data/            PostgreSQL's data directory
    opensearch/      the local OpenSearch's data and settings, where one was asked for
    elasticmq/       the local ElasticMQ's settings, where one was asked for
    keys/    0700    secret key files
    tokens/  0700    admin.jwt, the token of the first run
    logs/    0700    what each process wrote, one file each and its older parts
    run.json         where the running instance is found; there only while it runs
    lock             held while it runs
"""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tallystick.errors import ConfigurationError
from tallystick.settings import Settings

_MEMORY = Path("/dev/shm")  # noqa: S108 - the folder in it is ours alone, mode 0700


@dataclass(frozen=True, slots=True)
class Run:
    """What `run.json` says of a running instance.

    Attributes:
        url: Base URL of the API, without a final slash.
        tenant_id: The first tenant, the default of the token.
        token_file: File with a platform admin's token.
        database_url: PostgreSQL as the schema's owner, for the commands that work on it directly; None when it is
            set from outside.
        pid: The supervisor's process.
        environment: Settings of the local servers in it, for commands that need them.
    """

    url: str
    docs_url: str
    tenant_id: str
    token_file: str
    database_url: str | None
    pid: int
    version: str
    environment: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class StateDirectory:
    """The folder and its parts, all as absolute paths."""

    home: Path
    keys: Path

    @classmethod
    def from_settings(cls, settings: Settings) -> "StateDirectory":
        """The state directory that the settings name."""
        return cls(home=settings.home.expanduser().resolve(), keys=settings.key_folder.expanduser().resolve())

    @property
    def data(self) -> Path:
        """PostgreSQL's data directory."""
        return self.home / "data"

    @property
    def logs(self) -> Path:
        """One log file for each process."""
        return self.home / "logs"

    @property
    def metrics(self) -> Path:
        """Counters that the worker and the API processes share; made at each start, removed at its end.

        They are memory-mapped files, and a write to one for which a full disk has no block left kills the writer
        (SIGBUS): so they lie in memory where the system has a place for that.
        """
        if os.access(_MEMORY, os.W_OK | os.X_OK):
            return _MEMORY / f"tallystick-{hashlib.sha256(os.fsencode(self.home)).hexdigest()[:16]}"
        return self.home / "metrics"

    @property
    def admin_token(self) -> Path:
        """The token that the first run made."""
        return self.home / "tokens" / "admin.jwt"

    @property
    def run_file(self) -> Path:
        """Where the running instance is found."""
        return self.home / "run.json"

    def prepare(self) -> None:
        """Make the folders inside; only for who holds the lock.

        Raises:
            ConfigurationError: They cannot be made.
        """
        with self._making():
            for folder in (self.keys, self.logs, self.admin_token.parent):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            shutil.rmtree(self.metrics, ignore_errors=True)
            self.metrics.mkdir(mode=0o700)

    @contextmanager
    def _making(self) -> Generator[None]:
        try:
            yield
        except OSError as error:
            raise ConfigurationError(
                f"cannot make {error.filename or 'a file'} in the state directory {self.home} ({error.strerror}): mend "
                "its permissions, or choose another folder with TALLYSTICK_HOME"
            ) from error

    @contextmanager
    def lock(self) -> Generator[None]:
        """Hold the state directory, made if need be; the kernel lets go of it when the process ends in whatever way.

        Raises:
            ConfigurationError: Another process holds it.
        """
        with self._making():
            if not self.home.exists():
                self.home.mkdir(parents=True)
                # To pass through is not to look into: PostgreSQL may run as another account (see `runtime.account`).
                self.home.chmod(0o711)
            descriptor = os.open(self.home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
                raise ConfigurationError(
                    f"Tallystick already runs on {self.home} (process {holder}): stop it first, or give this one a "
                    "state directory of its own with TALLYSTICK_HOME and a port with TALLYSTICK_PORT"
                ) from None
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            yield
        finally:
            os.close(descriptor)

    def write_run(self, run: Run) -> None:
        """Say where the running instance is, atomically."""
        write_atomically(self.run_file, json.dumps(asdict(run), indent=2) + "\n")

    def read_run(self) -> Run | None:
        """Where the running instance is, or None when none runs (the file of a killed one does not count)."""
        try:
            run = Run(**json.loads(self.run_file.read_text()))
        except (OSError, ValueError, TypeError):
            return None
        return run if self._is_held() else None

    def _is_held(self) -> bool:
        try:
            descriptor = os.open(self.home / "lock", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        else:
            return False
        finally:
            os.close(descriptor)


def write_atomically(file: Path, text: str) -> None:
    """Put a file of mode 0600 in place whole, so that no reader sees a part of it."""
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as opened:
        opened.write(text)
    beside.replace(file)
