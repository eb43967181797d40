"""Exports in the object store, a folder and S3 alike: the bytes of the stream, for whoever asked and nobody else."""

import asyncio
import gzip
import hashlib
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import ExitStack
from typing import Any

import pytest
import pytest_asyncio
import zstandard

from appending import append
from conftest import Connection
from doors import Door, open_door
from factories import scattered
from tallystick.database.pools import Database
from tallystick.export.stored import DOWNLOADS
from tallystick.export.tidying import remove_ended, remove_stray_exports
from tallystick.objects.store import Objects
from tallystick.settings import ExportSettings, ObjectSettings, Settings
from working import hurried, working

EXPORTS = "/api/v1/exports"
DEADLINE = 60.0


@pytest.fixture
def stored_settings(settings: Settings, object_settings: ObjectSettings) -> Settings:
    return hurried(settings.model_copy(update={"objects": object_settings}))


@pytest_asyncio.fixture
async def door(stored_settings: Settings) -> AsyncGenerator[Door]:
    """The API, over each kind of store."""
    async with open_door(stored_settings) as opened:
        await opened.make_tenant("acme")
        yield opened


@pytest.fixture
def objects(stored_settings: Settings) -> Objects:
    return Objects.from_settings(stored_settings.objects, stored_settings.home)


async def ask(door: Door, token: dict[str, str] | None = None, /, **body: Any) -> dict[str, Any]:
    answer = await door.client.post(EXPORTS, json=body, headers=token or door.bearer())
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"].startswith(f"{EXPORTS}/{answer.json()['id']}")
    return answer.json()


async def look(door: Door, export_id: str, token: dict[str, str] | None = None) -> dict[str, Any]:
    answer = await door.client.get(f"{EXPORTS}/{export_id}", headers=token or door.bearer())
    assert answer.status_code == 200, answer.text
    return answer.json()


async def ended(door: Door, export_id: str, token: dict[str, str] | None = None) -> dict[str, Any]:
    async with asyncio.timeout(DEADLINE):
        while (found := await look(door, export_id, token))["state"] in ("queued", "running"):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return found


async def job_ended(door: Door, job_id: str) -> str:
    """How the job ended, also of an export that was deleted."""
    async with asyncio.timeout(DEADLINE):
        while True:
            job = await door.client.get(f"/api/v1/jobs/{job_id}", headers=door.bearer())
            # On a machine that stood still it is 503 for a moment: what is known of tenants is too old then.
            if job.status_code != 503 and (state := job.json()["state"]) not in ("queued", "running"):
                return state
            await asyncio.sleep(0.05)


async def made(door: Door, token: dict[str, str] | None = None, /, **body: Any) -> dict[str, Any]:
    """Ask for an export, and wait for a worker that runs beside to have made it."""
    export = await ended(door, (await ask(door, token, **body))["id"], token)
    assert export["state"] == "succeeded", export
    return export


