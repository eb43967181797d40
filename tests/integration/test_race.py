"""The same `event_id` raced through two API processes' worth of services: one event, and right answers."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any, TypeAlias

import asyncpg
import httpx
import orjson
import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry

from doors import Door, open_door
from factories import append, digests, event, prepared
from tallystick.database.pools import Database
from tallystick.errors import ConflictError
from tallystick.log.lanes import Outcome
from tallystick.log.retries import RequestKey
from tallystick.log.writer import Writer, WriterMetrics
from tallystick.settings import Settings, WriterSettings

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

LOGS = "/api/v1/logs"
RACES = 1_000
AT_ONCE = 20
CONTENTS = ("one", "other")


@pytest_asyncio.fixture
async def doors(door: Door, settings: Settings) -> AsyncGenerator[tuple[Door, Door]]:
    """Two applications over one database: two pools, two writers, nothing shared in memory."""
    async with open_door(settings) as second:
        yield door, second


async def race(
    doors: tuple[Door, Door], event_id: str, contents: tuple[str, ...], headers: dict[str, str]
) -> list[tuple[str, httpx.Response]]:
    """Every content through every door at once; answers beside what was sent."""
    sent = [(door, content) for content in contents for door in doors]
    responses = await asyncio.gather(
        *(
            door.client.post(LOGS, json=event(event_id=event_id, resource_id="r", message=content), headers=headers)
            for door, content in sent
        )
    )
    return [(content, response) for (_, content), response in zip(sent, responses, strict=True)]


def judge(answers: list[tuple[str, httpx.Response]], stored: dict[str, Any]) -> None:
    """All with the stored content have the one 201, all others a 409."""
    won = [response for content, response in answers if content == stored["message"]]
    lost = [response for content, response in answers if content != stored["message"]]
    assert {(response.status_code, response.content) for response in won} == {
        (
            201,
            orjson.dumps({name: stored[name] for name in ("id", "seq", "leaf_hash", "received_at")}),
        )
    }
    assert all(response.status_code == 409 for response in lost)


async def stored_events(owner: Connection) -> dict[str, dict[str, Any]]:
    rows = await owner.fetch("select seq, leaf_hash, body from tallystick.events order by seq")
    assert [row["seq"] for row in rows] == list(range(len(rows)))
    events = [{**json.loads(row["body"]), "seq": row["seq"], "leaf_hash": row["leaf_hash"].hex()} for row in rows]
    counts = Counter(item["event_id"] for item in events)
    assert set(counts.values()) <= {1}, "an event_id was stored twice"
    return {item["event_id"]: item for item in events}


async def test_an_event_id_raced_a_thousand_times_is_stored_once(doors: tuple[Door, Door], owner: Connection) -> None:
    headers = doors[0].bearer()
    answers: dict[str, list[tuple[str, httpx.Response]]] = {}
    for start in range(0, RACES, AT_ONCE):
        names = [f"race-{number}" for number in range(start, start + AT_ONCE)]
        contents = [CONTENTS if number % 2 else CONTENTS[:1] for number in range(AT_ONCE)]
        results = await asyncio.gather(
            *(race(doors, name, content, headers) for name, content in zip(names, contents, strict=True))
        )
        answers |= dict(zip(names, results, strict=True))

    stored = await stored_events(owner)
    assert stored.keys() == answers.keys()
    for name, item in stored.items():
        assert item["timestamp"] == item["received_at"]
        judge(answers[name], item)


async def test_raced_events_of_bulks_are_stored_once(doors: tuple[Door, Door], owner: Connection) -> None:
    names = [f"race-{number}" for number in range(300)]
    headers = doors[0].bearer()

    async def send(door: Door, order: int) -> httpx.Response:
        body = [event(event_id=name, resource_id="r") for name in names[::order]]
        return await door.client.post(f"{LOGS}/bulk", json=body, headers=headers)

    responses = await asyncio.gather(*(send(door, order) for _ in range(4) for door in doors for order in (1, -1)))

    assert {response.status_code for response in responses} == {201}, [response.text[:200] for response in responses]
    stored = await stored_events(owner)
    assert stored.keys() == set(names)
    assert sum(response.json()["stored"] for response in responses) == 300
    ids = [stored[name]["id"] for name in names]
    assert all(sorted(response.json()["ids"]) == sorted(ids) for response in responses)


@pytest.mark.parametrize("same", [True, False])
async def test_a_raced_request_key_is_stored_once(doors: tuple[Door, Door], owner: Connection, same: bool) -> None:
    for number in range(25):
        headers = {**doors[0].bearer(), "idempotency-key": f"key-{number}"}
        bodies = [event(resource_id="r", message="x" if same else str(n % 2)) for n in range(4)]
        responses = await asyncio.gather(
            *(doors[n // 2].client.post(LOGS, json=body, headers=headers) for n, body in enumerate(bodies))
        )
        good = [response for response in responses if response.status_code == 201]
        assert len({response.content for response in good}) == 1
        assert len(good) == (4 if same else 2)
        assert all(response.status_code == 409 for response in responses if response not in good)
    assert await owner.fetchval("select count(*) from tallystick.events") == 25


async def test_what_races_within_one_batch_is_told_apart(database: Database, owner: Connection, log_id: int) -> None:
    """The writer starts when all wait, so that one transaction has all of them."""
    writer = Writer(database, WriterSettings(), digests(), WriterMetrics(CollectorRegistry()))
    one, other = RequestKey("k", b"one"), RequestKey("k", b"other")
    requests = [
        append(log_id, prepared(), key=one),
        append(log_id, prepared(), key=other),
        append(log_id, prepared(), key=one),
        append(log_id, prepared(event_id="e", resource_id="r")),
        append(log_id, prepared(event_id="e", resource_id="x")),
        append(log_id, prepared(event_id="e", resource_id="r"), prepared()),
        append(log_id, prepared(event_id="e", resource_id="x"), prepared(), skip_conflicts=True),
    ]
    tasks = [asyncio.create_task(writer.append(request)) for request in requests]
    await asyncio.sleep(0)
    await writer.start()
    first, conflict, again, event_, event_conflict, event_again, skipped = await asyncio.gather(
        *tasks, return_exceptions=True
    )
    await writer.close()

    assert isinstance(first, Outcome)
    assert isinstance(again, Outcome)
    assert again.answer == first.answer
    assert isinstance(conflict, ConflictError)
    assert isinstance(event_conflict, ConflictError)
    assert isinstance(event_, Outcome)
    assert isinstance(event_again, Outcome)
    assert isinstance(skipped, Outcome)
    assert event_.stored[0] is not None
    assert event_again.stored[0] == replace(event_.stored[0], known=True)
    assert skipped.stored[0] is None
    assert [place.seq for outcome in (first, event_, event_again, skipped) for place in outcome.stored if place] == [
        0,
        1,
        1,
        2,
        3,
    ]
    assert await owner.fetchval("select count(distinct xmin::text) from tallystick.events") == 1
    assert await owner.fetchval("select count(*) from tallystick.events") == 4
