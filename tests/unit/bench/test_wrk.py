"""The scripts that wrk gets, and the figures it gives back."""

import json
import shutil
from collections.abc import Generator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import cast

import pytest

from tallystick.bench.wrk import Load, read_outcome, script, send
from tallystick.errors import ConfigurationError

LOAD = Load(
    "http://127.0.0.1:1/api/v1/logs",
    [b'{"action":"a"}', b'{"action":"b"}'],
    unique=True,
    token="secret-token",
    connections=2,
    seconds=1,
)

OUTPUT = """\
Running 1s test @ http://127.0.0.1:1
  2 requests in 1.00s
FIGURES {"requests":1000,"duration_us":2000000,"p50_us":1500,"p99_us":24000,"max_us":31000,\
"connect":0,"read":1,"write":0,"timeout":2,"status":4,"counted":[{"201":500,"503":1},{"201":496,"503":3}]}
"""


class Recorder(ThreadingHTTPServer):
    """A server that keeps what it got, and refuses what names a bad action."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.bodies: list[bytes] = []
        self.tokens: set[str | None] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        recorder = cast("Recorder", self.server)
        recorder.bodies.append(body)
        recorder.tokens.add(self.headers["Authorization"])
        self.send_response(503 if b"bad" in body else 201)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        del format, args


@pytest.fixture
def server() -> Generator[Recorder]:
    with Recorder() as recorder:
        thread = Thread(target=recorder.serve_forever)
        thread.start()
        yield recorder
        recorder.shutdown()
        thread.join()


def test_outcome_is_read_from_the_marked_line() -> None:
    outcome = read_outcome(OUTPUT)
    assert outcome.requests == 1000
    assert outcome.seconds == 2.0
    assert (outcome.latency.p50, outcome.latency.p99, outcome.latency.max) == (1.5, 24.0, 31.0)
    assert outcome.failed == 4
    assert outcome.broken == 3
    assert outcome.statuses == {"201": 996, "503": 4}


def test_output_without_figures_is_refused_with_what_was_said() -> None:
    with pytest.raises(ConfigurationError, match="unable to connect"):
        read_outcome("unable to connect to 127.0.0.1:1 Connection refused\n")


def test_script_keeps_bodies_in_files_and_the_token_in_itself(tmp_path: Path) -> None:
    text = script(LOAD, tmp_path, "run")
    assert (tmp_path / "bank.ndjson").read_bytes() == b'{"action":"a"}\n{"action":"b"}\n'
    assert "Bearer secret-token" in text
    assert '"action"' not in text


def test_whole_bodies_are_kept_byte_for_byte(tmp_path: Path) -> None:
    script(replace(LOAD, bodies=[b"[1,\n2]"], unique=False), tmp_path, "run")
    assert (tmp_path / "body-0.json").read_bytes() == b"[1,\n2]"


@pytest.mark.parametrize("body", [b"[]", b'{"a":\n1}'])
def test_a_body_that_cannot_get_a_request_id_is_refused(body: bytes, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one line"):
        script(replace(LOAD, bodies=[body]), tmp_path, "run")


def test_text_that_lua_would_read_otherwise_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="ASCII"):
        script(replace(LOAD, token="tök\nen"), tmp_path, "run")


needs_wrk = pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")


@needs_wrk
def test_every_single_request_is_different_and_authenticated(server: Recorder) -> None:
    outcome = send(replace(LOAD, url=server.url), "run")
    events = [json.loads(body) for body in server.bodies]
    ids = [event["request_id"] for event in events]
    assert len(set(ids)) == len(ids) >= outcome.requests > 0
    assert {event["action"] for event in events} == {"a", "b"}
    assert all(one.startswith("run-") for one in ids)
    assert server.tokens == {"Bearer secret-token"}


@needs_wrk
def test_failures_make_figures_worthless(server: Recorder) -> None:
    with pytest.raises(ConfigurationError, match="worth nothing"):
        send(replace(LOAD, url=server.url, bodies=[b'{"action":"bad"}']), "run")


@needs_wrk
@pytest.mark.parametrize("unique", [True, False])
def test_expected_failures_are_counted_by_status(server: Recorder, unique: bool) -> None:
    bodies = [b'{"action":"bad"}', b'{"action":"good"}']
    outcome = send(replace(LOAD, url=server.url, bodies=bodies, unique=unique, count_statuses=True), "run")
    assert set(outcome.statuses) == {"201", "503"}
    assert sum(outcome.statuses.values()) == outcome.requests
    assert outcome.statuses["503"] == outcome.failed


def test_absence_of_wrk_is_said_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ConfigurationError, match="apt-get install wrk"):
        send(LOAD, "run")
