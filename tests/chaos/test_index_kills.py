"""Whatever follows the log is killed under load: afterwards the index holds what the log holds, event by event."""

import asyncio
import itertools
import json
import os
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import asyncpg
import httpx
import psutil
import pytest

from installations import DEADLINE, Instance, installation, until
from servers import QUICK_START
from tallystick.runtime.client import read_token

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

TENANTS = ("default", "globex", "initech")
_BULK = 100
_KILLS = 6
_PAUSE = 0.05


@dataclass
class Load:
    """What is sent, and how much of it was acknowledged."""

    stored: dict[str, int] = field(default_factory=lambda: dict.fromkeys(TENANTS, 0))
    stop: bool = False

    @property
    def total(self) -> int:
        return sum(self.stored.values())


async def send(client: httpx.AsyncClient, load: Load, tenant: str) -> None:
    """Store events until told to stop; what gets no answer is sent again, and known by its ids."""
    for number in itertools.count():
        if load.stop:
            return
        events = [
            {
                "event_id": f"{number}-{part}",
                "tenant_id": tenant,
                "action": "chaos.sent",
                "resource_type": "thing",
                "message": f"batch{number} part{part}",
                "metadata": {"number": number, "path": f"/srv/{tenant}/{part}"},
            }
            for part in range(_BULK)
        ]
        async with asyncio.timeout(DEADLINE):
            while (answer := await client.post("/logs/bulk", json=events)).status_code != 201:
                assert answer.status_code == 503, answer.text
                await asyncio.sleep(_PAUSE)
        load.stored[tenant] += _BULK
        await asyncio.sleep(_PAUSE)


async def search(client: httpx.AsyncClient, load: Load, tenant: str) -> None:
    """Ask for what was acknowledged last; an answer either has it or is a 503."""
    while not load.stop:
        number = load.stored[tenant] // _BULK - 1
        if number >= 0:
            answer = await client.get("/logs", params={"tenant_id": tenant, "q": f"batch{number}", "limit": 1000})
            assert answer.status_code in (200, 503), answer.text
            if answer.status_code == 200 and answer.json()["complete"]:
                assert len(answer.json()["items"]) == _BULK, (tenant, number)
        await asyncio.sleep(_PAUSE)


async def kill(instance: Instance, load: Load, kinds: Sequence[str], database: Connection) -> None:
    """Kill one after the other, each at a random moment while events wait to be indexed, and a rebuild half-way."""
    chance = random.Random(len(kinds))  # noqa: S311  # no secret
    for number in range(_KILLS):
        before = load.total
        await until(lambda before=before: load.total >= before + 5 * _BULK)
        if number == _KILLS // 2:
            await tallystick(instance, "followers", "rebuild", "--tenant", TENANTS[0], "--no-wait", "--json")
        async with asyncio.timeout(DEADLINE):
            while not (await behind(database) and instance.processes(kinds[number % len(kinds)])):  # noqa: ASYNC110
                await asyncio.sleep(_PAUSE)
        await asyncio.sleep(chance.uniform(0, 0.5))
        victims = instance.processes(kinds[number % len(kinds)])
        for victim in victims:
            victim.kill()
        await asyncio.to_thread(psutil.wait_procs, victims, DEADLINE)
    load.stop = True


async def behind(database: Connection) -> int:
    """How many events are in the logs and not behind the follower's cursors."""
    count: int = await database.fetchval(
        "select coalesce(sum(log.size - 1 - coalesce(cursor.seq, -1)), 0)::bigint from tallystick.logs log"
        "  left join tallystick.cursors cursor on cursor.log_id = log.id and cursor.follower = 'search'"
        " where log.size > 0"
    )
    return count


async def tallystick(instance: Instance, *arguments: str) -> Any:
    """Run a command on the installation; returns what it says as JSON."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tallystick",
        *arguments,
        env={**os.environ, **instance.environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, complained = await process.communicate()
    assert process.returncode == 0, (said, complained)
    return json.loads(said)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "kinds"),
    [
        ((), ("worker",)),
        (("--search", "opensearch", "--queue", "sqs"), ("worker", "opensearch", "elasticmq")),
    ],
    ids=["embedded", "opensearch and sqs"],
)
async def test_the_index_holds_what_the_log_holds(arguments: tuple[str, ...], kinds: tuple[str, ...]) -> None:
    load = Load()
    quick = {"TALLYSTICK_QUEUE__SWEEP_INTERVAL": "2", **QUICK_START}
    async with installation(*arguments, measured=False, **quick) as instance:
        token = read_token(Path(instance.run.token_file))
        assert instance.run.database_url is not None
        database: Connection = await asyncpg.connect(instance.run.database_url)
        async with httpx.AsyncClient(
            base_url=f"{instance.run.url}/api/v1", headers={"authorization": f"Bearer {token}"}, timeout=60
        ) as client:
            for tenant in TENANTS[1:]:
                answer = await client.post("/tenants", json={"id": tenant, "name": tenant})
                assert answer.status_code == 201, answer.text
            async with asyncio.TaskGroup() as group:
                for tenant in TENANTS:
                    group.create_task(send(client, load, tenant))
                    group.create_task(search(client, load, tenant))
                group.create_task(kill(instance, load, kinds, database))
            async with asyncio.timeout(DEADLINE):
                while await behind(database) or await open_jobs(database):  # noqa: ASYNC110  # told by nobody
                    await asyncio.sleep(_PAUSE)
        compared = (await tallystick(instance, "followers", "verify", "--json"))["logs"]
        jobs = await database.fetch("select state, attempts from tallystick.jobs")
        await database.close()
    of_events = [each for each in compared if each["log"] == "events"]
    assert {each["tenant_id"]: each["events"] for each in of_events if each["tenant_id"] in load.stored} == load.stored
    assert [job["state"] for job in jobs] == ["succeeded"]
    print(f"{load.total:,} events, {_KILLS} kills")  # noqa: T201  # for -s


async def open_jobs(database: Connection) -> int:
    count: int = await database.fetchval("select count(*) from tallystick.jobs where state in ('queued', 'running')")
    return count
