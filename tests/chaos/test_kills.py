"""Processes killed under load: what was acknowledged is there, once, and the log has no gap."""

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
from tallystick_tlog import leaf_hash

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_CLIENTS = 12
_BULK = 40


@dataclass
class Ledger:
    """What the clients know: what they sent, and what was acknowledged."""

    acknowledged: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    refused: set[str] = field(default_factory=set[str])
    in_flight: int = 0
    broken: int = 0
    counted_kills: int = 0
    stop: bool = False


@pytest_asyncio.fixture
async def instance() -> AsyncGenerator[Instance]:
    async with installation(measured=False, TALLYSTICK_API__PROCESSES="2") as running:
        yield running


async def send(instance: Instance, client: httpx.AsyncClient, ledger: Ledger, name: str) -> None:
    """Store events in bulk and one by one, of these half without a key."""
    for number in itertools.count():
        if ledger.stop:
            return
        ids = [f"{name}-{number}-{part}" for part in range(_BULK if number % 3 else 1)]
        if len(ids) == 1 and number % 2:
            await send_once(instance, client, ledger, ids[0])
            continue
        events = [{"event_id": event_id, **event(event_id)} for event_id in ids]
        while (answer := await post(instance, client, ledger, events)) is None or answer.status_code == 503:
            pass
        if len(ids) == 1:
            ledger.acknowledged[ids[0]] = answer.json()
            continue
        stored = answer.json()["ids"]
        assert len(stored) == len(ids)
        ledger.acknowledged |= {event_id: {"id": id_} for event_id, id_ in zip(ids, stored, strict=True)}


async def send_once(instance: Instance, client: httpx.AsyncClient, ledger: Ledger, name: str) -> None:
    """Store an event without a key: what gets no answer may be there or not."""
    answer = await post(instance, client, ledger, [event(name)])
    if answer is None:
        return
    if answer.status_code == 201:
        ledger.acknowledged[name] = answer.json()
    elif "nothing was stored" in answer.json()["detail"]:
        ledger.refused.add(name)


def event(name: str) -> dict[str, str]:
    return {"action": "chaos.sent", "resource_type": "thing", "resource_id": name}


async def post(
    instance: Instance, client: httpx.AsyncClient, ledger: Ledger, events: list[dict[str, str]]
) -> httpx.Response | None:
    """Send events; None where no answer came."""
    bulk = len(events) > 1
    ledger.in_flight += 1
    try:
        answer = await client.post("/logs/bulk" if bulk else "/logs", json=events if bulk else events[0])
    except httpx.TransportError:
        ledger.broken += 1
        answer = None
    finally:
        ledger.in_flight -= 1
    if answer is None or answer.status_code != 201:
        await asyncio.sleep(0.02)
    if answer is not None:
        assert answer.status_code in (201, 503), f"{answer.text}\n{instance.faults()}"
        assert answer.status_code == 201 or answer.headers["retry-after"]
    return answer


async def kill(instance: Instance, ledger: Ledger, kills: int, events: int) -> None:
    """Kill an API process, then PostgreSQL, and so on, each at a random moment with requests in flight."""
    chance = random.Random(kills)  # noqa: S311  # no secret
    while ledger.counted_kills < kills or len(ledger.acknowledged) < events:
        await asyncio.sleep(chance.uniform(0, 0.3))
        if ledger.counted_kills == kills:
            continue
        kind = ("serve", "postgres")[ledger.counted_kills % 2]
        victims = instance.processes(kind)
        if not victims or ledger.in_flight == 0:
            continue
        before, broken = len(ledger.acknowledged), ledger.broken
        victim = chance.choice(victims)
        victim.kill()
        await asyncio.to_thread(psutil.wait_procs, [victim], DEADLINE)
        await until(lambda before=before: len(ledger.acknowledged) >= before + 100)  # who was cut off may notice
        ledger.counted_kills += 1 if kind == "postgres" or ledger.broken > broken else 0
    ledger.stop = True


@pytest.mark.slow
async def test_killed_processes_lose_and_double_nothing(instance: Instance, request: pytest.FixtureRequest) -> None:
    kills = int(request.config.getoption("--kills") or 0)
    events = int(request.config.getoption("--kill-events") or 0)
    token = read_token(Path(instance.run.token_file))
    ledger = Ledger()
    async with (
        httpx.AsyncClient(
            base_url=f"{instance.run.url}/api/v1", headers={"authorization": f"Bearer {token}"}, timeout=60
        ) as client,
        asyncio.TaskGroup() as group,
    ):
        for number in range(_CLIENTS):
            group.create_task(send(instance, client, ledger, f"client-{number}"))
        group.create_task(kill(instance, ledger, kills, events))

    assert ledger.counted_kills == kills
    assert ledger.broken > 0
    assert instance.run.database_url is not None
    connection: Connection = await asyncpg.connect(instance.run.database_url)
    log = await connection.fetchrow(
        "select id, size from tallystick.logs where tenant_id = $1 and name = 'events'", instance.run.tenant_id
    )
    assert log is not None
    log_id, size = log
    rows = await connection.fetch(
        "select seq, leaf_hash, body from tallystick.events where log_id = $1 order by seq", log_id
    )
    await connection.close()
    assert [row["seq"] for row in rows] == list(range(size))
    stored: dict[str, dict[str, Any]] = {}
    for row in rows:
        body = row["body"].encode()
        assert leaf_hash(body) == row["leaf_hash"]
        fields = json.loads(body)
        assert fields["resource_id"] not in stored, "an event is there twice"
        stored[fields["resource_id"]] = {"id": fields["id"], "seq": row["seq"], "leaf_hash": row["leaf_hash"].hex()}
    assert not ledger.refused & stored.keys()
    assert ledger.refused or kills < 20
    for event_id, answer in ledger.acknowledged.items():
        place = stored[event_id]
        assert {name: place[name] for name in answer if name in place} == {
            name: answer[name] for name in answer if name in place
        }
    print(f"{len(stored):,} events, {kills} kills, {ledger.broken} broken requests, {len(ledger.refused)} refused")  # noqa: T201  # for -s
