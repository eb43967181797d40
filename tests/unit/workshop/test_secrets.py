"""The scan for secrets finds what it should, says nothing of it, sends it nowhere, and passes what was allowed."""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
# Put together here, so that this file is none of those that hold one.
PLANTED = {
    "AWS Access Key": "AKIA" + base64.b32encode(b"0123456789")[:16].decode(),
    "Private Key": "-----BEGIN " + "RSA PRIVATE KEY-----",
    "GitHub Token": "ghp_" + "a1B2c3D4e5F6g7H8i9J0" * 2,
    "Basic Auth Credentials": "https://ada:" + "l0velace42@db.example.net/x",
}


def scan(*files: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "scripts" / "find_secrets.py", *map(str, files)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "https_proxy": "http://127.0.0.1:9"},
    )


@pytest.mark.parametrize("kind", PLANTED)
def test_a_secret_is_found_and_not_repeated(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "settings.py"
    file.write_text(f'"""Settings."""\n\nvalue = "{PLANTED[kind]}"\n')
    done = scan(file)
    assert done.returncode == 1
    assert f"settings.py:3: {kind}" in done.stderr
    assert PLANTED[kind] not in done.stderr + done.stdout


def test_a_line_can_say_that_it_holds_none(tmp_path: Path) -> None:
    file = tmp_path / "settings.py"
    file.write_text("".join(f'value = "{each}"  # pragma: allowlist secret\n' for each in PLANTED.values()))
    done = scan(file)
    assert (done.returncode, done.stderr) == (0, "")


def test_nothing_that_is_found_is_shown_to_a_vendor() -> None:
    used = json.loads((ROOT / ".secrets.baseline").read_text())["filters_used"]
    assert not [each for each in used if "verification" in each["path"]]


def test_what_is_allowed_was_looked_at_and_is_still_there() -> None:
    for name, listed in json.loads((ROOT / ".secrets.baseline").read_text())["results"].items():
        assert (ROOT / name).is_file(), f"{name} is gone: run `python scripts/find_secrets.py --allow`"
        assert all(each["is_secret"] is False for each in listed)
