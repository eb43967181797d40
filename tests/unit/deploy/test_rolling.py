"""How a roll goes, what it says of itself over its door, and that nobody else gets in there."""

import os
import stat
import sys
import time
from pathlib import Path

import psutil
import pytest

from picture.control import listening, order_roll
from picture.release import Release
from picture.rolling import Roll, Rolled
from tallystick.errors import ConfigurationError
from tallystick.runtime.child import Child, ChildSpec, Process


async def at_once(_names: set[str], _seconds: float) -> None:
    """A balancer that finds all of them well."""


_LOOKS_OF_A_ROLL = 3
"""At the balancer, of one that replaces the first of two: before it, after it, and before the second."""


def release(folder: Path, migrated: str = "") -> Release:
    """A checkout of which a process does nothing, and whose migration runs this."""
    package = folder / "src" / "tallystick"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(migrated)
    return Release.of(folder)


def process(folder: Path, number: int, failing: Path | None = None) -> Rolled:
    """A process of each release, which never becomes ready where its tree is the failing one."""

    def spec(release: Release) -> ChildSpec:
        async def ready(_: Process, __: int) -> None:
            if release.tree == failing:
                raise ConfigurationError("it was not ready")

        return ChildSpec(
            name=f"process {number}",
            command=lambda: [sys.executable, "-c", "import time; time.sleep(600)", str(release.tree)],
            log_file=folder / f"{number}.log",
            environment=dict(os.environ),
            ready=ready,
        )

    return Rolled(Child(spec(Release.of(folder / "old")), lambda _: None), spec, f"api-{number}")


def trees(processes: list[Rolled]) -> list[str]:
    """Which release each process runs."""
    return [Path(words(each.child.pid)[-1]).name for each in processes]


def words(pid: int | None) -> list[str]:
    """The command line of a process, for which the system has no words while it begins."""
    process = psutil.Process(pid)
    while not (found := process.cmdline()):
        time.sleep(0.001)
    return found


async def test_all_are_replaced_after_the_schema(tmp_path: Path) -> None:
    old, new = release(tmp_path / "old"), release(tmp_path / "new")
    processes = [process(tmp_path, number) for number in (1, 2)]
    roll = Roll(processes, at_once, os.environ, old)
    said: list[str] = []
    try:
        for each in processes:
            await each.child.start()
        await roll.to(new, said.append)
        assert trees(processes) == ["new", "new"]
        assert roll.release == new
        assert said[0] == "the schema is migrated"
    finally:
        for each in processes:
            await each.child.stop()


async def test_where_one_does_not_become_ready_all_are_put_back(tmp_path: Path) -> None:
    old, new = release(tmp_path / "old"), release(tmp_path / "new")
    processes = [process(tmp_path, 1), process(tmp_path, 2, failing=new.tree)]
    roll = Roll(processes, at_once, os.environ, old)
    try:
        for each in processes:
            await each.child.start()
        with pytest.raises(ConfigurationError, match="not ready"):
            await roll.to(new, lambda _: None)
        assert trees(processes) == ["old", "old"]
        assert roll.release == old
    finally:
        for each in processes:
            await each.child.stop()


async def test_one_that_ails_once_it_is_new_keeps_none_from_being_put_back(tmp_path: Path) -> None:
    """Of two, the first is well when it was replaced, and no longer when the second has failed."""
    old, new = release(tmp_path / "old"), release(tmp_path / "new")
    first, second = process(tmp_path, 1), process(tmp_path, 2, failing=new.tree)
    looks: list[set[str]] = []

    async def until_up(names: set[str], _: float) -> None:
        looks.append(names)
        if "api-1" in names and trees([first]) == ["new"] and len(looks) > _LOOKS_OF_A_ROLL:
            raise ConfigurationError("HAProxy does not send to api-1")

    roll = Roll([first, second], until_up, os.environ, old)
    try:
        for each in (first, second):
            await each.child.start()
        with pytest.raises(ConfigurationError, match="not ready"):
            await roll.to(new, lambda _: None)
        assert trees([first, second]) == ["old", "old"]
    finally:
        for each in (first, second):
            await each.child.stop()


async def test_one_that_cannot_be_put_back_keeps_no_other_from_it(tmp_path: Path) -> None:
    old, new = release(tmp_path / "old"), release(tmp_path / "new")
    first, second, third = process(tmp_path, 1), process(tmp_path, 2), process(tmp_path, 3, failing=new.tree)
    back = False
    said: list[str] = []

    async def until_up(names: set[str], _: float) -> None:
        if back and names == {"api-2"}:
            raise ConfigurationError("HAProxy does not send to api-2")

    def report(line: str) -> None:
        nonlocal back
        back = back or "going back" in line
        said.append(line)

    roll = Roll([first, second, third], until_up, os.environ, old)
    try:
        for each in (first, second, third):
            await each.child.start()
        with pytest.raises(ConfigurationError, match="not ready"):
            await roll.to(new, report)
        assert trees([first, second, third]) == ["old", "old", "old"]
        assert said[-1] == "HAProxy does not send to api-2"
    finally:
        for each in (first, second, third):
            await each.child.stop()


async def test_where_the_schema_is_not_migrated_nothing_is_replaced(tmp_path: Path) -> None:
    old, new = release(tmp_path / "old"), release(tmp_path / "new", "raise SystemExit('the disk is full')")
    processes = [process(tmp_path, 1)]
    try:
        await processes[0].child.start()
        before = processes[0].child.pid
        with pytest.raises(ConfigurationError, match="the disk is full"):
            await Roll(processes, at_once, os.environ, old).to(new, lambda _: None)
        assert processes[0].child.pid == before
    finally:
        await processes[0].child.stop()


async def test_each_step_is_told_to_who_asked(tmp_path: Path) -> None:
    async def roll(tree: Path, report: object) -> None:
        assert callable(report)
        report(f"to {tree}")

    said: list[str] = []
    async with listening(tmp_path / "control", roll):
        assert stat.S_IMODE((tmp_path / "control").stat().st_mode) == 0o600
        await order_roll(tmp_path / "control", Path("/next"), said.append)
    assert said == ["to /next"]


async def test_what_went_wrong_is_told_to_who_asked(tmp_path: Path) -> None:
    async def roll(tree: Path, _: object) -> None:
        raise ConfigurationError(f"{tree} does not start")

    async with listening(tmp_path / "control", roll):
        with pytest.raises(ConfigurationError, match="/next does not start"):
            await order_roll(tmp_path / "control", Path("/next"), lambda _: None)


async def test_where_no_cluster_runs_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="make cluster"):
        await order_roll(tmp_path / "control", Path("/next"), lambda _: None)


def test_only_a_checkout_is_a_release(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no checkout"):
        Release.of(tmp_path)
