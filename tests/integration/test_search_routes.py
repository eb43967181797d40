"""Searching over HTTP: what is acknowledged is found at once, whatever the worker does meanwhile."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from appending import append
from doors import Door
from factories import event
from tallystick.settings import Settings
from working import hurried, working

DEADLINE = 30.0
LOGS = "/api/v1/logs"


async def find(door: Door, token: dict[str, str] | None = None, /, **params: Any) -> httpx.Response:
    return await door.client.get(LOGS, params=params, headers=token or door.bearer())


async def find_by_body(door: Door, body: object, token: dict[str, str] | None = None) -> httpx.Response:
    return await door.client.post(f"{LOGS}/search", json=body, headers=token or door.bearer())


def seqs_of(answer: httpx.Response) -> list[int]:
    assert answer.status_code == 200, answer.text
    return [item["seq"] for item in answer.json()["items"]]


async def until_indexed(door: Door, through: int, **params: Any) -> httpx.Response:
    """Ask until the index holds an event."""
    async with asyncio.timeout(DEADLINE):
        while True:
            answer = await find(door, **params)
            if answer.status_code == 200 and answer.json()["indexed_through"] >= through:
                return answer
            await asyncio.sleep(0.05)


async def test_an_event_is_found_in_the_very_next_request(door: Door, settings: Settings) -> None:
    for number in range(5):
        await append(door, event(message=f"Parcel number{number} was lost"))
        assert seqs_of(await find(door, q=f"number{number} lost")) == [number]
    async with working(hurried(settings)):
        answer = await until_indexed(door, 4, q="parcel")
        assert seqs_of(answer) == [4, 3, 2, 1, 0]
        for number in range(5, 30):
            await append(door, event(message=f"Parcel number{number} was lost"))
            answer = await find(door, q="parcel", limit=3)
            assert seqs_of(answer) == [number, number - 1, number - 2]
            assert answer.json()["complete"] is True
    assert seqs_of(await find(door, q="parcel", limit=1000)) == list(range(29, -1, -1))


async def test_a_body_finds_what_a_query_string_finds(door: Door) -> None:
    await append(door, *(event(action=f"a{n % 3}", severity=("INFO", "ERROR")[n % 2]) for n in range(12)))
    by_url = await find(door, q="a1 OR a2", severity="ERROR", order="oldest", limit=3, highlight="true")
    body = {"q": "a1 OR a2", "severity": ["ERROR"], "order": "oldest", "limit": 3, "highlight": True}
    by_body = await find_by_body(door, body)
    assert by_body.json() == by_url.json()
    assert seqs_of(by_body) == [1, 5, 7]
    assert by_body.json()["highlights"][0] == [{"pointer": "/action", "ranges": [[0, 2]]}]
    further = await find_by_body(door, {**body, "cursor": by_body.json()["next"]})
    assert seqs_of(further) == [11]
    assert (await door.client.get(httpx_link(by_url), headers=door.bearer())).json() == further.json()


def httpx_link(answer: httpx.Response) -> str:
    return answer.links["next"]["url"]


def damage_every_index(home: Path) -> None:
    for rolls in home.glob("search/*/*/rolls.json"):
        rolls.write_text("{")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"q": "(a"}, "/q"),
        ({"limit": "3"}, "/limit"),
        ({"cursor": "x"}, "/cursor"),
        ({"what": "x"}, "/what"),
        ([], ""),
    ],
)
async def test_what_is_wrong_in_a_body_is_pointed_at(door: Door, body: object, pointer: str) -> None:
    answer = await find_by_body(door, body)
    assert answer.status_code == 422, answer.text
    assert [flaw["pointer"] for flaw in answer.json()["errors"]] == [pointer]


async def test_the_query_string_of_a_search_takes_nothing(door: Door) -> None:
    answer = await door.client.post(f"{LOGS}/search?q=a", json={}, headers=door.bearer())
    assert [flaw["parameter"] for flaw in answer.json()["errors"]] == ["q"]


async def test_who_may_see_a_part_finds_in_that_part_alone(door: Door, settings: Settings) -> None:
    await append(door, *(event(user_id=f"{who}@example.com", message="payroll") for who in ("ada", "bob", "ada")))
    ada = door.bearer("user", subject="ada@example.com")
    for _ in range(2):
        assert seqs_of(await find(door, ada, q="payroll")) == [2, 0]
        assert seqs_of(await find_by_body(door, {"q": "payroll NOT ada"}, ada)) == []
        assert seqs_of(await find(door, ada, q="user_id:bob OR payroll")) == [2, 0]
        async with working(hurried(settings)):
            await until_indexed(door, 2, q="payroll")


async def test_another_tenants_events_are_not_found(door: Door) -> None:
    await door.make_tenant("globex")
    await append(door, event(message="payroll"))
    globex = door.bearer("admin", "globex")
    assert seqs_of(await find(door, globex, q="payroll")) == []
    assert (await find(door, globex, q="payroll", tenant_id="acme")).status_code == 403
    assert (await find_by_body(door, {"q": "payroll", "tenant_id": "acme"}, globex)).status_code == 403


async def test_a_damaged_index_is_set_aside_and_made_anew(door: Door, settings: Settings) -> None:
    await append(door, *(event(message="payroll") for _ in range(20)))
    async with working(hurried(settings)):
        await until_indexed(door, 19, q="payroll")
    damage_every_index(settings.home)
    answer = await find(door, q="payroll")
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/search-down")
    assert answer.headers["retry-after"]
    assert seqs_of(await find(door)) == list(range(19, -1, -1))
    assert seqs_of(await find(door, order="seq", q="payroll")) == list(range(20))
    jobs = (await door.client.get("/api/v1/jobs", headers=door.bearer())).json()["items"]
    assert [(job["kind"], job["state"]) for job in jobs] == [("rebuild_index", "queued")]
    async with working(hurried(settings)):
        assert seqs_of(await until_indexed(door, 19, q="payroll")) == list(range(19, -1, -1))
        await append(door, event(message="payroll"))
        assert seqs_of(await until_indexed(door, 20, q="payroll", limit=1)) == [20]


async def test_words_are_told_from_filters_by_case(door: Door) -> None:
    await append(door, event(action="Login"), event(action="login"))
    assert seqs_of(await find(door, q="LOGIN")) == [1, 0]
    assert seqs_of(await find(door, action="Login")) == [0]
