"""Objects, in a folder and in S3 alike: whole or not there, read by ranges, listed below a prefix, removed."""

import asyncio
import stat
import threading
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import obstore
import pytest
from prometheus_client import CollectorRegistry

from s3_servers import s3_settings
from tallystick.errors import ConfigurationError, ObjectsDownError
from tallystick.objects.metrics import ObjectMetrics
from tallystick.objects.store import PART_BYTES, READ_BYTES, ObjectMissingError, Objects
from tallystick.runtime.servers.local import free_port
from tallystick.settings import ObjectSettings

FOLDER = "tenants/acme/exports/1"


@pytest.fixture
def objects(object_settings: ObjectSettings, tmp_path: Path) -> Objects:
    return Objects.from_settings(object_settings, tmp_path)


async def pieces(*given: bytes) -> AsyncGenerator[bytes]:
    for piece in given:
        yield piece


async def keys(objects: Objects, prefix: str) -> list[str]:
    return sorted([key async for key in objects.keys(prefix)])


async def read(objects: Objects, key: str, start: int, end: int) -> bytes:
    return b"".join([piece async for piece in objects.read(key, start, end)])


@pytest.mark.parametrize("size", [0, 1, PART_BYTES, 2 * PART_BYTES + 7])
async def test_what_was_written_is_read(objects: Objects, size: int) -> None:
    content = bytes(range(251)) * (size // 251 + 1)
    parts = [content[start : min(start + 3_000_000, size)] for start in range(0, size, 3_000_000)]
    assert await objects.put(f"{FOLDER}/a.json", pieces(*parts)) == size
    assert await read(objects, f"{FOLDER}/a.json", 0, size) == content[:size]
    assert await objects.unfinished("tenants") == []
    if size > READ_BYTES + 5:
        assert await read(objects, f"{FOLDER}/a.json", 3, READ_BYTES + 5) == content[3 : READ_BYTES + 5]


async def test_an_object_is_there_when_it_is_whole_and_not_before(objects: Objects) -> None:
    begun, goes_on = asyncio.Event(), asyncio.Event()

    async def slowly() -> AsyncGenerator[bytes]:
        for _ in range(3):
            yield bytes(PART_BYTES)
        begun.set()
        await goes_on.wait()
        yield b"the end"

    writing = asyncio.create_task(objects.put(f"{FOLDER}/a", slowly()))
    await begun.wait()
    assert await keys(objects, "tenants") == []
    with pytest.raises(ObjectMissingError):
        await read(objects, f"{FOLDER}/a", 0, 1)
    async with asyncio.timeout(20):
        while await objects.unfinished(FOLDER) != [f"{FOLDER}/a"]:  # noqa: ASYNC110  # another server tells no signal
            await asyncio.sleep(0.02)
    assert await objects.unfinished("tenants/acme/exports/2") == []
    goes_on.set()
    await writing
    assert await keys(objects, "tenants") == [f"{FOLDER}/a"]


@pytest.mark.parametrize("parts", [0, 3])
async def test_what_breaks_off_leaves_nothing(objects: Objects, parts: int) -> None:
    async def broken() -> AsyncGenerator[bytes]:
        yield b"a beginning"
        for _ in range(parts):
            yield bytes(PART_BYTES)
        raise LookupError

    with pytest.raises(LookupError):
        await objects.put(f"{FOLDER}/a", broken())
    assert (await keys(objects, "tenants"), await objects.unfinished("tenants")) == ([], [])


async def test_what_is_cancelled_leaves_nothing(objects: Objects) -> None:
    begun = asyncio.Event()

    async def endless() -> AsyncGenerator[bytes]:
        for _ in range(3):
            yield bytes(PART_BYTES)
        begun.set()
        await asyncio.Event().wait()

    writing = asyncio.create_task(objects.put(f"{FOLDER}/a", endless()))
    await begun.wait()
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert (await keys(objects, "tenants"), await objects.unfinished("tenants")) == ([], [])


async def test_objects_are_listed_below_a_whole_part_of_their_keys(objects: Objects) -> None:
    for key in ("tenants/acme/a", "tenants/acme/exports/b", "tenants/acme2/c"):
        await objects.put(key, pieces(b"x"))
    assert await keys(objects, "tenants/acme") == ["tenants/acme/a", "tenants/acme/exports/b"]
    assert sorted(await objects.folders("tenants")) == ["tenants/acme", "tenants/acme2"]
    assert (await keys(objects, "nobody"), await objects.folders("nobody")) == ([], [])
    await objects.delete(["tenants/acme/a", "tenants/acme/none", "tenants/acme2/c"])
    assert await keys(objects, "tenants") == ["tenants/acme/exports/b"]


async def test_a_folder_is_ours_alone(tmp_path: Path) -> None:
    for settings, root in (
        (ObjectSettings(), tmp_path / "objects"),
        (ObjectSettings(url=f"file://{tmp_path}/else/where"), tmp_path / "else" / "where"),
    ):
        objects = Objects.from_settings(settings, tmp_path)
        await objects.put(f"{FOLDER}/a", pieces(bytes(PART_BYTES), b"more"))
        assert stat.S_IMODE(root.stat().st_mode) == 0o700
        assert stat.S_IMODE((root / FOLDER / "a").stat().st_mode) == 0o600


async def test_what_a_killed_upload_left_in_a_folder_is_removed(tmp_path: Path) -> None:
    objects = Objects.from_settings(ObjectSettings(), tmp_path)
    left = tmp_path / "objects" / FOLDER / "a#1"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    assert await keys(objects, "tenants") == []
    assert await objects.unfinished("tenants") == [f"{FOLDER}/a"]
    await objects.abort(f"{FOLDER}/a")
    assert not left.parent.exists()


async def test_folders_that_go_meanwhile_are_passed_over(tmp_path: Path) -> None:
    objects = Objects.from_settings(ObjectSettings(), tmp_path)
    ended = threading.Event()

    def come_and_go() -> None:
        folders = [tmp_path / "objects" / "tenants" / str(number) / "exports" for number in range(20)]
        while not ended.is_set():
            for folder in folders:
                folder.mkdir(parents=True)
            for folder in folders:
                folder.rmdir()
                folder.parent.rmdir()

    coming = asyncio.create_task(asyncio.to_thread(come_and_go))
    try:
        for _ in range(1_000):
            assert await objects.unfinished("tenants") == []
    finally:
        ended.set()
        await coming


async def test_a_folder_that_cannot_be_looked_into_is_a_store_that_is_down(tmp_path: Path) -> None:
    objects = Objects.from_settings(ObjectSettings(), tmp_path)
    (tmp_path / "objects" / "tenants").mkdir()
    with pytest.raises(ObjectsDownError):
        await objects.unfinished("tenants/" + "x" * 300)  # longer than a name may be


async def test_what_a_killed_upload_left_in_a_bucket_is_removed(s3_url: str, tmp_path: Path) -> None:
    objects = Objects.from_settings(s3_settings(s3_url, "killed"), tmp_path)
    await objects._uploads.prepare()  # pyright: ignore[reportPrivateUsage]  # nothing else leaves one behind
    store = objects._store  # pyright: ignore[reportPrivateUsage]  # as above
    writer = obstore.open_writer_async(store, f"{FOLDER}/a", buffer_size=PART_BYTES)
    await writer.write(bytes(3 * PART_BYTES))
    del writer
    async with asyncio.timeout(20):
        while await objects.unfinished("tenants") != [f"{FOLDER}/a"]:  # noqa: ASYNC110  # another server's doing
            await asyncio.sleep(0.02)
    await objects.abort(f"{FOLDER}/a2")
    assert await objects.unfinished("tenants") == [f"{FOLDER}/a"]
    await objects.abort(f"{FOLDER}/a")
    assert await objects.unfinished("tenants") == []


async def test_a_store_that_is_away_is_told_of_as_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    away = s3_settings(f"http://127.0.0.1:{free_port()}", "away").model_copy(update={"timeout": 1.0})
    registry = CollectorRegistry()
    objects = Objects.from_settings(away, tmp_path, ObjectMetrics(registry))
    with pytest.raises(ObjectsDownError):
        await objects.put("tenants/a", pieces(b"x"))
    with pytest.raises(ObjectsDownError):
        await read(objects, "tenants/a", 0, 1)
    with pytest.raises(ObjectsDownError):
        await objects.unfinished("tenants")
    for operation in ("write", "read", "list"):
        failures = registry.get_sample_value("tallystick_object_failures_total", {"operation": operation})
        asked = registry.get_sample_value("tallystick_object_request_seconds_count", {"operation": operation})
        assert failures == 1, operation
        assert asked is not None, operation


async def test_what_the_store_refuses_names_no_key(
    s3_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody-else")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another-secret")
    settings = s3_settings(s3_url, "refused").model_copy(update={"url": "s3://nobodys-bucket/x"})
    with pytest.raises(ObjectsDownError) as refused:
        await Objects.from_settings(settings, tmp_path).put("tenants/a", pieces(b"x"))
    said = refused.value.detail + "".join(capfd.readouterr())
    assert "somebody-else" not in said
    assert "another-secret" not in said


@pytest.mark.parametrize(
    "changes",
    [
        {"url": "ftp://host/x"},
        {"url": "s3://"},
        {"url": "objects"},
        {"url": "s3://bucket", "endpoint": "nowhere"},
        {"url": "file:///proc/nothing/here"},
    ],
)
def test_settings_that_name_no_store_are_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="TALLYSTICK_OBJECTS__"):
        Objects.from_settings(ObjectSettings(**changes), tmp_path)
