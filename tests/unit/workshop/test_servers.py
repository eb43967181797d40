"""Where servers cannot be installed, that is said, and is no failure."""

import shutil
import subprocess
from pathlib import Path

SCRIPT = Path(__file__).parents[3] / "scripts" / "install_servers.sh"


def run(path: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [shutil.which("bash") or "bash", SCRIPT], env={"PATH": str(path)}, capture_output=True, text=True, check=False
    )


def test_without_a_package_manager_it_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "id").symlink_to(shutil.which("id") or "id")

    done = run(tmp_path)

    assert (done.returncode, done.stderr) == (0, "")
    said = done.stdout.removeprefix("not installed, so the tests that start them skip: ").split()
    assert "redis-server" in said
    assert "prometheus" in said


def test_one_of_the_two_is_enough(tmp_path: Path) -> None:
    for program in ("haproxy", "valkey-server", "promtool"):
        (tmp_path / program).touch(mode=0o755)

    done = run(tmp_path)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
