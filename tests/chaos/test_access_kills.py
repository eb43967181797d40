"""API processes killed while they are read from: whatever a client was answered, the access log knows of it."""

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

from installations import DEADLINE, Instance, installation, until
from tallystick.runtime.client import read_token

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_CLIENTS = 12
_EVENTS = 300
_BETWEEN = 100
"""Answers between two kills."""


@dataclass
class Ledger:
    """What the clients know.

    Attributes:
        answered: The operation of each request that was answered to its end, by its id.
        in_flight: Requests that are not answered yet.
        broken: Requests whose connection broke.
    """

    answered: dict[str, str] = field(default_factory=dict[str, str])
    in_flight: int = 0
    broken: int = 0
    stop: bool = False


@pytest_asyncio.fixture
async def instance() -> AsyncGenerator[Instance]:
    async with installation(measured=False, TALLYSTICK_API__PROCESSES="2") as running:
        yield running


async def fill(client: httpx.AsyncClient) -> list[str]:
    """Store events; returns their ids."""
    events = [
        {"action": "chaos.read", "resource_type": "thing", "user_id": f"user-{number % 10}", "message": f"word{number}"}
        for number in range(_EVENTS)
    ]
    answer = await client.post("/logs/bulk", json=events)
    assert answer.status_code == 201, answer.text
    return answer.json()["ids"]


def asked(number: int, ids: list[str]) -> tuple[str, httpx.Request]:
    """A read of each kind in turn, and the operation that it is."""
    kinds: tuple[tuple[str, str, str, dict[str, str], dict[str, str] | None], ...] = (
        ("list_events", "GET", "/logs", {"limit": "50"}, None),
        ("list_events", "GET", "/logs", {"user_id": f"user-{number % 10}"}, None),
        ("search_events", "POST", "/logs/search", {}, {"q": f"word{number % _EVENTS}"}),
        ("read_event", "GET", f"/logs/{ids[number % _EVENTS]}", {}, None),
        ("export_events", "GET", "/logs/export", {"user_id": f"user-{number % 10}"}, None),
        ("read_stats", "GET", "/logs/stats", {}, None),
    )
    operation, method, path, query, body = kinds[number % len(kinds)]
    return operation, httpx.Request(method, f"http://replaced{path}", params=query, json=body)


async def read(client: httpx.AsyncClient, ledger: Ledger, name: str, ids: list[str]) -> None:
    """Read until told to stop, each request under an id of its own."""
    for number in itertools.count():
        if ledger.stop:
            return
        operation, request = asked(number, ids)
        request_id = f"{name}-{number}"
        try:
            ledger.in_flight += 1
            answer = await client.request(
                request.method,
                request.url.raw_path.decode(),
                content=request.content,
                headers={"x-request-id": request_id, "content-type": "application/json"},
            )
        except httpx.TransportError:
            ledger.broken += 1
            await asyncio.sleep(0.02)
            continue
        finally:
            ledger.in_flight -= 1
        if answer.status_code == 200:
            assert answer.headers["x-request-id"] == request_id
            ledger.answered[request_id] = operation
        else:
            assert answer.status_code == 503, answer.text


async def kill(instance: Instance, ledger: Ledger, kills: int) -> None:
    """Kill an API process, thrice, and then PostgreSQL, and so on, each at a random moment with reads in flight.

    These may be all the other process's: it goes on until one was broken off.
    """
    chance = random.Random(kills)  # noqa: S311  # no secret
    for number in range(4 * kills):
        if number >= kills and ledger.broken:
            break
        before = len(ledger.answered)
        await until(lambda before=before: len(ledger.answered) >= before + _BETWEEN)
        await asyncio.sleep(chance.uniform(0, 0.3))
        kind = "postgres" if number % 4 == 3 else "serve"
        await until(lambda kind=kind: ledger.in_flight > 0 and bool(instance.processes(kind)))
        victim = chance.choice(instance.processes(kind))
        victim.kill()
        await asyncio.to_thread(psutil.wait_procs, [victim], DEADLINE)
    last = len(ledger.answered)
    await until(lambda: len(ledger.answered) >= last + _BETWEEN)
    ledger.stop = True


async def intents(instance: Instance) -> dict[str, list[dict[str, Any]]]:
    """The intents in the tenant's access log, by the id of their request."""
    assert instance.run.database_url is not None
    connection: Connection = await asyncpg.connect(instance.run.database_url)
    rows = await connection.fetch(
        "select body from tallystick.events"
        " where log_id = (select id from tallystick.logs where tenant_id = $1 and name = 'access') order by seq",
        instance.run.tenant_id,
    )
    await connection.close()
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        event = json.loads(row["body"])
        if event["metadata"]["phase"] == "intent":
            found.setdefault(event["request_id"], []).append(event)
    return found


@pytest.mark.slow
async def test_no_answer_is_missing_from_the_access_log(instance: Instance, request: pytest.FixtureRequest) -> None:
    kills = max(4, int(request.config.getoption("--kills") or 0) * 2 // 3)
    token = read_token(Path(instance.run.token_file))
    ledger = Ledger()
    async with httpx.AsyncClient(
        base_url=f"{instance.run.url}/api/v1", headers={"authorization": f"Bearer {token}"}, timeout=60
    ) as client:
        ids = await fill(client)
        async with asyncio.TaskGroup() as group:
            for number in range(_CLIENTS):
                group.create_task(read(client, ledger, f"client-{number}", ids))
            group.create_task(kill(instance, ledger, kills))

    assert ledger.broken > 0, "no read was broken off"
    recorded = await intents(instance)
    missing = {request_id for request_id in ledger.answered if request_id not in recorded}
    assert not missing, f"{len(missing)} of {len(ledger.answered)} answers left no trace\n{instance.faults()}"
    for request_id, operation in ledger.answered.items():
        (intent,) = recorded[request_id]
        assert intent["metadata"]["operation"] == operation
    assert {*ledger.answered.values()} == {"list_events", "search_events", "read_event", "export_events", "read_stats"}
    print(f"{len(ledger.answered):,} answers, {kills} kills, {ledger.broken} broken reads")  # noqa: T201  # for -s
