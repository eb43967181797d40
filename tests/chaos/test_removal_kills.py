"""Workers killed while they remove: log, index, statistics and leaf hashes end as was asked for, and no other way."""

import asyncio
import itertools
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import asyncpg
import httpx
import orjson
import psutil
import pytest
from pydantic import SecretStr

from installations import DEADLINE, Instance, installation
from removals import assert_counted, found_seqs, left, removed_seqs
from stored_events import DAY_US, Connection, Put, Row, partitions_back, put
from tallystick.adapters.tantivy.index import TantivyIndex
from tallystick.database.pools import Database
from tallystick.log.leaves import read_leaves
from tallystick.objects.store import Objects
from tallystick.query.timestamps import microseconds, moment
from tallystick.retention.model import cutoff
from tallystick.retention.tidying import remove_stray_leaves
from tallystick.runtime.client import read_token
from tallystick.settings import DatabaseSettings, ObjectSettings, SearchSettings
from tallystick_tlog import leaf_hash

_GOING = 20_000
_STAYING = 4_000
_BESIDE = 50
_KILLS = 3
_BULK = 20
_BETWEEN_BULKS = 0.2
_PAUSE = 0.05
_HURRIED = {
    "TALLYSTICK_RETENTION__MIN_DAYS": "2",
    "TALLYSTICK_RETENTION__BATCH_EVENTS": "100",
    "TALLYSTICK_SEARCH__COMMIT_SECONDS": "0.1",
    "TALLYSTICK_SEARCH__SLOW_SECONDS": "0.1",
    "TALLYSTICK_QUEUE__SWEEP_INTERVAL": "0.5",
}


