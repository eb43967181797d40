import os
import subprocess
import sys
from pathlib import Path

from tallystick import __version__


def _tallystick(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TALLYSTICK_")}
    return subprocess.run(
        [sys.executable, "-m", "tallystick", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**clean, "TALLYSTICK_HOME": str(home), **environment},
    )


def test_the_version(tmp_path: Path) -> None:
    assert _tallystick(tmp_path, "--version").stdout == f"tallystick {__version__}\n"


def test_what_a_person_must_mend_is_one_message_and_no_traceback(tmp_path: Path) -> None:
    done = _tallystick(tmp_path, "demo")
    assert done.returncode == 2
    assert done.stderr == f"tallystick: nothing runs on {tmp_path}: start it with `tallystick up`, then try again\n"


def test_a_wrong_setting_is_named_but_its_value_is_not_shown(tmp_path: Path) -> None:
    done = _tallystick(tmp_path, "migrate", TALLYSTICK_DATABASE__READER_CONNECTIONS="hunter2")
    assert done.returncode == 2
    assert "TALLYSTICK_DATABASE__READER_CONNECTIONS" in done.stderr
    assert "hunter2" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_list_that_is_no_json_is_named_by_its_group(tmp_path: Path) -> None:
    done = _tallystick(tmp_path, "migrate", TALLYSTICK_API__TRUSTED_PROXIES="10.0.0.0/8, hunter2")
    assert done.returncode == 2
    assert (
        done.stderr
        == "tallystick: a variable TALLYSTICK_API… is no JSON, which lists and objects are: '[\"10.0.0.0/8\"]'\n"
    )
    done = _tallystick(tmp_path, "migrate", TALLYSTICK_API__TRUSTED_PROXIES='["hunter2"]')
    assert "TALLYSTICK_API__TRUSTED_PROXIES__0: value is not a valid IPv4 or IPv6 network" in done.stderr
    assert "hunter2" not in done.stderr


def test_a_database_that_is_not_there_is_one_message(tmp_path: Path) -> None:
    url = "postgresql://tallystick_owner@127.0.0.1:1/tallystick"
    for command in (("migrate",), ("tenants", "list")):
        done = _tallystick(tmp_path, *command, TALLYSTICK_DATABASE__URL=url)
        assert done.returncode in (1, 2)
        assert "Traceback" not in done.stderr
        assert "does not answer" in done.stderr
