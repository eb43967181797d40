"""What the README and the tutorials tell a stranger to type works, as typed, on a fresh state directory."""

import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
START_SECONDS = 120.0
BLOCK_SECONDS = 60.0

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("curl") is None, reason="the examples use curl"),
    pytest.mark.skipif(shutil.which("bash") is None, reason="the examples are typed in bash"),
]


@dataclass(frozen=True)
class Place:
    """A folder like a checkout in which `make run` runs."""

    folder: Path
    url: str

    def type(self, blocks: list[str]) -> list[str]:
        """Type blocks into one shell; returns what each printed."""
        mark = "----- next block -----"
        # The port is any free one here; everything else is typed as it is printed.
        script = f"\necho; echo '{mark}'\n".join(blocks).replace("URL=http://127.0.0.1:8080\n", f"URL={self.url}\n")
        run = subprocess.run(
            ["bash", "-eu", "-o", "pipefail", "-c", script],
            cwd=self.folder,
            env=_environment(),
            capture_output=True,
            text=True,
            timeout=BLOCK_SECONDS,
            check=False,
        )
        assert run.returncode == 0, run.stdout + run.stderr
        return run.stdout.split(mark)


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("TALLYSTICK_")}


def _first_line(process: subprocess.Popen[bytes]) -> bytes:
    """The first line of the process, which must come before the deadline."""
    assert process.stdout is not None
    line = b""
    deadline = monotonic() + START_SECONDS
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([process.stdout], [], [], max(0, deadline - monotonic()))
        assert ready, "tallystick up said nothing in time"
        part = os.read(process.stdout.fileno(), 65536)
        assert part, "tallystick up ended"
        line += part
    return line


@pytest.fixture(scope="module")
def place() -> Generator[Place]:
    folder = Path(tempfile.mkdtemp(prefix="tallystick-readme-"))
    (folder / ".venv").symlink_to(sys.prefix)
    process = subprocess.Popen(
        [sys.executable, "-m", "tallystick", "up", "--json"],
        cwd=folder,
        env=_environment() | {"TALLYSTICK_PORT": "0"},
        stdout=subprocess.PIPE,
    )
    try:
        yield Place(folder, json.loads(_first_line(process))["url"])
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=START_SECONDS)
        shutil.rmtree(folder, ignore_errors=True)


def _blocks(page: str) -> list[str]:
    """The `sh` blocks of a page: what a reader types once the instance runs."""
    return re.findall(r"^```sh\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)


def _documents(printed: str) -> list[dict[str, Any]]:
    """The JSON objects that were printed one after the other."""
    decoder = json.JSONDecoder()
    found: list[dict[str, Any]] = []
    rest = printed.strip()
    while rest:
        document, end = decoder.raw_decode(rest)
        found.append(document)
        rest = rest[end:].strip()
    return found


def test_the_readme_writes_an_event_and_reads_it_back(place: Place) -> None:
    _, written, read, found = place.type(_blocks("README.md"))

    stored = _documents(written)[0]
    assert stored["leaf_hash"]
    items = _documents(read)[0]["items"]
    assert (items[0]["id"], items[0]["resource_id"], items[0]["user_id"]) == (stored["id"], "INV-4711", "ada")
    assert stored["id"] in [item["id"] for item in _documents(found)[0]["items"]]


def test_the_tutorial_does_what_it_says(place: Place) -> None:
    blocks = _blocks("docs/tutorial/first-event.md")
    answers = [_documents(printed) for printed in place.type(blocks[:-1])]
    [ready], [one], [listed], [bulk], [bobs], finds, [followed], [refused], [tenant], app, [forbidden] = answers

    assert ready["status"] == "ready"
    assert listed["items"][0]["id"] == one["id"]
    assert bulk["stored"] == 3
    assert {item["user_id"] for item in bobs["items"]} == {"bob"}
    assert [len(find["items"]) > 0 for find in finds] == [True, True, True]
    assert [item["seq"] for item in followed["items"]] == [0, 1]
    assert refused["status"] == 422
    assert {flaw["pointer"] for flaw in refused["errors"]} == {"/timestamp", "/colour"}
    assert tenant["id"] == "acme"
    created, own = app
    assert [item["id"] for item in own["items"]] == [created["id"]]
    assert forbidden["status"] == 403


def test_the_tutorial_checks_a_hash(place: Place) -> None:
    blocks = _blocks("docs/tutorial/first-event.md")

    assert place.type([blocks[0], 'APP="$TOKEN"', blocks[-1]])[-1].strip() == "True"


def test_a_repeated_event_is_answered_again_and_an_altered_one_refused(place: Place) -> None:
    variables, event, *_ = _blocks("docs/tutorial/first-event.md")
    altered = event.replace('"ada"', '"bob"')
    _, first, again, other = place.type([variables, event, event, altered])

    assert _documents(again) == _documents(first)
    assert _documents(other)[0]["status"] == 409


def test_the_second_tutorial_finds_what_it_says(place: Place) -> None:
    place.type([".venv/bin/tallystick demo --json"])
    _, *printed = place.type(_blocks("docs/tutorial/find-events.md"))
    serious, incident, told, network, rights, roles, exports, paying, key, tries, doors, learnt, fresh, wrong = printed

    assert _actions(serious) == ["alert.raised", "role.changed"]
    assert _actions(incident) == ["incident.closed", "incident.opened", "alert.raised"]
    assert _documents(told)[0]["items"][0]["metadata"]["network"] == "203.0.113.0/24"
    steps = ["user.login", "mfa.device_added", "document.viewed", "api_key.created", "role.changed"]
    assert _actions(network)[::-1] == [*steps, *["export.requested", "export.completed"] * 3]
    assert _actions(rights) == ["role.changed"]
    assert _actions(roles) == ["role.changed", "role.changed"]
    assert (len(_actions(exports)), len(_actions(paying))) == (3, 2)
    assert _actions(key) == ["api_key.created"]
    assert tries.split() == ["100", "60"]
    assert _actions(doors) == ["session.revoked", "api_key.revoked", "user.suspended"]
    [[reused]] = _documents(learnt)[0]["highlights"]
    assert reused == {"pointer": "/message", "ranges": [[0, 6], [7, 15]]}
    written, found = _documents(fresh)
    assert [item["id"] for item in found["items"]] == [written["id"]]
    assert _documents(wrong)[0]["errors"][0]["detail"].startswith("at character 37:")


def _actions(printed: str) -> list[str]:
    """The actions of the events that were printed one a line."""
    return [line.split()[3] for line in printed.splitlines() if line.strip()]


def test_the_tokens_of_the_how_to_can_be_made(place: Place) -> None:
    page = (ROOT / "docs/how-to/create-tokens.md").read_text()
    commands = re.findall(r"^\$ (\.venv/bin/tallystick token create .*)$", page, re.MULTILINE)

    printed = place.type(commands)

    assert len(printed) == 3
    assert printed[0].count(".") == printed[1].count(".") == 2
    assert (place.folder / "linus.jwt").stat().st_mode & 0o777 == 0o600
