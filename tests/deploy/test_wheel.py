"""The server as the image has it, with the environment of `compose.yaml`, from the first start to the last.

Without an engine: wheels alone, at the image's lock, as a user who can write into its home and nowhere else, where the
tests are root's. With one: in containers of the image that ``TALLYSTICK_TEST_IMAGE`` names, as closed as
`compose.yaml` has them. ``TALLYSTICK_TEST_ENGINE`` is the command that runs them, ``docker`` when absent.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from composition import CONTAINER, ROOT, image_environment, moved, part, prepare_secrets, secret_places, services
from deadlines import allow
from s3_servers import CREDENTIALS, make_bucket
from tallystick.runtime.account import Account, child_identity
from tallystick.runtime.postgres import EmbeddedPostgres, socket_directory
from tallystick.runtime.servers.local import HOST, free_port
from valkey_servers import valkey_program

pytestmark = pytest.mark.slow

UID = 10_001
DEADLINE = 90.0
FETCHING = 600.0
"""Seconds to install what the lock names, where nothing of it is in the cache."""

_OF_THIS_TEST = {
    "TALLYSTICK_QUEUE__PREFIX": f"test-wheel-{os.getpid()}",
    "TALLYSTICK_SEARCH__PREFIX": f"test_wheel_{os.getpid()}",
}
"""These servers are the session's."""

_UV = Path(sys.prefix) / "tools" / "bin" / "uv"

IMAGE: Final = os.environ.get("TALLYSTICK_TEST_IMAGE")
ENGINE: Final = os.environ.get("TALLYSTICK_TEST_ENGINE", "docker").split()
_CLOSED: Final = {"tmpfs": "--tmpfs", "cap_drop": "--cap-drop", "security_opt": "--security-opt"}
"""What closes a container, in `compose.yaml` and as an option of the engine."""


