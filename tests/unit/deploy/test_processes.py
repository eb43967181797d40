"""Two of our processes on one machine stand in no way of each other, whatever the environment says of one."""

import asyncio
from contextlib import ExitStack
from pathlib import Path

import pytest

from picture.processes import Ours, Place
from picture.release import Release
from tallystick.errors import ConfigurationError
from tallystick.runtime.child import Child
from tallystick.runtime.servers.local import free_port
from tallystick.runtime.site import Floors, Site
from tallystick.runtime.state import StateDirectory
from tallystick.settings import Settings

GIVEN = {"TALLYSTICK_WORKER__METRICS_PORT": "9464", "TALLYSTICK_PORT": "8080"}


def ours(home: Path) -> Ours:
    settings = Settings(home=home)
    site = Site(StateDirectory.from_settings(settings), Floors(), 0, asyncio.Event(), ExitStack())
    site.state.prepare()
    return Ours(settings, GIVEN, site)


def release(folder: Path, code: str) -> Release:
    package = folder / "src" / "tallystick"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(code)
    return Release.of(folder)


def test_each_has_a_port_of_its_own(tmp_path: Path) -> None:
    made, new = ours(tmp_path), release(tmp_path / "new", "")
    workers = [made.worker(Place.of_worker(number, 20_000 + number), new) for number in (1, 2)]
    apis = [made.api(Place.of_api(number, 30_000 + number), new) for number in (1, 2)]
    assert [spec.environment["TALLYSTICK_WORKER__METRICS_PORT"] for spec in workers] == ["20001", "20002"]
    assert [spec.environment["TALLYSTICK_PORT"] for spec in apis] == ["30001", "30002"]


async def test_a_worker_that_ends_at_once_is_none_that_is_up(tmp_path: Path) -> None:
    broken = release(tmp_path / "new", "raise SystemExit('this release has no worker')")
    spec = ours(tmp_path).worker(Place.of_worker(1, free_port()), broken)
    child = Child(spec, lambda _: None)
    with pytest.raises(ConfigurationError, match=r"worker 1 did not start .*this release has no worker"):
        await child.start()
