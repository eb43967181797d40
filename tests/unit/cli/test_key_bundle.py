import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tallystick.database.pools import LOGINS

FIRST = {"token_signing", "cursor_signing", "retry_digest", "master"}


def keys(*arguments: str, code: int = 0, **environment: str) -> str:
    """What `tallystick keys` prints, or says is wrong."""
    done = subprocess.run(
        [sys.executable, "-m", "tallystick", "keys", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert code or not done.stderr
    return done.stderr if code else done.stdout


def bundle(*arguments: str, **environment: str) -> dict[str, Any]:
    return json.loads(keys("bundle", *arguments, code=0, **environment))


def test_a_bundle_is_made_and_rotated_and_leaves_nothing(tmp_path: Path) -> None:
    home = {"TALLYSTICK_HOME": str(tmp_path)}
    new = bundle("--new", **home)
    assert new.keys() == FIRST
    held = {**home, "TALLYSTICK_KEY_FILES": json.dumps(new)}
    assert bundle(**held) == new
    rotated = bundle("--rotate", "token_signing", "--rotate", "hs256", **held)
    assert rotated["token_signing"]["keys"].keys() > new["token_signing"]["keys"].keys()
    assert rotated["token_signing"]["active"] not in new["token_signing"]["keys"]
    assert rotated["master"] == new["master"]
    assert rotated.keys() == {*FIRST, "hs256"}
    dropped = bundle("--rotate", "token_signing", "--drop-old", **held)
    assert list(dropped["token_signing"]["keys"]) == [dropped["token_signing"]["active"]]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--new"),
        (("--new", "--rotate", "master"), "not both"),
        (("--drop-old",), "needs --rotate"),
    ],
)
def test_what_makes_no_sense_is_said(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    assert said in keys("bundle", *arguments, code=2, TALLYSTICK_HOME=str(tmp_path))


def test_master_keys_are_not_dropped(tmp_path: Path) -> None:
    held = json.dumps(bundle("--new", TALLYSTICK_HOME=str(tmp_path)))
    said = keys("bundle", "--rotate", "master", "--drop-old", code=2, TALLYSTICK_KEY_FILES=held)
    assert "never dropped" in said


def test_passwords_are_those_of_the_login_roles() -> None:
    one, other = (json.loads(keys("passwords")) for _ in range(2))
    assert one.keys() == set(LOGINS)
    assert len({*one.values(), *other.values()}) == 2 * len(LOGINS)
    assert all(len(password) >= 32 for password in one.values())


@pytest.mark.parametrize("arguments", [("bundle", "--new"), ("passwords",)])
def test_a_terminal_is_shown_no_secret(arguments: tuple[str, ...]) -> None:
    ours, theirs = pty.openpty()
    try:
        command = [sys.executable, "-m", "tallystick", "keys", *arguments]
        done = subprocess.run(command, stdout=theirs, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
        os.set_blocking(ours, False)
        with pytest.raises(BlockingIOError):
            os.read(ours, 1)
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == 2
    assert "not to a terminal" in done.stderr
