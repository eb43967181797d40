"""`tallystick up` as a person runs it: started, stopped, killed, started again."""

import json
import os
import re
import select
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
import jwt
import psutil
import pytest

from certificates import Authority
from deadlines import STEP, allow
from servers import DEADLINE as SERVERS_DEADLINE
from servers import QUICK_START
from tallystick.runtime.postgres import PORT
from tallystick.runtime.processes import outliving, working_in

DEADLINE = 90.0

pytestmark = pytest.mark.slow


@dataclass
class Home:
    """A state directory and the supervisors that were started on it."""

    folder: Path
    started: list[subprocess.Popen[bytes]] = field(default_factory=list[subprocess.Popen[bytes]])

    def spawn(self, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        """Run a command on this state directory."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("TALLYSTICK_")}
        process = subprocess.Popen(
            [sys.executable, "-m", "tallystick", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**clean, "TALLYSTICK_HOME": str(self.folder), "TALLYSTICK_PORT": "0", **environment},
        )
        self.started.append(process)
        return process

    def refusal(self, *arguments: str, code: int = 2, **environment: str) -> str:
        """What a command that must be refused says, once it has ended with that code."""
        process = self.spawn(*arguments, **environment)
        _, said = process.communicate(timeout=DEADLINE)
        assert process.returncode == code, said
        assert b"Traceback" not in said
        return said.decode()

    def output(self, *arguments: str) -> dict[str, Any]:
        """What a command prints as JSON."""
        process = self.spawn(*arguments, "--json")
        out, err = process.communicate(timeout=DEADLINE)
        assert process.returncode == 0, err
        return json.loads(out)

    def up(self, *options: str, **environment: str) -> "Instance":
        """Start everything and wait until it answers."""
        process = self.spawn("up", "--json", *options, **environment)
        assert process.stdout is not None
        line = b""
        seconds = SERVERS_DEADLINE if options else DEADLINE
        allow(seconds + STEP)
        end = monotonic() + seconds
        while not line.endswith(b"\n"):
            readable, _, _ = select.select([process.stdout], [], [], max(0, end - monotonic()))
            chunk = os.read(process.stdout.fileno(), 65536) if readable else b""
            if not chunk:
                process.kill()
                pytest.fail(f"it did not start: {process.communicate()[1].decode()}")
            line += chunk
        return Instance(process, json.loads(line))

    def servers(self) -> list[psutil.Process]:
        """What runs of the local servers."""
        return [
            each for kind in ("opensearch", "elasticmq") for each in working_in(self.folder / kind / "data", "java")
        ]


@dataclass
class Instance:
    """One run of everything."""

    process: subprocess.Popen[bytes]
    run: dict[str, Any]

    @property
    def url(self) -> str:
        return self.run["url"]

    def client(self) -> httpx.Client:
        token = Path(self.run["token_file"]).read_text().strip()
        headers = {"authorization": f"Bearer {token}"}
        return httpx.Client(base_url=f"{self.url}/api/v1", headers=headers, timeout=DEADLINE)

    def store(self, user_id: str) -> str:
        """Store an event; returns its id."""
        with self.client() as client:
            answer = client.post("/logs", json={"action": "tried", "resource_type": "test", "user_id": user_id})
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    def read(self, event_id: str) -> str:
        """Read an event back; returns its user."""
        with self.client() as client:
            answer = client.get(f"/logs/{event_id}")
        assert answer.status_code == 200, answer.text
        return answer.json()["user_id"]

    def token_id(self) -> str:
        """The id of its token."""
        token = Path(self.run["token_file"]).read_text().strip()
        return jwt.decode(token, options={"verify_signature": False})["jti"]

    def acts(self) -> list[tuple[str, str, str]]:
        """What `tallystick up` is on record for: action, what it was done to, and its phase or result."""
        with self.client() as client:
            asked = {"tenant_id": "_platform", "order": "seq", "limit": "50"}
            answer = client.get("/access-logs", params=asked)
        assert answer.status_code == 200, answer.text
        told = [each for each in answer.json()["items"] if each["metadata"]["operation"] == "tallystick up"]
        said = [each["metadata"] for each in told]
        return [
            (each["action"], each["resource_id"], about.get("result", about["phase"]))
            for each, about in zip(told, said, strict=True)
        ]

    def until_indexed(self, seq: int) -> None:
        """Wait until the search index holds an event of the first tenant."""
        end = monotonic() + SERVERS_DEADLINE
        with self.client() as client:
            answer = client.get("/logs", params={"q": "test"})
            while answer.status_code != 200 or answer.json()["indexed_through"] < seq:
                assert monotonic() < end, answer.text
                answer = client.get("/logs", params={"q": "test"})

    def children(self, command: str) -> list[psutil.Process]:
        """Its child processes of a kind."""
        return [child for child in psutil.Process(self.process.pid).children() if command in child.cmdline()]

    def stop(self, number: int = signal.SIGINT) -> int:
        """End it like a person does; returns the exit code."""
        self.process.send_signal(number)
        self.process.communicate(timeout=DEADLINE)
        return self.process.returncode


@pytest.fixture
def home() -> Generator[Home]:
    """An empty state directory, away from pytest's folders, which as root no other account may search."""
    made = Home(Path(tempfile.mkdtemp(prefix="tallystick-up-")))
    yield made
    for process in made.started:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.communicate(timeout=DEADLINE)
    for leftover in (*working_in(made.folder / "data", "postgres"), *made.servers()):
        leftover.kill()
    shutil.rmtree(made.folder)


def test_ctrl_c_ends_everything_and_a_second_start_resumes(home: Home) -> None:
    first = home.up()
    saved = json.loads((home.folder / "run.json").read_text())
    assert saved == first.run
    assert Path(saved["token_file"]).stat().st_mode & 0o777 == 0o600
    event_id = first.store("ada")
    assert "already runs" in home.refusal("up")
    assert first.read(event_id) == "ada"
    descendants = psutil.Process(first.process.pid).children(recursive=True)

    assert first.stop() == 0

    assert outliving(descendants, 0) == []
    assert not (home.folder / "run.json").exists()
    assert not (home.folder / "data" / "postmaster.pid").exists()
    second = home.up()
    assert second.read(event_id) == "ada"
    # What the first start made is on record, once.
    assert second.acts() == [
        ("tenants.create", "default", "intent"),
        ("tenants.create", "default", "completed"),
        ("tokens.create", second.token_id(), "intent"),
        ("tokens.create", second.token_id(), "completed"),
    ]
    assert second.stop(signal.SIGTERM) == 0


def test_a_start_after_everything_was_killed_resumes(home: Home) -> None:
    first = home.up()
    event_id = first.store("ada")
    own = first.children("serve") + first.children("worker")
    postgres = working_in(home.folder / "data", "postgres")
    assert own
    assert postgres

    first.process.kill()
    first.process.wait()
    second = home.up(TALLYSTICK_PORT=first.url.rsplit(":", 1)[1])

    assert outliving([*own, *postgres], DEADLINE) == [], "what a killed supervisor leaves must end"
    assert second.url == first.url
    assert second.read(event_id) == "ada"
    everything = [*second.children("serve"), *second.children("worker"), *working_in(home.folder / "data", "postgres")]
    second.process.kill()
    for process in everything:
        with suppress(psutil.NoSuchProcess):  # it went with the one before
            process.kill()
    second.process.wait()
    assert outliving(everything, DEADLINE) == []
    assert home.refusal("demo").startswith("tallystick: nothing runs")
    account = (home.folder / "data").stat().st_uid
    with subprocess.Popen(["sleep", "60"], user=account, cwd="/") as other:  # it was given the number since
        for lock in (home.folder / "data" / "postmaster.pid", home.folder / "socket" / f".s.PGSQL.{PORT}.lock"):
            _, *lines = lock.read_text().splitlines()
            lock.write_text("\n".join((str(other.pid), *lines, "")))
        third = home.up()
        other.kill()
    assert third.read(event_id) == "ada"
    assert third.stop() == 0


def test_children_that_are_killed_come_back_on_the_same_port(home: Home) -> None:
    instance = home.up(TALLYSTICK_API__PROCESSES="2")
    event_id = instance.store("ada")
    doors = instance.children("serve")
    assert len(doors) == 2
    for door in doors:
        door.kill()
    # The connection waits in the listening socket that the supervisor holds, until the next process takes it.
    assert instance.read(event_id) == "ada"
    assert not set(doors) & set(instance.children("serve"))

    postgres = [child for child in psutil.Process(instance.process.pid).children() if child.name() == "postgres"]
    assert len(postgres) == 1
    postgres[0].kill()
    with instance.client() as client:
        end = monotonic() + DEADLINE
        answer = client.get(f"/logs/{event_id}")
        while answer.status_code == 503 and monotonic() < end:
            assert "retry-after" in answer.headers
            answer = client.get(f"/logs/{event_id}")
    assert answer.status_code == 200
    assert instance.stop() == 0


def test_one_port_shows_what_the_worker_and_all_api_processes_count(home: Home) -> None:
    instance = home.up(TALLYSTICK_API__PROCESSES="2")
    instance.store("ada")
    instance.until_indexed(0)
    handled = re.compile(r'^tallystick_follower_events_total\{follower="search"\} [1-9]', re.MULTILINE)
    end = monotonic() + DEADLINE
    with instance.client() as client:
        shown = client.get(f"{instance.url}/metrics").text
        while not handled.search(shown) and monotonic() < end:  # it counts after it has committed
            shown = client.get(f"{instance.url}/metrics").text
    assert handled.search(shown)
    assert re.search(r"^tallystick_appended_events_total [1-9]", shown, re.MULTILINE)
    assert instance.stop() == 0


def test_the_demonstration_stores_nothing_twice(home: Home) -> None:
    instance = home.up()
    first, second = home.output("demo"), home.output("demo")
    assert sum(tenant["stored"] for tenant in first["tenants"]) > 2000
    assert [tenant["stored"] for tenant in second["tenants"]] == [0, 0, 0]
    with instance.client() as client:
        alerts = client.get("/logs", params={"tenant_id": "harbour-pay", "action": "alert.raised"}).json()["items"]
    assert [alert["resource_id"] for alert in alerts] == ["INC-2041"]
    assert instance.stop() == 0


def test_commands_find_the_running_instance(home: Home) -> None:
    instance = home.up()
    assert home.output("migrate") == {"applied": []}
    assert home.output("tenants", "create", "acme", "--name", "Acme")["name"] == "Acme"
    assert [tenant["id"] for tenant in home.output("tenants", "list")["tenants"]] == ["default", "acme"]
    assert home.output("tenants", "suspend", "acme")["suspended"] is True
    assert home.output("tenants", "resume", "acme")["suspended"] is False
    assert "acme" in home.refusal("tenants", "create", "acme", code=1)
    assert "id" in home.refusal("tenants", "create", "Not A Slug")
    assert instance.stop() == 0


def test_it_speaks_tls_and_takes_its_keys_from_the_environment(home: Home, tmp_path: Path) -> None:
    bundle, _ = home.spawn("keys", "bundle", "--new").communicate(timeout=DEADLINE)
    authority = Authority(tmp_path)
    shown, trusted = authority.certificate("api"), str(authority.file)
    instance = home.up(
        TALLYSTICK_KEY_FILES=bundle.decode(),
        TALLYSTICK_API__TLS_CERTIFICATE=str(shown.file),
        TALLYSTICK_API__TLS_KEY=str(shown.key),
    )
    assert instance.url.startswith("https://127.0.0.1:")
    token = jwt.get_unverified_header(Path(instance.run["token_file"]).read_text().strip())
    assert token["kid"] == json.loads(bundle)["token_signing"]["active"]
    assert list((home.folder / "keys").iterdir()) == []
    assert httpx.get(f"{instance.url}/readyz", verify=ssl.create_default_context(cafile=trusted)).is_success
    demo = home.spawn("demo", "--json", SSL_CERT_FILE=trusted)
    assert json.loads(demo.communicate(timeout=DEADLINE)[0])["url"] == instance.url
    assert instance.stop() == 0


def test_a_foreign_process_on_the_port_is_named(home: Home) -> None:
    with socket.create_server(("127.0.0.1", 0)) as foreign:
        port = str(foreign.getsockname()[1])
        said = home.refusal("up", TALLYSTICK_PORT=port)
    assert f"port {port}" in said
    assert "TALLYSTICK_PORT" in said
    assert not (home.folder / "data").exists()


def test_data_of_another_major_version_is_left_alone(home: Home) -> None:
    (home.folder / "data").mkdir()
    (home.folder / "data" / "PG_VERSION").write_text("16\n")
    said = home.refusal("up")
    assert "PostgreSQL 16" in said
    assert "PostgreSQL 18" in said


def test_logs_are_kept_small_while_everything_runs(home: Home) -> None:
    running = home.up()
    logs = [home.folder / "logs" / name for name in ("postgres.log", "worker.log", "api-1.log")]
    for log in logs:
        os.truncate(log, 9 * 1024 * 1024)
    end = monotonic() + DEADLINE
    while any(log.stat().st_size > 1024 * 1024 for log in logs):
        running.store("ada")  # and each writes a line
        assert monotonic() < end
    assert all(log.with_name(f"{log.name}.1").stat().st_size >= 9 * 1024 * 1024 for log in logs)
    assert running.stop() == 0


def test_local_servers_stand_in_for_a_cloud(home: Home) -> None:
    options = ("--search", "opensearch", "--queue", "sqs")
    instance = home.up(*options, TALLYSTICK_QUEUE__SWEEP_INTERVAL="1", **QUICK_START)
    first = instance.store("ada")
    opensearch, elasticmq = home.servers()
    instance.until_indexed(0)
    assert home.output("queue", "dead")["queues"] == [
        {"kind": kind, "count": 0, "subjects": []} for kind in ("wake-ups", "jobs")
    ]
    assert home.output("queue", "redrive")["queues"] == [{"kind": kind, "moved": 0} for kind in ("wake-ups", "jobs")]

    opensearch.kill()
    elasticmq.kill()
    instance.store("bob")
    instance.until_indexed(1)
    assert instance.read(first) == "ada"
    assert not {opensearch.pid, elasticmq.pid} & {each.pid for each in home.servers()}

    instance.process.kill()
    instance.process.wait()
    left = home.servers()
    assert len(left) == 2
    second = home.up(*options, **QUICK_START)
    assert outliving(left, DEADLINE) == [], "what a killed supervisor leaves must end"
    second.until_indexed(1)
    assert second.stop() == 0
    assert home.servers() == []


def test_a_server_that_is_named_takes_the_place_of_a_local_one(home: Home, elasticmq_url: str) -> None:
    instance = home.up(
        "--queue", "sqs", TALLYSTICK_QUEUE__ENDPOINT=elasticmq_url, TALLYSTICK_QUEUE__PREFIX=f"up-{os.getpid()}"
    )
    assert home.servers() == []
    assert instance.run["environment"] == {}
    instance.store("ada")
    instance.until_indexed(0)
    assert instance.stop() == 0
