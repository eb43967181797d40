"""The systemd units are what systemd takes, and set what there is to be set."""

import math
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import BaseModel

from tallystick.settings import Settings

UNITS = Path(__file__).parents[3] / "deploy" / "systemd"
NAMES = sorted(file.name for file in UNITS.glob("*.service"))
INSTALLED = "/opt/tallystick/current/bin/tallystick"


@pytest.mark.parametrize("name", NAMES)
def test_systemd_takes_it(tmp_path: Path, name: str) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not on the PATH")
    text = (UNITS / name).read_text()
    assert INSTALLED in text
    unit = tmp_path / name.replace("@", "@1")
    unit.write_text(text.replace(INSTALLED, sys.executable))  # it looks whether the program is there
    done = subprocess.run([program, "verify", "--man=no", unit], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", NAMES)
def test_its_settings_exist(name: str) -> None:
    for variable in re.findall(r"TALLYSTICK_(\w+)=", (UNITS / name).read_text()):
        model: type[BaseModel] = Settings
        *groups, field = variable.lower().split("__")
        for group in groups:
            inner = model.model_fields[group].annotation
            assert isinstance(inner, type)
            assert issubclass(inner, BaseModel)
            model = inner
        assert field in model.model_fields, variable


@pytest.mark.parametrize("name", NAMES)
def test_its_settings_can_be_read(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Systemd splits what it is given as a shell does: it takes quotes away wherever they stand."""
    for line in re.findall(r"^Environment=(.+)$", (UNITS / name).read_text(), re.MULTILINE):
        for word in shlex.split(line.replace("%i", "1")):
            monkeypatch.setenv(*word.split("=", 1))
    read = Settings()
    assert read.home == Path("/var/lib/tallystick")
    if "api" in name:
        assert [str(each) for each in read.api.trusted_proxies] == ["127.0.0.1/32"]


def test_an_api_process_is_given_the_time_that_it_may_take_to_end() -> None:
    text = (UNITS / "tallystick-api@.service").read_text()
    notice = re.search(r"DRAIN_NOTICE=(\d+)", text)
    given = re.search(r"TimeoutStopSec=(\d+)", text)
    assert notice
    assert given
    settings = Settings()
    needed = int(notice[1]) + settings.api.drain_timeout + settings.database.append_timeout
    assert int(given[1]) >= math.ceil(needed)


def test_a_worker_stands_back_and_an_api_process_does_not() -> None:
    asked = re.compile(r"^(?:CPUWeight|Nice)=(\d+)$", re.MULTILINE)
    assert asked.findall((UNITS / "tallystick-worker@.service").read_text()) == ["10", "10"]
    assert asked.findall((UNITS / "tallystick-api@.service").read_text()) == []
