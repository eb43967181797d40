import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tallystick.runtime.account import Account, child_identity, open_path, runnable_programs

NOBODY = Account("nobody", 65534, 65534)

linux_owner = pytest.mark.skipif(not hasattr(os, "setxattr"), reason="access-control entries are Linux's")


@linux_owner
def test_a_closed_folder_is_opened_for_one_account_to_pass_through_and_for_nobody_else(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    (closed / "data").mkdir(parents=True)
    closed.chmod(0o700)
    said: list[str] = []

    open_path(closed / "data", NOBODY, said.append)

    assert any(str(closed) in line and "nobody" in line for line in said)
    assert closed.stat().st_mode & 0o007 == 0
    said.clear()
    open_path(closed / "data", NOBODY, said.append)
    assert said == []


@linux_owner
def test_a_folder_keeps_the_entries_that_it_had(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    (closed / "data").mkdir(parents=True)
    closed.chmod(0o700)
    other = Account("other", 12345, 12345)
    open_path(closed / "data", other, lambda _: None)
    open_path(closed / "data", NOBODY, lambda _: None)
    said: list[str] = []

    open_path(closed / "data", other, said.append)

    assert said == []


@linux_owner
def test_a_folder_that_was_closed_again_is_opened_again(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    (closed / "data").mkdir(parents=True)
    closed.chmod(0o700)
    other = Account("other", 12345, 12345)
    open_path(closed / "data", NOBODY, lambda _: None)
    open_path(closed / "data", other, lambda _: None)
    closed.chmod(0o700)
    said: list[str] = []

    open_path(closed / "data", NOBODY, said.append)

    assert any(str(closed) in line for line in said)
    said.clear()
    open_path(closed / "data", other, said.append)
    assert any(str(closed) in line for line in said), "what was taken from others must not come back by the way"


def test_an_open_folder_is_left_alone(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    before = tmp_path.stat().st_mode
    open_path(tmp_path / "data", Account("us", os.geteuid(), os.getegid()), lambda _: None)
    assert tmp_path.stat().st_mode == before


def _has_mounts_of_its_own() -> bool:
    program = shutil.which("unshare")
    return program is not None and subprocess.run([program, "--mount", "true"], check=False).returncode == 0


# In a copy of /etc that these processes alone see, without the account. Each says what it found, and made.
_AT_ONCE = """
cp -a /etc "$1"
sed -i '/^tallystick:/d' "$1"/etc/{passwd,shadow,group,gshadow} || true  # not each system has all of them
mount --bind "$1/etc" /etc
for _ in 1 2 3 4 5 6 7 8; do "$2" -c '
import sys
from pathlib import Path
from tallystick.runtime.account import unprivileged_account
said = []
number = unprivileged_account(Path("/nowhere"), said.append).uid
sys.stdout.write(f"{number} {len(said)}\\n")
' & done
wait
"""


@pytest.mark.skipif(os.geteuid() != 0 or not _has_mounts_of_its_own(), reason="only root mounts a copy of /etc")
def test_of_several_first_starts_at_once_one_makes_the_account(tmp_path: Path) -> None:
    script = ["bash", "-euc", _AT_ONCE, "at-once", str(tmp_path), sys.executable]

    command = ["unshare", "--mount", "--propagation", "private", *script]
    told = subprocess.run(command, check=True, capture_output=True, text=True)

    found = [line.split() for line in told.stdout.splitlines()]
    assert len(found) == 8, told.stderr
    assert len({number for number, _ in found}) == 1, "the account changed its number under those who had looked"
    assert sum(int(made) for _, made in found) == 1


def test_ourselves_need_no_other_identity() -> None:
    assert child_identity(None) == {}
    assert child_identity(NOBODY) == {"user": 65534, "group": 65534, "extra_groups": []}


def _fake_programs(folder: Path) -> Path:
    for part in ("bin", "lib", "share"):
        (folder / part).mkdir(parents=True)
    program = folder / "bin" / "postgres"
    program.write_text("#!/bin/sh\nexit 0\n")
    program.chmod(0o700)
    (folder / "share" / "postgres.bki").write_text("")
    return folder


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts programs as another account")
def test_programs_that_the_account_cannot_run_are_copied(tmp_path: Path) -> None:
    installed = _fake_programs(tmp_path / "closed" / "pginstall")
    (tmp_path / "closed").chmod(0o700)
    open_path(tmp_path / "copy", NOBODY, lambda _: None)

    assert runnable_programs(installed, tmp_path / "copy", NOBODY) == tmp_path / "copy"
    assert (tmp_path / "closed").stat().st_mode & 0o777 == 0o700
    assert runnable_programs(installed, tmp_path / "copy", None) == installed
