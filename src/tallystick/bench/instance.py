"""The server under test: a running one that was named, or one of our own in a state directory of its own."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import psutil

from tallystick.auth.keyring import open_keyring
from tallystick.auth.model import Role
from tallystick.auth.service import TokenGrant, create_token, parse_ttl
from tallystick.bench.usage import Groups, family
from tallystick.errors import ConfigurationError
from tallystick.settings import Settings

_START_SECONDS: Final = 120
_STOP_SECONDS: Final = 60
_POLL: Final = 0.1


@dataclass(frozen=True, slots=True)
class Server:
    """A PostgreSQL server, and how to reach its databases.

    Attributes:
        url: Of the database with the log, as the schema's owner.
        admin: Of any of its databases, as one who may make more.
    """

    url: str
    admin: str

    def database(self, name: str) -> str:
        """URL of another database of the server, as one who may make databases."""
        return urlsplit(self.admin)._replace(path=f"/{name}").geturl()


@dataclass(frozen=True, slots=True)
class Instance:
    """A running Tallystick.

    Attributes:
        url: Without a path.
        token: Of a platform admin.
        tenant_id: The first tenant.
        home: The state directory.
        supervisor: The process that started all others.
        database_url: The embedded PostgreSQL as the schema's owner; None when the database lies elsewhere.
    """

    url: str
    token: str
    tenant_id: str
    home: Path
    supervisor: int
    database_url: str | None

    def client(self) -> httpx.Client:
        """A client with the token, for what surrounds a measurement."""
        return httpx.Client(
            base_url=f"{self.url}/api/v1", headers={"Authorization": f"Bearer {self.token}"}, timeout=60
        )

    def postgres(self) -> Server:
        """Find its PostgreSQL: the embedded one, or that of ``TALLYSTICK_DATABASE__URL``.

        Raises:
            ConfigurationError: There is neither.
        """
        if self.database_url is not None:
            parts = urlsplit(self.database_url)
            return Server(self.database_url, parts._replace(netloc="postgres@").geturl())
        external = os.environ.get("TALLYSTICK_DATABASE__URL")
        if external is None:
            raise ConfigurationError(
                "the instance's database lies elsewhere: name it in TALLYSTICK_DATABASE__URL, as the schema's owner"
            )
        return Server(external, external)

    def groups(self) -> Groups:
        """Its processes by what they do."""
        found: dict[str, list[int]] = {"api": [], "postgres": [], "worker": []}
        for pid in family(self.supervisor):
            if (group := _group(pid)) is not None:
                found[group].append(pid)
        return found


def _group(pid: int) -> str | None:
    try:
        process = psutil.Process(pid)
        if process.name().startswith("postgres"):
            return "postgres"
        words = process.cmdline()
    except psutil.Error:
        return None
    return "api" if "serve" in words else "worker" if "worker" in words else None


def read_run_file(home: Path) -> Instance | None:
    """Read what a running instance says of itself; None when there is none or it does not answer."""
    try:
        told: dict[str, Any] = json.loads((home / "run.json").read_text(encoding="utf-8"))
        token = (home / told["token_file"]).read_text(encoding="utf-8").strip()
        found = Instance(
            url=told["url"],
            token=token,
            tenant_id=told["tenant_id"],
            home=home,
            supervisor=told["pid"],
            database_url=told["database_url"],
        )
    except (OSError, ValueError, KeyError):
        return None
    return found if _answers(found) else None


def _answers(instance: Instance) -> bool:
    try:
        return httpx.get(f"{instance.url}/readyz", timeout=5).is_success
    except httpx.HTTPError:
        return False


@contextlib.contextmanager
def instance_in(
    home: Path | None, settings: Mapping[str, str] | None = None, options: Sequence[str] = ()
) -> Generator[Instance]:
    """Give the instance of a state directory, started and stopped again if it does not run.

    Args:
        home: The state directory; None makes one and removes it afterwards.
        settings: Environment variables for an instance that is started here.
        options: Of `tallystick up`, likewise.

    Raises:
        ConfigurationError: It does not start; the message has what it said.
    """
    if home is not None and (running := read_run_file(home)) is not None:
        yield running
        return
    folder = Path(tempfile.mkdtemp(prefix="tallystick-bench-")) if home is None else home.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with _started(folder, settings or {}, options) as started:
            yield started
    finally:
        if home is None:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _started(home: Path, settings: Mapping[str, str], options: Sequence[str]) -> Generator[Instance]:
    # A database that the environment names is another instance's: this one has its own.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TALLYSTICK_DATABASE__")}
    environment = {
        **inherited,
        "TALLYSTICK_HOME": str(home),
        "TALLYSTICK_PORT": "0",
        **settings,
    }
    run_file = home / "run.json"
    run_file.unlink(missing_ok=True)
    output = home / "bench-up.log"
    with output.open("wb") as log:
        process = subprocess.Popen(  # noqa: S603  # our own program
            [sys.executable, "-c", "from tallystick.cli import main; main()", "up", *options],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
    try:
        yield _wait_until_up(home, process, output)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_up(home: Path, process: subprocess.Popen[bytes], output: Path) -> Instance:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        if (found := read_run_file(home)) is not None:
            return found
        time.sleep(_POLL)
    said = output.read_text(encoding="utf-8", errors="replace").strip()[-2000:]
    raise ConfigurationError(f"`tallystick up` did not come up in {home}; it said: {said or 'nothing'}")


def ensure_tenants(instance: Instance, tenant_ids: list[str], settings: Mapping[str, object] | None = None) -> None:
    """Make tenants that are not there yet, through the API.

    Args:
        instance: Where.
        tenant_ids: Theirs.
        settings: Of those that are made.

    Raises:
        ConfigurationError: The API refuses.
    """
    given = {} if settings is None else {"settings": dict(settings)}
    with instance.client() as client:
        for tenant_id in tenant_ids:
            answer = client.post("/tenants", json={"id": tenant_id, "name": f"Benchmark {tenant_id}", **given})
            if answer.status_code not in (201, 409):
                raise ConfigurationError(f"cannot make the tenant {tenant_id}: {answer.status_code} {answer.text}")


def token_for(instance: Instance, tenant_ids: list[str], subject: str) -> str:
    """A token of its own for an application of some tenants, so that it has rate limits of its own."""
    settings = Settings(home=instance.home)
    grant = TokenGrant(
        subject=subject,
        role=Role.ADMIN,
        tenants=tenant_ids,
        platform=False,
        default_tenant=None,
        scopes=(),
        ttl=parse_ttl("1d"),
    )
    return create_token(settings.auth, open_keyring(settings), grant).token


def probe(instance: Instance, body: bytes, path: str = "/logs") -> None:
    """Send one request before a run, so that a refusal is shown in full and not counted a million times.

    Raises:
        ConfigurationError: It is refused.
    """
    with instance.client() as client:
        answer = client.post(path, content=body, headers={"Content-Type": "application/json"})
        if answer.status_code not in (200, 201):
            raise ConfigurationError(f"POST {path} is refused: {answer.status_code} {answer.text}")