def run(*command: str | Path, **options: Any) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=FETCHING, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def interpreter() -> Path:
    """Root's own may lie where nobody else can reach it."""
    systems = Path("/usr/bin/python3")
    if os.geteuid() == 0 and systems.exists():
        new = subprocess.run([systems, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"], check=False)
        if new.returncode == 0:
            return systems
    return Path(sys.executable).resolve()


@pytest.fixture
def ground() -> Generator[Path]:
    """A folder that other users may pass through, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="tallystick-wheel-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def programs(ground: Path) -> Path:
    """The folder of what is installed by the wheels, with nothing beside them but what the image's lock names."""
    allow(FETCHING)
    wheels, environment = ground / "wheels", ground / "environment"
    for package in (ROOT, ROOT / "packages" / "tlog"):
        run(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", wheels, cwd=package)
    variables = {**os.environ, "UV_SYSTEM_CERTS": "1", "UV_PYTHON_DOWNLOADS": "never"}
    run(_UV, "venv", "--python", interpreter(), environment, env=variables)
    install = (_UV, "pip", "install", "--compile-bytecode", "--python", environment / "bin" / "python", "--no-deps")
    run(*install, "--require-hashes", "--requirement", CONTAINER / "runtime.lock", env=variables)
    run(*install, *wheels.iterdir(), env=variables)
    return environment / "bin"


@pytest.fixture
def secrets(ground: Path) -> Path:
    """The secrets, as containers see them: readable, whoever they run as."""
    folder = prepare_secrets(ground)
    folder.chmod(0o755)
    return folder


@pytest.fixture
def database_port(ground: Path, secrets: Path) -> Generator[int]:
    """Of a server that asks for passwords, made ready by what the database's container runs on its first start."""
    state = ground / "postgres"
    state.mkdir()
    logins = ground / "pg_hba.conf"
    logins.write_text(f"local all all trust\nhost all all {HOST}/32 scram-sha-256\n")
    port = free_port()
    listening = {"listen_addresses": HOST, "port": str(port), "hba_file": str(logins)}
    server = EmbeddedPostgres(state / "data", socket_directory(state), state / "log", listening)
    server.initialise()
    process = server.start()
    try:
        server.wait_ready(DEADLINE, lambda: process.poll() is None)
        psql = server.programs / "bin" / "psql"
        socket = {"PGHOST": str(server.socket_dir), "PGPORT": str(port), "POSTGRES_USER": "postgres"}
        # As the image leaves it, without what makes a server embedded.
        for statement in ("drop database tallystick", "drop role tallystick_owner"):
            run(psql, "--username", "postgres", "--command", statement, env=socket)
        script = moved((CONTAINER / "database.sh").read_text(), secret_places(secrets))
        run("bash", "-ec", script, env={**socket, "PATH": f"{psql.parent}:{os.environ['PATH']}"})
        yield port
    finally:
        server.stop("immediate")
        process.wait(DEADLINE)
        shutil.rmtree(server.socket_dir, ignore_errors=True)


@pytest.fixture
def rates_port(ground: Path, secrets: Path) -> Generator[int]:
    """Of the shared counters."""
    port = free_port()
    command = (valkey_program(), secrets / "rates.conf", "--bind", HOST, "--port", str(port))
    with part(command, {}, port, ground / "rates.log"):
        yield port


@dataclass(frozen=True)
class Host(ABC):
    """What runs a service's program.

    Attributes:
        home: Where it keeps what must outlive it.
        secrets: What its containers are given.
        places: Host and port by those that `compose.yaml` has.
    """

    home: Path
    secrets: Path
    places: Mapping[str, str]

    @abstractmethod
    def prepared(self, environment: Mapping[str, str], *command: str) -> dict[str, Any]:
        """What starts a command of the image, as arguments of `subprocess.Popen`."""

    def environment(self, service: str, **more: str) -> dict[str, str]:
        """A service's environment, and nothing of ours."""
        here = {f"//{place}": f"//{found}" for place, found in self.places.items()} | secret_places(self.secrets)
        variables = {name: moved(value, here) for name, value in services()[service]["environment"].items()}
        return {**variables, **_OF_THIS_TEST, "TALLYSTICK_HOST": HOST, **more}

    def command(self, service: str, *arguments: str) -> str:
        """What a command in a service's container prints."""
        prepared = self.prepared(self.environment(service), "tallystick", *arguments)
        return run(*prepared.pop("args"), **prepared)

    def is_healthy(self, service: str, *arguments: str) -> bool:
        """Whether the image's check says so."""
        check = self.prepared(self.environment(service), "python", "/opt/tallystick/healthcheck.py", *arguments)
        quiet = subprocess.DEVNULL
        return subprocess.call(check.pop("args"), stdout=quiet, stderr=quiet, **check) == 0

    @contextmanager
    def running(self, service: str, **more: str) -> Generator[None]:
        """A service, which must end well when it is told to."""
        log = self.secrets.parent / f"{service}.log"
        prepared = self.prepared(self.environment(service, **more), "tallystick", *services()[service]["command"])
        with log.open("wb") as out:
            process = subprocess.Popen(stdin=subprocess.DEVNULL, stdout=out, stderr=out, **prepared)
        try:
            yield
            process.send_signal(signal.SIGTERM)
            assert process.wait(DEADLINE) == 0, log.read_text()
        finally:
            process.kill()
            process.wait()
        assert '"level":"error"' not in log.read_text(), log.read_text()


@dataclass(frozen=True)
class Wheels(Host):
    """What stands in for an engine.

    Attributes:
        programs: Folder of what the wheels installed.
    """

    programs: Path

    def prepared(self, environment: Mapping[str, str], *command: str) -> dict[str, Any]:
        """See `Host`."""
        name, *arguments = command
        files = {"/opt/tallystick": str(CONTAINER)}
        own = {"PATH": str(self.programs), "TALLYSTICK_HOME": str(self.home)}
        return {
            "args": [self.programs / name, *(moved(each, files) for each in arguments)],
            "env": {**image_environment(), **environment, **own},
            "cwd": self.home,
            **child_identity(Account("container", UID, UID) if os.geteuid() == 0 else None),
        }


@dataclass(frozen=True)
class Containers(Host):
    """An engine. Containers have the host's network, since the servers that they need are not in containers."""

    def prepared(self, environment: Mapping[str, str], *command: str) -> dict[str, Any]:
        """See `Host`."""
        assert IMAGE is not None
        service = services()["api-1"]  # all of ours are closed alike
        assert service["read_only"]
        closed = [f"{option}={value}" for name, option in _CLOSED.items() for value in service[name]]
        volumes = [f"{self.home}:{image_environment()['TALLYSTICK_HOME']}", f"{self.secrets}:{self.secrets}:ro"]
        mounted = [f"--volume={volume}" for volume in volumes]
        variables = [f"--env={name}" for name in environment]
        name, *arguments = command
        options = ("--read-only", *closed, "--init", "--network=host", *mounted, *variables, f"--entrypoint={name}")
        return {"args": [*ENGINE, "run", "--rm", *options, IMAGE, *arguments], "env": {**os.environ, **environment}}


@pytest.fixture(
    params=[
        "wheels",
        pytest.param(
            "image", marks=pytest.mark.skipif(IMAGE is None, reason="TALLYSTICK_TEST_IMAGE names no image to run")
        ),
    ]
)
def host(
    request: pytest.FixtureRequest,
    ground: Path,
    secrets: Path,
    database_port: int,
    rates_port: int,
    opensearch_url: str,
    elasticmq_url: str,
    s3_url: str,
) -> Host:
    """A host with all parts but our own."""
    owner = secrets / "database_owner.conf"
    place = f"host={HOST}\nport={database_port}\n"
    replace(owner, owner.read_text().replace("host=database\n", place))
    named = (
        f"aws_access_key_id={CREDENTIALS['AWS_ACCESS_KEY_ID']}\n"
        f"aws_secret_access_key={CREDENTIALS['AWS_SECRET_ACCESS_KEY']}\n"
    )
    replace(secrets / "aws_credentials", f"[default]\n{named}")
    make_bucket(s3_url, "tallystick")
    home = ground / "home"
    home.mkdir(mode=0o700)
    if os.geteuid() == 0 or request.param == "image":
        os.chown(home, UID, UID)
    places = {
        "database": f"{HOST}:{database_port}",
        "rates:6379": f"{HOST}:{rates_port}",
        "search:9200": opensearch_url.removeprefix("http://"),
        "queue:9324": elasticmq_url.removeprefix("http://"),
        "objects:7070": s3_url.removeprefix("http://"),
    }
    if request.param == "image":
        return Containers(home, secrets, places)
    return Wheels(home, secrets, places, request.getfixturevalue("programs"))


def replace(file: Path, text: str) -> None:
    file.unlink()
    file.write_text(text)


def asked_until(
    client: httpx.Client, path: str, done: Callable[[dict[str, Any]], bool], **query: str
) -> dict[str, Any]:
    """The first answer with which something is done: other processes send no signal, so it is asked for again."""
    end = time.monotonic() + DEADLINE
    while True:
        try:
            answer = client.get(path, params=query)
        except httpx.TransportError as error:
            last = str(error)
        else:
            last = answer.text
            if answer.is_success and done(answer.json()):
                return answer.json()
        assert time.monotonic() < end, last
        time.sleep(0.1)


def test_a_composition_works_from_the_first_start_to_the_last(host: Host) -> None:
    assert "migration 0001" in host.command("migrate", "migrate")
    assert "nothing to do" in host.command("migrate", "migrate"), "again at each start of the composition"
    port, door = str(free_port()), str(free_port())
    assert not host.is_healthy("api-1", port)
    with (
        host.running("api-1", TALLYSTICK_PORT=port),
        host.running("worker", TALLYSTICK_WORKER__METRICS_HOST=HOST, TALLYSTICK_WORKER__METRICS_PORT=door),
        httpx.Client(base_url=f"http://{HOST}:{port}", timeout=DEADLINE) as client,
    ):
        asked_until(client, "/readyz", lambda report: report["status"] == "ready")
        assert host.is_healthy("api-1", port)
        end = time.monotonic() + DEADLINE
        while not host.is_healthy("worker", door):  # a process starts for each look
            assert time.monotonic() < end

        host.command("api-1", "tenants", "create", "acme")
        grant = ("--role", "admin", "--subject", "ops", "--platform", "--default-tenant", "acme")
        client.headers["authorization"] = f"Bearer {host.command('api-1', 'token', 'create', *grant).strip()}"
        event = {"action": "invoice.approve", "resource_type": "invoice", "user_id": "ada"}
        stored = client.post("/api/v1/logs", json=event)
        assert stored.status_code == 201, stored.text

        # The queue tells the worker of it, and the worker the search engine.
        found = asked_until(client, "/api/v1/logs", lambda page: page["indexed_through"] == 0, q="approve")
        assert [item["id"] for item in found["items"]] == [stored.json()["id"]]

        export = client.post("/api/v1/exports", json={"tenant_id": "acme", "format": "ndjson"})
        assert export.status_code == 202, export.text
        location = export.headers["location"]
        ended = asked_until(client, location, lambda job: job["state"] not in ("queued", "running"))
        assert ended["state"] == "succeeded", ended
        assert client.get(ended["content"]).json() == found["items"][0]
    assert [file.name for file in host.home.iterdir()] == ["keys"], "nothing else needs a volume"
