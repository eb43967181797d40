"""API processes killed while events stream: who comes back with the last seq sees every event once, and no other."""

import asyncio
import itertools
import json
import random
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import asyncpg
import httpx
import psutil
import pytest
import pytest_asyncio
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from installations import DEADLINE, Instance, installation, until
from tallystick.runtime.client import read_token

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_WATCHERS = 50
_SENDERS = 4
_BULK = 40
_EVENT_BYTES = 2_000


@dataclass
class Show:
    """What is going on."""

    url: str
    token: str
    sent: int = 0
    size: int | None = None
    codes: dict[int, int] = field(default_factory=dict[int, int])


@pytest_asyncio.fixture
async def instance() -> AsyncGenerator[Instance]:
    small = {"TALLYSTICK_API__STREAM_BUFFER": "65536", "TALLYSTICK_API__READ_TIMEOUT": "5"}
    async with installation(measured=False, TALLYSTICK_API__PROCESSES="2", **small) as running:
        yield running


async def send(show: Show, name: str, enough: int) -> None:
    """Store events until there are enough; what gets no answer is sent again until it has one."""
    headers = {"authorization": f"Bearer {show.token}"}
    async with httpx.AsyncClient(base_url=f"{show.url}/api/v1", headers=headers, timeout=60) as client:
        for number in itertools.count():
            if show.sent >= enough:
                return
            events = [
                {
                    "event_id": f"{name}-{number}-{part}",
                    "action": ("chaos.even", "chaos.odd")[part % 2],
                    "resource_type": "thing",
                    "message": "x" * _EVENT_BYTES,
                }
                for part in range(_BULK)
            ]
            while True:
                try:
                    answer = await client.post("/logs/bulk", json=events)
                except httpx.TransportError:
                    await asyncio.sleep(0.02)
                    continue
                if answer.status_code in (200, 201):
                    break
                assert answer.status_code == 503, answer.text
                await asyncio.sleep(0.05)
            show.sent += _BULK


async def watch(show: Show, chance: random.Random, query: str) -> list[str]:
    """Watch from the first event to the last, with pauses, and connect again whenever the stream ends."""
    seen: list[str] = []
    after = -1
    while show.size is None or after < show.size - 1:
        url = f"{show.url.replace('http', 'ws')}/api/v1/logs/stream?after_seq={after}{query}"
        headers = {"authorization": f"Bearer {show.token}"}
        try:
            # Its own buffers are small, so that a pause is felt by the server.
            async with connect(url, additional_headers=headers, compression=None, max_queue=1) as stream:
                async for message in stream:
                    frame: dict[str, Any] = json.loads(message)
                    seen += [item["id"] for item in frame.get("items", ())]
                    assert frame["seq"] >= after
                    after = frame["seq"]
                    if show.size is not None and after >= show.size - 1:
                        return seen
                    if chance.random() < 0.05:
                        await asyncio.sleep(chance.uniform(0, 3))
        except ConnectionClosed as closed:
            code = closed.rcvd.code if closed.rcvd else 1006
            show.codes[code] = show.codes.get(code, 0) + 1
            if closed.rcvd and code == 4408:
                after = max(after, int(closed.rcvd.reason))
        except (InvalidHandshake, OSError):
            await asyncio.sleep(0.1)  # one of the processes is not there
    return seen


async def kill(instance: Instance, show: Show, kills: int, enough: int) -> None:
    """Kill one API process after the other while events are sent."""
    chance = random.Random(kills)  # noqa: S311  # no secret
    for number in range(kills):
        await until(lambda number=number: show.sent >= enough * (number + 1) // (kills + 1))
        await until(lambda: len(instance.processes("serve")) == 2)
        victim = chance.choice(instance.processes("serve"))
        victim.kill()
        await asyncio.to_thread(psutil.wait_procs, [victim], DEADLINE)


async def stored(instance: Instance) -> list[tuple[str, str]]:
    """Id and action of every event, in the order of the log."""
    assert instance.run.database_url is not None
    connection: Connection = await asyncpg.connect(instance.run.database_url)
    rows = await connection.fetch(
        "select seq, body from tallystick.events"
        " where log_id in (select id from tallystick.logs where name = 'events') order by seq"
    )
    await connection.close()
    assert [row["seq"] for row in rows] == list(range(len(rows)))
    bodies = [json.loads(row["body"]) for row in rows]
    return [(body["id"], body["action"]) for body in bodies]


@pytest.mark.slow
async def test_streams_miss_and_double_nothing_when_processes_are_killed(
    instance: Instance, request: pytest.FixtureRequest
) -> None:
    kills = max(2, int(request.config.getoption("--kills") or 0) // 2)
    enough = int(request.config.getoption("--kill-events") or 0)
    show = Show(instance.run.url, read_token(Path(instance.run.token_file)))
    queries = ("", "&action=chaos.odd", "&q=chaos.even")
    async with asyncio.TaskGroup() as group:
        watching = [
            (queries[number % 3], group.create_task(watch(show, random.Random(number), queries[number % 3])))  # noqa: S311
            for number in range(_WATCHERS)
        ]
        async with asyncio.TaskGroup() as writing:
            for number in range(_SENDERS):
                writing.create_task(send(show, f"sender-{number}", enough))
            writing.create_task(kill(instance, show, kills, enough))
        events = await stored(instance)
        show.size = len(events)
        await wake(show)
        async with asyncio.timeout(4 * DEADLINE):
            await asyncio.wait([task for _, task in watching])
    events = await stored(instance)
    for query, task in watching:
        action = {"": None, queries[1]: "chaos.odd", queries[2]: "chaos.even"}[query]
        expected = [event_id for event_id, of in events if action in (None, of)]
        found = task.result()
        assert found == expected[: len(found)]
        assert len(found) >= len([1 for _, of in events[: show.size] if action in (None, of)])
    assert show.codes.get(1006, 0) > 0, "no stream was broken off"
    print(f"{len(events):,} events, {kills} kills, streams ended by code: {show.codes}")  # noqa: T201


async def wake(show: Show) -> None:
    """Store events of both kinds, so that every stream hears that it has come to the end."""
    await send(show, "last", show.sent + 1)
