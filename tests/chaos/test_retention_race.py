"""Two workers that look at the same moment what the day asks for: one job, and each event goes once."""

import asyncio
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest

from access_events import recorded
from doors import open_door
from installations import DEADLINE
from removals import assert_counted, left, pass_all, removed_seqs, roll_up
from stored_events import DAY_US, Connection, Row, now_us, partitions_back, put
from tallystick.auth.keys import SigningKeys
from tallystick.database.pools import Database
from tallystick.followers.embedded import EmbeddedQueue
from tallystick.jobs.service import JobService
from tallystick.query.cursor import CursorCodec
from tallystick.retention.scheduling import schedule
from tallystick.settings import DatabaseSettings, Settings

_WORKERS = 2
_GOING, _STAYING = 3_000, 300
_ROUNDS, _CALLERS = 10, 8
_PAUSE = 0.05

CURSORS = CursorCodec(SigningKeys("k1", {"k1": b"a secret of thirty-two bytes ...."}))


def environment(settings: Settings) -> dict[str, str]:
    assert settings.database.url is not None
    return {
        "TALLYSTICK_HOME": str(settings.home),
        "TALLYSTICK_DATABASE__URL": settings.database.url.get_secret_value(),
        "TALLYSTICK_RETENTION__MIN_DAYS": "1",
        "TALLYSTICK_RETENTION__BATCH_EVENTS": "50",
        "TALLYSTICK_SEARCH__COMMIT_SECONDS": "0.1",
        "TALLYSTICK_QUEUE__SWEEP_INTERVAL": "0.2",
    }


@asynccontextmanager
async def workers(settings: Settings, log: Path) -> AsyncGenerator[None]:
    """Two worker processes, started together."""
    with log.open("wb") as file:
        processes = await asyncio.gather(
            *(
                asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "tallystick", "worker"),
                    env={**os.environ, **environment(settings)},
                    stdout=file,
                    stderr=file,
                )
                for _ in range(_WORKERS)
            )
        )
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
        ended = await asyncio.gather(*(process.wait() for process in processes))
    assert ended == [0] * _WORKERS, await asyncio.to_thread(log.read_text)


@pytest.mark.slow
async def test_two_workers_apply_a_policy_once(
    settings: Settings, database: Database, owner: Connection, tmp_path: Path
) -> None:
    begin = await partitions_back(owner, 6)
    async with open_door(settings) as door:
        tenants = [await door.services.tenants.create(name, name, {}) for name in ("acme", "beside")]
        logs = [await door.services.directory.find(tenant.id) for tenant in tenants]
    log_id, neighbour = (found.logs["events"] for found in logs if found is not None)
    times = [begin + n * DAY_US // _GOING // 1_000 * 1_000 for n in range(_GOING)]
    times += [now_us() - 1_000 * (_STAYING - n) for n in range(_STAYING)]
    events = await put(owner, log_id, [Row(us, us, {"action": "debug.trace"}) for us in times])
    # It keeps the partition from being dropped.
    await put(owner, neighbour, [Row(begin, begin, {"action": "kept"})])
    for each in (log_id, neighbour):
        await roll_up(database, each)
        await pass_all(owner, each, followers=("search",))
    await owner.execute(
        "update tallystick.tenants set settings = $1::text::jsonb where id = 'acme'",
        orjson.dumps({"retention": {"events_days": 3}}).decode(),
    )
    async with workers(settings, tmp_path / "workers.log"), asyncio.timeout(DEADLINE):
        while not await owner.fetchval("select exists (select from tallystick.jobs where state = 'succeeded')"):  # noqa: ASYNC110
            await asyncio.sleep(_PAUSE)
    jobs = await owner.fetch("select kind, state, attempts from tallystick.jobs")
    assert [tuple(job) for job in jobs] == [("apply_retention", "succeeded", 1)], (tmp_path / "workers.log").read_text()
    assert await owner.fetchval("select count(*) from tallystick.retention_runs") == 1
    assert await left(owner, log_id) == [event.seq for event in events[_GOING:]]
    assert await removed_seqs(owner, log_id) == [event.seq for event in events[:_GOING]]
    assert await removed_seqs(owner, neighbour) == []
    await assert_counted(owner, log_id, events[_GOING:])
    told = [each["metadata"] for each in await recorded(owner) if each["action"] == "logs.remove"]
    assert [each["phase"] for each in told] == ["intent", "outcome"]
    assert told[-1]["count"] == _GOING


async def test_of_those_who_ask_at_once_one_asks(database_settings: DatabaseSettings, owner: Connection) -> None:
    await owner.execute(
        "insert into tallystick.tenants (id, name, settings) values ('acme', 'Acme', $1::text::jsonb)",
        orjson.dumps({"retention": {"events_days": 3}}).decode(),
    )
    await owner.execute("insert into tallystick.logs (tenant_id, name) values ('acme', 'events')")
    async with Database.from_settings(database_settings) as one, Database.from_settings(database_settings) as other:
        for turn in range(1, _ROUNDS + 1):
            asked = await asyncio.gather(
                *(
                    schedule(each, JobService(each, EmbeddedQueue(each, ()), CURSORS))
                    for each in (one, other) * (_CALLERS // 2)
                )
            )
            assert len([job_id for job_id in asked if job_id is not None]) == 1
            assert await owner.fetchval("select count(*) from tallystick.jobs") == turn
            day = datetime.now(UTC).date()
            assert await owner.fetchval("select count(*) from tallystick.retention_runs where day <= $1", day) == 1
            await owner.execute("delete from tallystick.retention_runs")
