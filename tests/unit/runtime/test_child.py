import asyncio
import errno
import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from tallystick.errors import ConfigurationError
from tallystick.runtime.child import Child, ChildSpec, Process, manner_of_death

DEADLINE = 20.0


def _spec(tmp_path: Path, code: str, **changes: object) -> ChildSpec:
    fields: dict[str, object] = {
        "name": "the child",
        "command": lambda: [sys.executable, "-c", code],
        "log_file": tmp_path / "child.log",
        "environment": dict(os.environ),
        **changes,
    }
    return ChildSpec(**fields)  # pyright: ignore[reportArgumentType] - made from parts


async def test_one_that_dies_is_started_again_and_the_death_is_told(tmp_path: Path) -> None:
    said: asyncio.Queue[str] = asyncio.Queue()
    child = Child(_spec(tmp_path, "import time; time.sleep(60)"), said.put_nowait)
    await child.start()
    first = child.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    async with asyncio.timeout(DEADLINE):
        assert "was ended by SIGKILL" in await said.get()
        assert "runs again" in await said.get()
    assert child.pid not in (None, first)
    await child.stop()
    assert child.pid is None


async def test_it_has_a_session_of_its_own(tmp_path: Path) -> None:
    child = Child(_spec(tmp_path, "import time; time.sleep(60)"), lambda _: None)
    await child.start()
    assert child.pid is not None
    assert os.getsid(child.pid) == child.pid
    await child.stop()


async def test_the_pauses_grow_while_it_does_not_stay(tmp_path: Path) -> None:
    said: asyncio.Queue[str] = asyncio.Queue()
    child = Child(_spec(tmp_path, "raise SystemExit(3)"), said.put_nowait)
    await child.start()
    lines: list[str] = []
    async with asyncio.timeout(DEADLINE):
        while sum("ended with code 3" in line for line in lines) < 3:
            lines.append(await said.get())
    await child.stop()
    deaths = [line for line in lines if "ended with code 3" in line]
    assert [line.split("again in ")[1] for line in deaths] == ["0.2 s", "0.4 s", "0.8 s"]


async def test_one_that_ignores_the_first_signal_gets_the_next(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    os.mkfifo(ready)
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    code = f"{deaf}; open({str(ready)!r}, 'w').close(); time.sleep(60)"

    async def until_ready(_: Process, __: int) -> None:
        await asyncio.to_thread(ready.read_bytes)

    stop_signals = ((signal.SIGTERM, 0.2), (signal.SIGKILL, DEADLINE))
    child = Child(_spec(tmp_path, code, ready=until_ready, stop_signals=stop_signals), lambda _: None)
    await child.start()
    async with asyncio.timeout(DEADLINE):
        await child.stop()
    assert child.pid is None


async def test_another_takes_its_place_and_is_kept_running(tmp_path: Path) -> None:
    said: asyncio.Queue[str] = asyncio.Queue()
    child = Child(_spec(tmp_path, "import time; time.sleep(60)"), said.put_nowait)
    await child.start()
    first = child.pid
    assert first is not None
    await child.replace(_spec(tmp_path, "import time; time.sleep(61)", name="the other"))
    assert not psutil.pid_exists(first)
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    async with asyncio.timeout(DEADLINE):
        assert "the other was ended by SIGKILL" in await said.get()
        assert "the other runs again" in await said.get()
    await child.stop()


async def test_what_does_not_become_ready_can_be_put_back(tmp_path: Path) -> None:
    async def never(_: Process, __: int) -> None:
        raise ConfigurationError("the other was not ready")

    before = _spec(tmp_path, "import time; time.sleep(60)")
    child = Child(before, lambda _: None)
    await child.start()
    with pytest.raises(ConfigurationError, match="not ready"):
        await child.replace(_spec(tmp_path, "import time; time.sleep(61)", ready=never))
    assert child.pid is None
    await child.replace(before)
    assert child.pid is not None
    await child.stop()


async def test_what_was_not_ready_in_the_place_of_another_is_tried_again(tmp_path: Path) -> None:
    said: asyncio.Queue[str] = asyncio.Queue()
    looks = 0

    async def at_the_second_look(_: Process, __: int) -> None:
        nonlocal looks
        looks += 1
        if looks == 1:
            raise ConfigurationError("the database does not answer")

    child = Child(_spec(tmp_path, "import time; time.sleep(60)"), said.put_nowait)
    await child.start()
    with pytest.raises(ConfigurationError, match="the database does not answer"):
        await child.replace(_spec(tmp_path, "import time; time.sleep(61)", ready=at_the_second_look))
    async with asyncio.timeout(DEADLINE):
        while await said.get() != "the child runs again":
            pass
    assert child.pid is not None
    await child.stop()
    assert child.pid is None


async def test_what_it_says_before_it_dies_is_told(tmp_path: Path) -> None:
    (tmp_path / "child.log").write_text("of an earlier run\n")
    child = Child(_spec(tmp_path, "raise SystemExit('a setting is wrong')"), lambda _: None)
    await child.start()
    async with asyncio.timeout(DEADLINE):
        assert await child.died() == "ended with code 1: a setting is wrong"
    await child.stop()


async def test_one_that_cannot_be_started_is_a_matter_of_configuration(tmp_path: Path) -> None:
    child = Child(_spec(tmp_path, "", command=lambda: [str(tmp_path / "missing")]), lambda _: None)
    with pytest.raises(ConfigurationError, match="the child cannot be started"):
        await child.start()


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (psutil.AccessDenied(1), "the child cannot be started"),
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE)), "the child cannot be started: Too many open files"),
        (ValueError("a bug"), "the child was not started"),
    ],
)
async def test_what_goes_wrong_before_a_restart_is_told_and_tried_again(
    tmp_path: Path, failure: Exception, told: str
) -> None:
    failures: list[Exception] = []

    async def fail() -> None:
        if failures:
            raise failures.pop()

    said: asyncio.Queue[str] = asyncio.Queue()
    child = Child(_spec(tmp_path, "import time; time.sleep(60)", before=fail), said.put_nowait)
    await child.start()
    failures.append(failure)
    child.send(signal.SIGKILL)
    async with asyncio.timeout(DEADLINE):
        assert "was ended by SIGKILL" in await said.get()
        line = await said.get()
        assert told in line
        assert "trying again in 0.4 s" in line
        assert "runs again" in await said.get()
    await child.stop()


async def test_what_cannot_be_cleaned_up_after_a_death_does_not_keep_it_down(tmp_path: Path) -> None:
    def fail(_: int) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "counters")

    said: asyncio.Queue[str] = asyncio.Queue()
    child = Child(_spec(tmp_path, "import time; time.sleep(60)", after=fail), said.put_nowait)
    await child.start()
    child.send(signal.SIGKILL)
    async with asyncio.timeout(DEADLINE):
        assert "left something behind" in await said.get()
        assert "was ended by SIGKILL" in await said.get()
        assert "runs again" in await said.get()
    await child.stop()


async def test_one_whose_readiness_cannot_be_told_is_ended(tmp_path: Path) -> None:
    started: list[Process] = []

    async def fail(process: Process, _: int) -> None:
        started.append(process)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    child = Child(_spec(tmp_path, "import time; time.sleep(60)", ready=fail), lambda _: None)
    with pytest.raises(OSError, match="Too many open files"):
        await child.start()
    assert started[0].returncode == -signal.SIGTERM


def test_ends_have_names() -> None:
    assert manner_of_death(-9) == "was ended by SIGKILL"
    assert manner_of_death(2) == "ended with code 2"
    assert manner_of_death(-250) == "was ended by signal 250"