@dataclass
class Stage:
    """An installation, a log whose old events are to go, and a neighbour in most of their partitions.

    Attributes:
        begin_us: When the first of them arrived: a midnight.
        events: All that were put into the log.
        beside: All that were put into the neighbour's.
        arrived: Ids of events of the log that were acknowledged since.
    """

    instance: Instance
    owner: Connection
    client: httpx.AsyncClient
    log_id: int
    neighbour: int
    begin_us: int
    events: list[Put] = field(default_factory=list[Put])
    beside: list[Put] = field(default_factory=list[Put])
    arrived: list[str] = field(default_factory=list[str])
    stop: bool = False

    async def removed(self) -> int:
        """How many events are told to have been removed."""
        return await self.owner.fetchval(
            "select coalesce(sum(upper(part) - lower(part)), 0)::bigint"
            " from tallystick.removed cross join unnest(seqs) as part where log_id = $1",
            self.log_id,
        )

    async def followed(self) -> bool:
        """Whether index and statistics have come to the end of all logs."""
        behind = await self.owner.fetchval(
            "select count(*) from tallystick.logs log cross join unnest(array['search', 'rollups']) as follower (name)"
            "  left join tallystick.cursors cursor on cursor.log_id = log.id and cursor.follower = follower.name"
            " where log.size > coalesce(cursor.seq, -1) + 1"
        )
        return behind == 0

    async def kill_worker(self) -> None:
        """Kill the worker; its leases have run out then, so that nobody waits for that."""
        victims = self.instance.processes("worker")
        for victim in victims:
            victim.kill()
        await asyncio.to_thread(psutil.wait_procs, victims, DEADLINE)
        await self.owner.execute("update tallystick.jobs set leased_until = now() where leased_until is not null")
        await self.owner.execute("update tallystick.cursors set leased_until = now() where leased_until is not null")


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for other processes, which tell nobody: so it is looked at again and again until the deadline."""
    async with asyncio.timeout(DEADLINE):
        while not await condition():  # noqa: ASYNC110
            await asyncio.sleep(_PAUSE)


def arrivals(begin_us: int, days: int, number: int) -> list[int]:
    """So many moments, even over some days."""
    return [begin_us + n * days * DAY_US // number // 1_000 * 1_000 for n in range(number)]


async def made(client: httpx.AsyncClient, owner: Connection, tenant_id: str) -> int:
    """Make a tenant; returns its log of events."""
    answer = await client.post("/tenants", json={"id": tenant_id, "name": tenant_id})
    assert answer.status_code == 201, answer.text
    return await owner.fetchval("select id from tallystick.logs where tenant_id = $1 and name = 'events'", tenant_id)


@asynccontextmanager
async def staged() -> AsyncGenerator[Stage]:
    """Four days of events that go, the first of them in a partition of their own, and a day of some that stay."""
    async with installation(measured=False, **_HURRIED) as instance:
        url = instance.run.database_url
        assert url is not None
        owner: Connection = await asyncpg.connect(url)
        headers = {"authorization": f"Bearer {read_token(Path(instance.run.token_file))}"}
        async with httpx.AsyncClient(base_url=f"{instance.run.url}/api/v1", headers=headers, timeout=60) as client:
            log_id, neighbour = [await made(client, owner, name) for name in ("acme", "beside")]
            begin = await partitions_back(owner, 40)
            stage = Stage(instance, owner, client, log_id, neighbour, begin)
            moments = [*arrivals(begin, 4, _GOING), *arrivals(begin + 4 * DAY_US, 1, _STAYING)]
            actions = ("debug.trace",) * 5 + ("user.login",)
            rows = [Row(us, us, {"action": actions[n % 6], "resource_type": "session"}) for n, us in enumerate(moments)]
            stage.events = await put(owner, stage.log_id, rows)
            rows = [Row(us, us, {"action": "debug.trace"}) for us in arrivals(begin + DAY_US, 3, _BESIDE)]
            stage.beside = await put(owner, stage.neighbour, rows)
            await until(stage.followed)
            yield stage
        await owner.close()


async def send(stage: Stage) -> None:
    """Store events in the same log until told to stop."""
    for number in itertools.count():
        if stage.stop:
            return
        events = [
            {"event_id": f"{number}-{part}", "tenant_id": "acme", "action": "debug.trace", "resource_type": "session"}
            for part in range(_BULK)
        ]
        answer = await stage.client.post("/logs/bulk", json=events)
        assert answer.status_code == 201, answer.text
        stage.arrived += answer.json()["ids"]
        await asyncio.sleep(_BETWEEN_BULKS)


async def kill_while_removing(stage: Stage, kind: str) -> None:
    """Kill worker after worker, each somewhere in the middle, and wait for the one that comes to the end."""
    chance = random.Random(kind)  # noqa: S311  # no secret
    for number in range(_KILLS):
        enough = _GOING * (number + 1) // (_KILLS + 2)

        async def far_enough(enough: int = enough) -> bool:
            return await stage.removed() >= enough

        await until(far_enough)
        await asyncio.sleep(chance.uniform(0, 0.1))
        await stage.kill_worker()
        assert await stage.removed() < _GOING, "it was not killed in the middle"

    async def ended() -> bool:
        (job,) = await stage.owner.fetch("select state, attempts from tallystick.jobs where kind = $1", kind)
        assert job["state"] in ("queued", "running", "succeeded")
        return job["state"] == "succeeded" and job["attempts"] > 1

    await until(ended)
    stage.stop = True


async def assert_only_removed(stage: Stage, gone: Sequence[Put]) -> None:
    """What was to go is gone and told of once, its leaf hash is stored, and everything else is there and counted."""
    owner, log_id = stage.owner, stage.log_id
    await until(stage.followed)
    rows = await owner.fetch("select * from tallystick.events where log_id = $1 order by seq", log_id)
    there: list[Put] = []
    for row in rows:
        body: bytes = row["body"].encode()
        assert leaf_hash(body) == row["leaf_hash"]
        event_id = orjson.loads(body)["id"]
        us = microseconds(row["received_at"]), microseconds(row["occurred_at"])
        there.append(Put(row["seq"], event_id, *us, row["leaf_hash"], body))
    size = await owner.fetchval("select size from tallystick.logs where id = $1", log_id)
    going = {event.seq for event in gone}
    assert [event.seq for event in there] == [seq for seq in range(size) if seq not in going]
    assert {*stage.arrived} <= {event.id for event in there}
    assert await removed_seqs(owner, log_id) == sorted(going)
    await assert_leaves(stage, gone)
    await assert_counted(owner, log_id, there)
    assert await left(owner, stage.neighbour) == [event.seq for event in stage.beside]
    assert await removed_seqs(owner, stage.neighbour) == []
    await assert_counted(owner, stage.neighbour, stage.beside)
    async with TantivyIndex(stage.instance.state.home / "search", SearchSettings()) as index:

        async def forgotten() -> bool:
            return await found_seqs(index, log_id) == [event.seq for event in there]

        await until(forgotten)
        assert await found_seqs(index, stage.neighbour) == [event.seq for event in stage.beside]


async def assert_leaves(stage: Stage, gone: Sequence[Put]) -> None:
    """Each row of removals names an object that holds the leaf hash of each of its events once; no other is there."""
    home = stage.instance.state.home
    rows = await stage.owner.fetch(
        "select leaves, lower(part) as first, upper(part) as beyond"
        " from tallystick.removed cross join unnest(seqs) as part where log_id = $1",
        stage.log_id,
    )
    hashes = {event.seq: event.leaf_hash for event in gone}
    objects: dict[str, dict[int, bytes]] = {}
    for key in {row["leaves"] for row in rows}:
        log_id, leaves = read_leaves((home / "objects" / key).read_bytes())
        assert log_id == stage.log_id
        objects[key] = dict(leaves)
        assert len(objects[key]) == len(leaves), "an object holds a leaf twice"
    for row in rows:
        for seq in range(row["first"], row["beyond"]):
            assert objects[row["leaves"]][seq] == hashes[seq]
    store = Objects.from_settings(ObjectSettings(), home)
    assert stage.instance.run.database_url is not None
    settings = DatabaseSettings(url=SecretStr(stage.instance.run.database_url))
    async with Database.from_settings(settings) as database:
        await remove_stray_leaves(database, store)
    assert {key async for key in store.keys("tenants/acme/leaves")} == {*objects}


async def assert_told(stage: Stage) -> None:
    """The access log says at the end how many went."""

    async def told() -> bool:
        answer = await stage.client.get("/access-logs", params={"tenant_id": "acme", "action": "logs.remove"})
        assert answer.status_code == 200, answer.text
        outcomes = [each["metadata"] for each in answer.json()["items"] if each["metadata"]["phase"] == "outcome"]
        return any((each["result"], each["count"]) == ("completed", _GOING) for each in outcomes)

    await until(told)


@pytest.mark.slow
async def test_a_policy_is_applied_to_the_event() -> None:
    async with staged() as stage:
        kept_since = moment(stage.begin_us + 4 * DAY_US)
        days = (datetime.now(UTC) - kept_since) // timedelta(days=1)
        answer = await stage.client.patch("/tenants/acme", json={"settings": {"retention": {"events_days": days}}})
        assert answer.status_code == 200, answer.text
        await stage.kill_worker()  # the next one looks at once what the day asks for
        async with asyncio.TaskGroup() as group:
            group.create_task(send(stage))
            group.create_task(kill_while_removing(stage, "apply_retention"))
        day = await stage.owner.fetchval("select day from tallystick.retention_runs")
        assert isinstance(day, date)
        before_us = microseconds(cutoff(day, days))
        own = "select count(*) from tallystick.event_partitions() where begins = $1"
        assert await stage.owner.fetchval(own, moment(stage.begin_us)) == 0, "the first day went with its partition"
        await assert_only_removed(stage, [event for event in stage.events if event.received_us < before_us])
        await assert_told(stage)


@pytest.mark.slow
async def test_an_order_is_carried_out_to_the_event() -> None:
    async with staged() as stage:
        before = moment(stage.begin_us + 5 * DAY_US).isoformat().replace("+00:00", "Z")
        query = {"tenant_id": "acme", "before": before, "action": "debug.trace", "reason": "chaos"}
        answer = await stage.client.delete("/logs/cleanup", params=query)
        assert answer.status_code == 202, answer.text
        async with asyncio.TaskGroup() as group:
            group.create_task(send(stage))
            group.create_task(kill_while_removing(stage, "cleanup"))
        going = [event for event in stage.events if orjson.loads(event.body)["action"] == "debug.trace"]
        assert len(going) == _GOING
        await assert_only_removed(stage, going)
        await assert_told(stage)
