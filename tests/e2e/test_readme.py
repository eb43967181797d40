"""What README, tutorials, how-tos and a runbook tell a stranger to type works, as typed, on a fresh installation."""

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

import httpx
import jwt
import pytest
import zstandard

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


def _console(page: str) -> list[str]:
    """The commands of a page's `console` blocks, without the prompt."""
    blocks = re.findall(r"^```console\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
    return [command for block in blocks for command in re.findall(r"^\$ (.*)$", block, re.MULTILINE)]


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
    assert set(listed["items"][0]["written_by"]) == {"issuer", "subject"}
    assert listed["next"] is None
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
    variables, event, *_, check = _blocks("docs/tutorial/first-event.md")

    assert place.type([variables, event, 'APP="$TOKEN"', check])[-1].strip() == "True"


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


def test_every_tutorial_is_typed_here() -> None:
    pages = [str(page.relative_to(ROOT)) for page in (ROOT / "docs" / "tutorial").glob("*.md")]
    assert sorted(pages) == ["docs/tutorial/find-events.md", "docs/tutorial/first-event.md"]

    # What starts an instance and fills it: the fixture and the test above do so, by the commands behind these targets.
    rest = {command for page in ("README.md", *pages) for command in _console(page)}
    assert rest == {"git clone <URL of this repository> tallystick && cd tallystick", "make run", "make demo"}
    makefile = (ROOT / "Makefile").read_text()
    for target, command in (("run", "tallystick up"), ("demo", "tallystick demo")):
        assert re.search(rf"^{target}: .*\n\t@exec \$\(BIN\)/{command}", makefile, re.MULTILINE)


def test_the_tokens_of_the_how_to_can_be_made(place: Place) -> None:
    commands = [command for command in _console("docs/how-to/create-tokens.md") if " token create " in command]

    printed = place.type(commands)

    assert len(printed) == 3
    assert printed[0].count(".") == printed[1].count(".") == 2
    assert (place.folder / "linus.jwt").stat().st_mode & 0o777 == 0o600


def _with_acme(place: Place) -> list[str]:
    """Blocks that come before those of a page: the variables, and a tenant with some events."""
    post = 'curl -sS -H "Authorization: Bearer $TOKEN"'
    tenant = (
        f"""{post} "$URL/api/v1/tenants" -H 'Content-Type: application/json' -d '{{"id": "acme", "name": "Acme"}}'"""
    )
    event = '{"tenant_id": "acme", "action": "invoice.view", "resource_type": "invoice", "resource_id": "=A1"}\n'
    (place.folder / "events.ndjson").write_text(event * 5)
    events = f'{post} -f "$URL/api/v1/logs/bulk" -H "Content-Type: application/x-ndjson" --data-binary @events.ndjson'
    return [_blocks("README.md")[0], tenant, events]


def test_an_export_that_was_broken_off_is_gone_on_with(place: Place) -> None:
    export, go_on, table, *_as_job = _blocks("docs/how-to/export-events.md")
    break_off = "cp acme.ndjson whole.ndjson; head -n 3 whole.ndjson | head -c -20 > acme.ndjson"

    place.type([*_with_acme(place), export, break_off, go_on, table])

    whole = (place.folder / "whole.ndjson").read_bytes()
    assert (place.folder / "acme.ndjson").read_bytes() == whole
    header, *rows = (place.folder / "acme.csv").read_text().splitlines()
    assert header == "timestamp,user_id,action,resource_id,after.state,metadata.amount"
    assert len(rows) == whole.count(b"\n") >= 5
    assert rows[-1].split(",")[3] == "'=A1"


def test_history_is_imported(place: Place) -> None:
    page = "docs/how-to/import-history.md"
    [line] = re.findall(r"^```json\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
    (place.folder / "2019.ndjson.zst").write_bytes(zstandard.compress(line.encode()))
    (place.folder / "2020.ndjson.zst").write_bytes(zstandard.compress(line.replace("2019-", "2020-").encode()))
    oldest = 'curl -sS "$URL/api/v1/logs?tenant_id=acme&order=oldest&limit=2" -H "Authorization: Bearer $TOKEN"'

    *_, found = place.type([*_with_acme(place), *_console(page), oldest])

    items = _documents(found)[0]["items"]
    assert [item["timestamp"] for item in items] == ["2019-03-05T09:12:44+01:00", "2020-03-05T09:12:44+01:00"]
    assert json.loads((place.folder / "2019.ndjson.zst.import.json").read_text())


def test_tokens_are_revoked_and_a_tenant_is_shut_out(place: Place) -> None:
    create = ".venv/bin/tallystick token create --subject billing --tenant acme --role admin"
    place.type([*_with_acme(place), *(f"{create} --out {name}.jwt" for name in ("token", "named", "third"))])
    page = "docs/how-to/create-tokens.md"
    by_file, by_id, by_subject = [command for command in _console(page) if " token revoke " in command]
    suspend, resume = re.findall(r"`(tallystick tenants (?:suspend|resume) acme)`", (ROOT / page).read_text())
    named = (place.folder / "named.jwt").read_text().strip()
    by_id = by_id.replace("TOKEN_ID", jwt.decode(named, options={"verify_signature": False})["jti"])
    steps = [
        (f".venv/bin/{suspend}", ("third", 403)),
        (f".venv/bin/{resume}", ("third", 200)),
        (by_file, ("token", 401)),
        (by_id, ("named", 401)),
        (by_subject, ("third", 401)),
    ]

    for command, (token, status) in steps:
        place.type([command])
        assert _comes_to(place, token, status), command


def _comes_to(place: Place, token: str, status: int) -> bool:
    """Whether a token is answered so within the 5 seconds that the page promises, and some for a busy machine."""
    headers = {"authorization": f"Bearer {(place.folder / f'{token}.jwt').read_text().strip()}"}
    deadline = monotonic() + 20
    while monotonic() < deadline:
        if httpx.get(f"{place.url}/api/v1/logs?limit=1", headers=headers).status_code == status:
            return True
    return False


def test_a_signing_key_is_rotated_and_the_old_one_removed(place: Place, tmp_path: Path) -> None:
    keys = tmp_path / ".tallystick" / "keys"
    shutil.copytree(place.folder / ".tallystick" / "keys", keys)
    shutil.copy(place.folder / ".tallystick" / "run.json", keys.parent)  # it is recorded who rotates a key
    (keys.parent / "lock").symlink_to(place.folder / ".tallystick" / "lock")
    (tmp_path / ".venv").symlink_to(sys.prefix)
    before = json.loads((keys / "token_signing.json").read_text())

    Place(tmp_path, place.url).type(["\n".join(_console("docs/how-to/rotate-keys.md"))])

    after = json.loads((keys / "token_signing.json").read_text())
    assert after["active"] != before["active"]
    assert list(after["keys"]) == [after["active"]]
    assert (keys / "token_signing.json").stat().st_mode & 0o777 == 0o600


def test_the_runbook_of_followers_can_be_followed(place: Place) -> None:
    status, of_acme, verify, jobs, quarantine, rebuild, all_tenants = _console("docs/runbooks/followers.md")

    path = 'PATH="$PWD/.venv/bin:$PATH"'
    *_, behind, sizes, same, running, put_aside, anew, asked = place.type(
        [*_with_acme(place), path, status, of_acme, verify, jobs, quarantine, rebuild, all_tenants]
    )

    assert "search" in behind
    assert "acme" in sizes
    assert re.search(r"^acme events: (\d+) events agree, \1 looked up$", same, re.MULTILINE)
    assert "rebuild_index" not in running
    assert put_aside.strip() == "nothing is quarantined"
    assert re.match(r"acme events: succeeded", anew.strip())
    assert re.search(r"^acme events: ", asked, re.MULTILINE)
