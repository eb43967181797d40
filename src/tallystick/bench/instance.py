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
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

import httpx
import psutil

from tallystick.bench.usage import Groups, family, listeners
from tallystick.errors import ConfigurationError

_START_SECONDS: Final = 120
_STOP_SECONDS: Final = 60
_POLL: Final = 0.1
_OWNER: Final = ("tallystick_owner", "tallystick")


@dataclass(frozen=True, slots=True)
class Server:
    """A PostgreSQL server, and how to reach its databases.

    Attributes:
        url: Of the database with the log, as the schema's owner.
        admin: Of any of its databases, as one who may make more.
        postmaster: Its process, or None when it runs on another machine.
    """

    url: str
    admin: str
    postmaster: int | None

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
    """

    url: str
    token: str
    tenant_id: str
    home: Path

    @property
    def port(self) -> int:
        """The port it listens on."""
        return urlsplit(self.url).port or 80

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
        if external := os.environ.get("TALLYSTICK_DATABASE__URL"):
            return Server(external, external, None)
        for file in sorted(self.home.glob("*/postmaster.pid")):
            lines = file.read_text(encoding="utf-8").splitlines()
            pid, port, socket = int(lines[0]), lines[3].strip(), lines[4].strip()
            place = f"?host={quote(socket, safe='')}&port={port}"
            owner, database = _OWNER
            return Server(f"postgresql://{owner}@/{database}{place}", f"postgresql://postgres@/{database}{place}", pid)
        raise ConfigurationError(
            f"{self.home} has no running PostgreSQL: name its database in TALLYSTICK_DATABASE__URL, as the owner"
        )

    def api_processes(self) -> list[int]:
        """The processes that answer requests."""
        found = listeners(self.port)
        serving = [pid for pid in found if psutil.Process(pid).ppid() in found]
        return serving or found

    def groups(self) -> Groups:
        """Its processes, for measuring CPU."""
        with contextlib.suppress(ConfigurationError):
            postmaster = self.postgres().postmaster
            return {"api": self.api_processes(), "postgres": family(postmaster) if postmaster else []}
        return {"api": self.api_processes()}


def read_run_file(home: Path) -> Instance | None:
    """Read what a running instance says of itself; None when there is none or it does not answer."""
    try:
        told: dict[str, Any] = json.loads((home / "run.json").read_text(encoding="utf-8"))
        token = (home / told["token_file"]).read_text(encoding="utf-8").strip()
    except (OSError, ValueError, KeyError):
        return None
    found = Instance(url=told["url"].rstrip("/"), token=token, tenant_id=told["tenant_id"], home=home)
    return found if _answers(found) else None


def _answers(instance: Instance) -> bool:
    try:
        return httpx.get(f"{instance.url}/readyz", timeout=5).is_success
    except httpx.HTTPError:
        return False


@contextlib.contextmanager
def instance_in(home: Path | None, settings: Mapping[str, str] | None = None) -> Generator[Instance]:
    """Give the instance of a state directory, started and stopped again if it does not run.

    Args:
        home: The state directory; None makes one and removes it afterwards.
        settings: Environment variables for an instance that is started here.

    Raises:
        ConfigurationError: It does not start; the message has what it said.
    """
    if home is not None and (running := read_run_file(home)) is not None:
        yield running
        return
    folder = Path(tempfile.mkdtemp(prefix="tallystick-bench-")) if home is None else home.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with _started(folder, settings or {}) as started:
            yield started
    finally:
        if home is None:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _started(home: Path, settings: Mapping[str, str]) -> Generator[Instance]:
    environment = {
        **os.environ,
        "TALLYSTICK_HOME": str(home),
        "TALLYSTICK_PORT": "0",
        "TALLYSTICK_LOGGING__LEVEL": "WARNING",
        **settings,
    }
    run_file = home / "run.json"
    run_file.unlink(missing_ok=True)
    output = home / "bench-up.log"
    with output.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", "from tallystick.cli import main; main()", "up"],
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


def ensure_tenants(instance: Instance, tenant_ids: list[str]) -> None:
    """Make tenants that are not there yet, through the API.

    Raises:
        ConfigurationError: The API refuses.
    """
    with instance.client() as client:
        for tenant_id in tenant_ids:
            answer = client.post("/tenants", json={"id": tenant_id, "name": f"Benchmark {tenant_id}"})
            if answer.status_code not in (201, 409):
                raise ConfigurationError(f"cannot make the tenant {tenant_id}: {answer.status_code} {answer.text}")


def probe(instance: Instance, body: bytes, path: str = "/logs") -> None:
    """Send one request before a run, so that a refusal is shown in full and not counted a million times.

    Raises:
        ConfigurationError: It is refused.
    """
    with instance.client() as client:
        answer = client.post(path, content=body, headers={"Content-Type": "application/json"})
        if answer.status_code not in (200, 201):
            raise ConfigurationError(f"POST {path} is refused: {answer.status_code} {answer.text}")
