"""The job that writes an export: broken off, cancelled, waiting for its store, or overtaken, and never seen half."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from appending import append
from conftest import Connection
from doors import Door, open_door
from factories import event
from tallystick.errors import ObjectsDownError
from tallystick.export.jobs import EXPORT, ExportJob
from tallystick.followers.embedded import EmbeddedQueue
from tallystick.jobs.model import Job
from tallystick.jobs.runner import JobRunner
from tallystick.objects.store import PART_BYTES, Objects
from tallystick.settings import ObjectSettings, Settings

EXPORTS = "/api/v1/exports"
DEADLINE = 60.0
EVENTS = 12_000
"""More than a page of an export: its first part goes into the store before the last is read."""


class Held(Objects):
    """A store that takes the first piece of an object, and the rest when it is told to go on."""

    begun: asyncio.Event
    goes_on: asyncio.Event
    down: int = 0

    async def put(self, key: str, pieces: AsyncIterable[bytes], *, synced: bool = False) -> int:
        if self.down:
            self.down -= 1
            raise ObjectsDownError("the object store does not answer as it should: SlowDown")

        async def held() -> AsyncGenerator[bytes]:
            async for piece in pieces:
                yield piece
                if not self.goes_on.is_set():
                    yield bytes(PART_BYTES)  # so that an upload is on its way
                    self.begun.set()
                    await self.goes_on.wait()

        return await super().put(key, held(), synced=synced)


@pytest.fixture
def objects(object_settings: ObjectSettings, tmp_path: Path) -> Held:
    made = Held.from_settings(object_settings, tmp_path)
    assert isinstance(made, Held)
    made.begun, made.goes_on = asyncio.Event(), asyncio.Event()
    return made


@pytest.fixture
def stored_settings(settings: Settings, object_settings: ObjectSettings) -> Settings:
    return settings.model_copy(update={"objects": object_settings})


@asynccontextmanager
async def running(door: Door, objects: Objects, limits: Mapping[str, int] | None = None) -> AsyncGenerator[None]:
    """A worker of exports."""
    made = door.services
    handler = ExportJob(made.database, made.exports, objects, made.keys, made.settings.exports)
    runner = JobRunner(
        made.database,
        EmbeddedQueue(made.database, []),
        {EXPORT: handler, "work": Quick()},
        lease_seconds=3.0,
        sweep_seconds=0.2,
        pause_seconds=0.05,
        limits=limits,
    )
    task = asyncio.create_task(runner.run())
    try:
        yield
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


class Quick:
    """A job that is done at once."""

    async def run(self, job: Job, progress: object) -> None: ...

    async def discard(self, job: Job) -> None: ...


@asynccontextmanager
async def filled(settings: Settings) -> AsyncGenerator[Door]:
    async with open_door(settings) as door:
        for tenant in ("acme", "other"):
            await door.make_tenant(tenant)
            events = [event(metadata={"n": n}) for n in range(EVENTS if tenant == "acme" else 10)]
            await append(door, *events, token=door.bearer("admin", tenant))
        yield door


async def ask(door: Door, tenant: str = "acme") -> str:
    answer = await door.client.post(EXPORTS, json={}, headers=door.bearer("admin", tenant))
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


async def until(
    door: Door, export_id: str, condition: Callable[[dict[str, Any]], bool], tenant: str = "acme"
) -> dict[str, Any]:
    """Look at an export until something holds of it."""
    async with asyncio.timeout(DEADLINE):
        while True:
            answer = await door.client.get(f"{EXPORTS}/{export_id}", headers=door.bearer("admin", tenant))
            if condition(answer.json()):
                return answer.json()
            await asyncio.sleep(0.03)


def succeeded(export: Mapping[str, Any]) -> bool:
    return export["state"] == "succeeded"


async def left(objects: Objects) -> list[str]:
    return [key async for key in objects.keys("tenants")] + list(await objects.unfinished("tenants"))


async def test_an_export_whose_worker_died_is_written_by_another(stored_settings: Settings, objects: Held) -> None:
    async with filled(stored_settings) as door:
        export_id = await ask(door)
        async with running(door, objects):
            await objects.begun.wait()
            half = await door.client.get(f"{EXPORTS}/{export_id}/content", headers=door.bearer())
            assert (half.status_code, half.headers["retry-after"]) == (409, "2")
            assert [key async for key in objects.keys("tenants")] == []
        assert (await door.client.post("/api/v1/logs", json=event(), headers=door.bearer())).status_code == 201
        objects.goes_on.set()
        async with running(door, objects):
            export = await until(door, export_id, succeeded)
        assert (export["events"], export["through_seq"]) == (EVENTS, EVENTS - 1)
        content = await door.client.get(export["content"], headers=door.bearer())
        through = {"through_seq": export["through_seq"]}
        stream = await door.client.get("/api/v1/logs/export", params=through, headers=door.bearer())
        assert content.content == stream.content
        assert len(await left(objects)) == 1


@pytest.mark.parametrize("way", ["cancelled", "deleted"])
async def test_a_running_export_ends_when_nobody_wants_it(stored_settings: Settings, objects: Held, way: str) -> None:
    async with filled(stored_settings) as door:
        export_id = await ask(door)
        async with running(door, objects):
            await objects.begun.wait()
            if way == "cancelled":
                await door.client.post(f"/api/v1/jobs/{export_id}/cancel", headers=door.bearer())
            else:
                await door.client.delete(f"{EXPORTS}/{export_id}", headers=door.bearer())
            ended = await until(door, export_id, lambda export: export["finished_at"] is not None)
        assert (ended["state"], ended["content"], await left(objects)) == (way, None, [])
        answer = await door.client.get(f"{EXPORTS}/{export_id}/content", headers=door.bearer())
        assert answer.status_code == (409 if way == "cancelled" else 410)


async def test_a_store_that_is_away_is_waited_for(stored_settings: Settings, objects: Held) -> None:
    objects.goes_on.set()
    objects.down = 10_000
    async with filled(stored_settings) as door:
        export_id = await ask(door)
        async with running(door, objects):
            put_off = await until(door, export_id, lambda export: export["error"] is not None)
            assert put_off["error"] == "the object store does not answer as it should: SlowDown"
            assert put_off["state"] == "running"
            objects.down = 0
            export = await until(door, export_id, succeeded)
        assert (export["error"], export["events"]) == (None, EVENTS)


async def test_a_store_that_stays_away_for_a_day_is_given_up(
    stored_settings: Settings, objects: Held, owner: Connection
) -> None:
    objects.down = 10_000
    async with filled(stored_settings) as door:
        export_id = await ask(door)
        async with running(door, objects):
            await until(door, export_id, lambda export: export["error"] is not None)
            await owner.execute("update tallystick.jobs set started_at = started_at - interval '25 hours'")
            failed = await until(door, export_id, lambda export: export["state"] == "failed")
        assert failed["error"] == "not written within a day: the object store does not answer as it should: SlowDown"


async def test_of_two_that_write_it_the_first_counts(
    stored_settings: Settings, objects: Held, owner: Connection
) -> None:
    async with filled(stored_settings) as door:
        export_id = await ask(door)
        async with running(door, objects):
            await objects.begun.wait()
            # As another worker does that took this one for dead, and was quicker.
            key = f"tenants/acme/exports/{export_id}/first.ndjson"
            await owner.execute(
                "update tallystick.exports set object = $1, bytes = 1, events = 1, sha256 = '\\x00',"
                " expires_at = clock_timestamp() + interval '1 day'",
                key,
            )
            objects.goes_on.set()
            await until(door, export_id, succeeded)
        assert await owner.fetchval("select object from tallystick.exports") == key
        assert await left(objects) == []


async def test_exports_leave_room_for_other_tenants_and_other_jobs(stored_settings: Settings, objects: Held) -> None:
    async with filled(stored_settings) as door, running(door, objects, limits={EXPORT: 2}):
        large = [await ask(door) for _ in range(3)]
        await objects.begun.wait()
        objects.begun.clear()
        others = await ask(door, "other")
        await objects.begun.wait()  # the other tenant's is on its way, though three were asked for before
        states = [(await until(door, each, lambda _: True))["state"] for each in large]
        assert sorted(states) == ["queued", "queued", "running"]
        async with door.services.database.control_session() as connection:
            work = await connection.fetchval(
                "insert into tallystick.jobs (tenant_id, kind, created_by) values ('acme', 'work', '{}')"
                " returning id::text"
            )
        async with asyncio.timeout(DEADLINE):
            while (await door.services.jobs.get("acme", work)).state != "succeeded":  # noqa: ASYNC110
                await asyncio.sleep(0.03)
        objects.goes_on.set()
        for each in large:
            assert (await until(door, each, succeeded))["events"] == EVENTS
        assert (await until(door, others, succeeded, "other"))["events"] == 10
