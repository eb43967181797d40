"""Jobs over HTTP: asked for once, found page by page, cancelled."""

import asyncio
from typing import Any, TypeAlias

import asyncpg
import httpx
import pytest

from doors import Door

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

JOBS = "/api/v1/jobs"


async def start(door: Door, log: str = "events") -> httpx.Response:
    return await door.client.post(JOBS, json={"kind": "rebuild_index", "log": log}, headers=door.bearer())


async def end(owner: Connection, job_id: str, state: str = "succeeded") -> None:
    """As a worker would."""
    await owner.execute(
        "update tallystick.jobs set state = $2, done = 3, total = 4, finished_at = clock_timestamp()"
        " where id = $1::text::uuid",
        job_id,
        state,
    )


async def listed(door: Door, **query: Any) -> dict[str, Any]:
    answer = await door.client.get(JOBS, params=query, headers=door.bearer("auditor"))
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_job_is_asked_for_and_looked_at(door: Door, owner: Connection) -> None:
    answer = await start(door)
    job = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"{JOBS}/{job['id']}"
    assert job == {
        "id": job["id"],
        "kind": "rebuild_index",
        "log": "events",
        "state": "queued",
        "progress": {"done": 0, "total": None, "fraction": None},
        "attempts": 0,
        "error": None,
        "created_by": {"issuer": "tallystick", "subject": "admin@example.com"},
        "created_at": job["created_at"],
        "started_at": None,
        "finished_at": None,
        "cancel_requested": False,
    }
    await end(owner, job["id"])
    found = (await door.client.get(answer.headers["location"], headers=door.bearer("auditor"))).json()
    assert (found["state"], found["progress"]) == ("succeeded", {"done": 3, "total": 4, "fraction": 0.75})
    assert len(found["finished_at"]) == len("2026-11-24T17:21:36.123Z")


async def test_who_asks_again_gets_the_open_one(door: Door, owner: Connection) -> None:
    answers = await asyncio.gather(*(start(door) for _ in range(12)))
    assert {answer.status_code for answer in answers} == {202}
    (job_id,) = {answer.json()["id"] for answer in answers}
    assert (await start(door, "access")).json()["id"] != job_id
    await end(owner, job_id, "failed")
    assert (await start(door)).json()["id"] != job_id


async def test_an_open_job_is_asked_to_end_and_another_stays_as_it_is(door: Door, owner: Connection) -> None:
    job_id = (await start(door)).json()["id"]
    for _ in range(2):
        answer = await door.client.post(f"{JOBS}/{job_id}/cancel", headers=door.bearer())
        assert (answer.status_code, answer.json()["cancel_requested"]) == (202, True)
    await end(owner, job_id, "cancelled")
    ended = (await start(door)).json()["id"]
    await end(owner, ended)
    answer = await door.client.post(f"{JOBS}/{ended}/cancel", headers=door.bearer())
    assert (answer.status_code, answer.json()["state"]) == (202, "succeeded")
    assert answer.json()["cancel_requested"] is False


async def test_all_are_found_page_by_page_in_both_directions(door: Door, owner: Connection) -> None:
    made: list[str] = []
    for _ in range(7):
        made.append((await start(door)).json()["id"])
        await end(owner, made[-1])
    # Some at one moment: their ids order them.
    await owner.execute("update tallystick.jobs set created_at = date_trunc('hour', created_at)")
    whole = [job["id"] for job in (await listed(door))["items"]]
    assert sorted(whole) == sorted(made)
    forth: list[list[str]] = []
    page = await listed(door, limit=3)
    assert page["prev"] is None
    while True:
        forth.append([job["id"] for job in page["items"]])
        if page["next"] is None:
            break
        page = await listed(door, limit=3, cursor=page["next"])
    assert [job_id for ids in forth for job_id in ids] == whole
    back = [forth[-1]]
    while page["prev"] is not None:
        page = await listed(door, limit=3, cursor=page["prev"])
        back.append([job["id"] for job in page["items"]])
    assert back[::-1] == forth


async def test_a_listing_is_filtered_and_its_cursor_holds_for_it_alone(door: Door, owner: Connection) -> None:
    await end(owner, (await start(door)).json()["id"])
    waiting = (await start(door)).json()["id"]
    await start(door, "access")
    assert len((await listed(door, kind="rebuild_index"))["items"]) == 3
    page = await listed(door, state="queued", limit=1)
    assert page["next"] is not None
    assert waiting in [job["id"] for job in (await listed(door, state="queued"))["items"]]
    assert len((await listed(door, state="succeeded"))["items"]) == 1
    for query in ({"cursor": page["next"]}, {"state": "running", "cursor": page["next"]}):
        answer = await door.client.get(JOBS, params=query, headers=door.bearer())
        assert answer.status_code == 422


@pytest.mark.parametrize(
    ("query", "parameter"), [({"state": "done"}, "state"), ({"kind": "import"}, "kind"), ({"log": "events"}, "log")]
)
async def test_a_parameter_that_makes_no_sense_is_named(door: Door, query: dict[str, str], parameter: str) -> None:
    answer = await door.client.get(JOBS, params=query, headers=door.bearer())
    assert answer.status_code == 422
    assert [flaw["parameter"] for flaw in answer.json()["errors"]] == [parameter]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [({"kind": "drop_everything"}, "/kind"), ({"kind": "rebuild_index", "log": "other"}, "/log"), ({}, "/kind")],
)
async def test_a_job_that_makes_no_sense_is_refused(door: Door, body: dict[str, str], pointer: str) -> None:
    answer = await door.client.post(JOBS, json=body, headers=door.bearer())
    assert answer.status_code == 422
    assert [flaw["pointer"] for flaw in answer.json()["errors"]] == [pointer]
    assert (await listed(door))["items"] == []


@pytest.mark.parametrize(
    "job_id", ["x", "3F0C9A52-6F0E-4B7E-9D35-1F1F0E6F7C11", "3f0c9a52-6f0e-4b7e-9d35-1f1f0e6f7c11"]
)
async def test_what_is_no_jobs_id_is_not_found(door: Door, job_id: str) -> None:
    assert (await door.client.get(f"{JOBS}/{job_id}", headers=door.bearer())).status_code == 404
    assert (await door.client.post(f"{JOBS}/{job_id}/cancel", headers=door.bearer())).status_code == 404