async def fetch(door: Door, export: Mapping[str, Any], token: dict[str, str] | None = None, **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    path = export["content"] or f"{EXPORTS}/{export['id']}/content"
    return await door.client.get(path, headers=(token or door.bearer()) | named)


async def streamed(door: Door, token: dict[str, str] | None = None, /, **params: Any) -> bytes:
    headers = (token or door.bearer()) | {"accept-encoding": "identity"}
    answer = await door.client.get("/api/v1/logs/export", params=params, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.content


async def stored(objects: Objects) -> list[str]:
    return [key async for key in objects.keys("tenants")] + list(await objects.unfinished("tenants"))


def unzstd(data: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompressobj().decompress(data)


UNPACK: dict[str, Callable[[bytes], bytes]] = {"none": bytes, "gzip": gzip.decompress, "zstd": unzstd}


async def test_the_object_is_what_the_stream_is(door: Door, stored_settings: Settings) -> None:
    await append(door, *scattered(6_000))
    async with working(stored_settings):
        for selection in ({}, {"q": "odd", "from": "2026-11-27T10:20:01Z"}):
            for form in ("ndjson", "json", "csv"):
                columns = {"columns": ["seq", "message", "metadata.n"]} if form == "csv" else {}
                wanted = await streamed(door, format=form, **selection, **columns)
                for compression, unpack in UNPACK.items():
                    export = await made(door, format=form, compression=compression, **selection, **columns)
                    answer = await fetch(door, export)
                    assert answer.status_code == 200
                    assert unpack(answer.content) == wanted, (selection, form, compression)
                    assert hashlib.sha256(answer.content).hexdigest() == export["sha256"]
                    assert answer.headers["etag"] == f'"{export["sha256"]}"'
                    assert int(answer.headers["content-length"]) == export["bytes"] == len(answer.content)
                    await door.client.delete(f"{EXPORTS}/{export['id']}", headers=door.bearer())


async def test_an_object_holds_no_plain_text(door: Door, stored_settings: Settings, objects: Objects) -> None:
    await append(door, *scattered(200))
    async with working(stored_settings):
        for form in ("ndjson", "csv"):
            export = await made(door, format=form, compression="none")
            content = (await fetch(door, export)).content
            (name,) = [key for key in await stored(objects) if export["id"] in key]
            header = b"TSX1"
            raw = b"".join([piece async for piece in objects.read(name, 0, len(header) + len(content))])
            assert raw.startswith(header)
            assert not any(word in raw for word in (b"Line 7", b"eve", b"parity", b"2026-11-27T10"))
            # No piece of it is there, of any alignment: encrypted bytes share no sixteen with their content by chance.
            assert not any(content[at : at + 16] in raw for at in range(0, len(content) - 16, 7))


async def test_what_an_export_tells_of_itself(door: Door, stored_settings: Settings) -> None:
    await append(door, *scattered(40))
    asked = await ask(door, format="csv", compression="gzip", columns=["seq"], severity=["INFO", "ERROR"], q="odd")
    assert (asked["state"], asked["content"], asked["through_seq"]) == ("queued", None, 39)
    assert asked["query"] == {"severity": ["INFO", "ERROR"], "q": ["odd"]}
    assert (asked["format"], asked["compression"], asked["columns"]) == ("csv", "gzip", ["seq"])
    assert (await fetch(door, asked)).status_code == 409
    await append(door, *scattered(5))  # after the end was settled
    async with working(stored_settings):
        export = await ended(door, asked["id"])
    assert (export["state"], export["events"], export["progress"]["done"]) == ("succeeded", 20, 20)
    answer = await fetch(door, export)
    assert answer.headers["content-type"] == "application/gzip"
    assert answer.headers["content-disposition"] == 'attachment; filename="acme-39.csv.gz"'
    assert gzip.decompress(answer.content).split()[0] == b"seq"
    listed = (await door.client.get(EXPORTS, headers=door.bearer())).json()
    assert [each["id"] for each in listed["items"]] == [export["id"]]
    as_job = (await door.client.get(f"/api/v1/jobs/{export['id']}", headers=door.bearer())).json()
    assert (as_job["kind"], as_job["state"]) == ("export", "succeeded")
    jobs = (await door.client.get("/api/v1/jobs", params={"kind": "export"}, headers=door.bearer())).json()
    assert [job["id"] for job in jobs["items"]] == [export["id"]]


async def test_an_empty_export_is_an_empty_file(door: Door, stored_settings: Settings) -> None:
    async with working(stored_settings):
        export = await made(door)
        packed = await made(door, compression="zstd", q="nothing")
    answer = await fetch(door, export)
    assert (answer.status_code, answer.content, export["through_seq"]) == (200, b"", -1)
    assert (await fetch(door, export, range="bytes=0-")).status_code == 416
    assert UNPACK["zstd"]((await fetch(door, packed)).content) == b""


async def test_a_download_is_gone_on_with(door: Door, stored_settings: Settings) -> None:
    await append(door, *scattered(200))
    async with working(stored_settings):
        export = await made(door)
    whole = (await fetch(door, export)).content
    tag, size = f'"{export["sha256"]}"', len(whole)
    for wanted, start, end in (
        ("bytes=0-99", 0, 100),
        (f"bytes={size - 7}-", size - 7, size),
        ("bytes=-5", size - 5, size),
    ):
        part = await fetch(door, export, range=wanted, if_range=tag)
        assert (part.status_code, part.content) == (206, whole[start:end])
        assert part.headers["content-range"] == f"bytes {start}-{end - 1}/{size}"
    assert (await fetch(door, export, range="bytes=0-9", if_range='"another"')).content == whole
    assert (await fetch(door, export, range="bytes=0-1,4-5")).content == whole
    beyond = await fetch(door, export, range=f"bytes={size}-")
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{size}")
    assert beyond.json()["type"] == "/problems/range-not-satisfiable"
    current = await fetch(door, export, if_none_match=tag)
    assert (current.status_code, current.content) == (304, b"")
    head = await door.client.head(export["content"], headers=door.bearer())
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(size))


async def test_nobody_but_who_asked_has_it(door: Door, stored_settings: Settings) -> None:
    await door.make_tenant("other")
    await append(door, *scattered(60))
    eve = door.bearer("user", subject="eve")
    async with working(stored_settings):
        export = await made(door, eve, compression="none")
    mine = await fetch(door, export, eve)
    assert mine.content == await streamed(door, eve)
    assert mine.text.count('"user_id":"eve"') == 30
    assert "nora" not in mine.text
    both = door.bearer("admin", "acme", "other", subject="eve", default_tenant="other")
    strangers = {
        "another of the tenant": door.bearer(),
        "a platform admin": door.bearer("admin", platform=True, default_tenant="acme"),
        "an admin of another": door.bearer("admin", "other", subject="eve"),
        "the same, elsewhere": both,
    }
    path = f"{EXPORTS}/{export['id']}"
    for who, token in strangers.items():
        for method, each in (("GET", path), ("GET", f"{path}/content"), ("DELETE", path)):
            answer = await door.client.request(method, each, headers=token)
            assert answer.status_code == 404, (who, method, each)
        assert (await door.client.get(EXPORTS, headers=token)).json()["items"] == [], who
    assert (await fetch(door, export)).status_code == 404
    # The same principal, whose token is of another tenant now, or sees less, or more.
    assert (await door.client.get(path, params={"tenant_id": "acme"}, headers=both)).status_code == 200
    narrower = door.bearer("user", subject="eve", scopes=["logs:read:resource_type=order"])
    refused = await fetch(door, export, narrower)
    assert (refused.status_code, refused.json()["type"]) == (403, "/problems/forbidden")
    assert (await fetch(door, export, door.bearer("admin", subject="eve"))).content == mine.content
    assert (await door.client.delete(path, headers=eve)).status_code == 204


async def test_who_saw_all_and_now_sees_less_gets_less(door: Door, stored_settings: Settings) -> None:
    await append(door, *scattered(10))
    async with working(stored_settings):
        export = await made(door, door.bearer("admin", subject="eve"))
    assert (await fetch(door, export, door.bearer("user", subject="eve"))).status_code == 403


async def test_what_was_recorded_cannot_be_widened(door: Door, stored_settings: Settings, owner: Connection) -> None:
    await append(door, *scattered(10))
    eve = door.bearer("user", subject="eve")
    asked = await ask(door, eve)
    await owner.execute("""update tallystick.exports set narrowing = '["and"]'""")
    async with working(stored_settings):
        export = await ended(door, asked["id"], eve)
    assert (export["state"], export["content"]) == ("failed", None)
    assert export["error"] == "this release cannot read what was asked for: ask again"


async def test_an_export_expires_and_its_object_with_it(
    door: Door, stored_settings: Settings, owner: Connection, database: Database, objects: Objects
) -> None:
    await append(door, *scattered(10))
    async with working(stored_settings):
        export = await made(door)
        kept = await made(door)
    assert export["expires_at"] > export["finished_at"]
    await owner.execute(
        "update tallystick.exports set expires_at = clock_timestamp() where job_id = $1::text::uuid", export["id"]
    )
    gone = await fetch(door, export)
    assert (gone.status_code, gone.json()["type"]) == (410, "/problems/gone")
    found = await look(door, export["id"])
    assert (found["state"], found["content"], found["bytes"]) == ("expired", None, None)
    assert len(await stored(objects)) == 2
    assert await remove_ended(database, objects) == 1
    assert await remove_ended(database, objects) == 0
    (left,) = await stored(objects)
    assert kept["id"] in left
    assert (await fetch(door, kept)).status_code == 200
    metrics = (await door.client.get("/metrics")).text
    assert "tallystick_exports_removed_total 1.0" in metrics
    assert "tallystick_exports_written_total 2.0" in metrics
    await owner.execute("update tallystick.exports set removed_at = removed_at - interval '31 days'")
    await remove_ended(database, objects)
    assert (await fetch(door, export)).status_code == 404
    assert [each["id"] for each in (await door.client.get(EXPORTS, headers=door.bearer())).json()["items"]] == [
        kept["id"]
    ]


async def test_an_export_is_deleted(
    door: Door, stored_settings: Settings, database: Database, objects: Objects
) -> None:
    await append(door, *scattered(10))
    async with working(stored_settings):
        export = await made(door)
    for _ in range(2):
        assert (await door.client.delete(f"{EXPORTS}/{export['id']}", headers=door.bearer())).status_code == 204
    assert (await fetch(door, export)).status_code == 410
    assert (await look(door, export["id"]))["state"] == "deleted"
    await remove_ended(database, objects)
    assert await stored(objects) == []


async def test_a_waiting_export_is_deleted(door: Door, stored_settings: Settings, objects: Objects) -> None:
    await append(door, *scattered(10))
    asked = await ask(door)
    await door.client.delete(f"{EXPORTS}/{asked['id']}", headers=door.bearer())
    async with working(stored_settings):
        assert await job_ended(door, asked["id"]) == "cancelled"
    assert await stored(objects) == []


async def test_strays_are_removed_and_nothing_else(
    door: Door, stored_settings: Settings, database: Database, objects: Objects
) -> None:
    async def bytes_of(text: bytes) -> AsyncGenerator[bytes]:
        yield text

    await append(door, *scattered(10))
    waiting = await ask(door, q="odd")
    async with working(stored_settings):
        kept = await ended(door, waiting["id"])
    asked = await ask(door)  # nobody runs it now
    strays = [
        f"tenants/acme/exports/{kept['id']}/another.ndjson",
        "tenants/acme/exports/3f0c9a52-6f0e-4b7e-9d35-1f1f0e6f7c11/x.ndjson",
        "tenants/nobody/exports/3f0c9a52-6f0e-4b7e-9d35-1f1f0e6f7c11/x.ndjson",
    ]
    others = [f"tenants/acme/exports/{asked['id']}/begun.ndjson", "tenants/acme/archive/x"]
    others += [f"tenants/acme/exports/{'-' * 36}/x", "tenants/acme/exports/notes/x"]
    for key in (*strays, *others):
        await objects.put(key, bytes_of(b"x"))
    assert await remove_stray_exports(database, objects) == 3
    left = await stored(objects)
    assert set(others) < set(left)
    assert len(left) == 1 + len(others)
    assert (await fetch(door, kept)).status_code == 200


async def test_an_object_that_was_taken_away_is_gone(door: Door, stored_settings: Settings, objects: Objects) -> None:
    await append(door, *scattered(10))
    async with working(stored_settings):
        export = await made(door)
    await objects.delete(await stored(objects))
    assert (await fetch(door, export)).status_code == 410


async def test_there_may_be_so_many(settings: Settings) -> None:
    few = settings.model_copy(update={"exports": ExportSettings(per_principal=2, per_tenant=3)})
    async with open_door(few) as door:
        await door.make_tenant("acme")
        answers = await asyncio.gather(*(door.client.post(EXPORTS, json={}, headers=door.bearer()) for _ in range(5)))
        assert sorted(answer.status_code for answer in answers) == [202, 202, 429, 429, 429]
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert refused.json()["type"] == "/problems/rate-limited"
        assert "delete one" in refused.json()["detail"]
        assert int(refused.headers["retry-after"]) > 0
        await ask(door, door.bearer(subject="another"))
        full = await door.client.post(EXPORTS, json={}, headers=door.bearer(subject="a third"))
        assert (full.status_code, "the tenant has 3" in full.json()["detail"]) == (429, True)
        first = next(answer for answer in answers if answer.status_code == 202).json()
        await door.client.delete(f"{EXPORTS}/{first['id']}", headers=door.bearer())
        await ask(door)


async def test_one_that_is_too_large_fails_and_says_why(settings: Settings) -> None:
    small = hurried(settings.model_copy(update={"exports": ExportSettings(max_bytes=1_000)}))
    async with open_door(small) as door:
        await door.make_tenant("acme")
        await append(door, *scattered(10))
        async with working(small):
            export = await ended(door, (await ask(door))["id"])
    assert (export["state"], export["events"]) == ("failed", None)
    assert "more than 1000 bytes" in export["error"]
    assert await stored(Objects.from_settings(small.objects, small.home)) == []


async def test_only_so_many_are_fetched_at_once(door: Door, stored_settings: Settings) -> None:
    await append(door, *scattered(10))
    async with working(stored_settings):
        export = await made(door)
    downloads = door.services.stored_exports.downloads
    for _ in range(DOWNLOADS + 1):
        assert (await fetch(door, export)).status_code == 200  # each lets go of its place
    with ExitStack() as held:
        for each in range(DOWNLOADS):
            held.enter_context(downloads.admitted(str(each)))
        busy = await fetch(door, export)
    assert (busy.status_code, busy.json()["type"]) == (503, "/problems/overloaded")
