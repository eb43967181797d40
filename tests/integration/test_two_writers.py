"""Two writers over many logs at once: no gap, no deadlock, arrival in the order of seqs."""

import asyncio
import random
from typing import TypeAlias

import asyncpg
import orjson
from prometheus_client import CollectorRegistry

from factories import append, digests, make_log, prepared
from tallystick.database.pools import Database
from tallystick.log.writer import Writer, WriterMetrics
from tallystick.settings import WriterSettings

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_LOGS = 12
_REQUESTS = 1_500


async def test_logs_shared_by_two_writers_have_no_gaps(database: Database, owner: Connection) -> None:
    logs = [await make_log(owner) for _ in range(_LOGS)]
    settings = WriterSettings(large_events=40)  # so that large requests are among them
    writers = [Writer(database, settings, digests(), WriterMetrics(CollectorRegistry())) for _ in range(2)]
    for writer in writers:
        await writer.start()
    chance = random.Random(7)  # noqa: S311  # no secret

    async def send(number: int) -> tuple[int, list[int]]:
        log_id = chance.choice(logs)
        count = chance.choice((1, 1, 1, 3, 60))
        keyed = number % 3 == 0
        events = [prepared(event_id=f"{number}-{part}" if keyed else None) for part in range(count)]
        outcome = await writers[number % 2].append(append(log_id, *events))
        return log_id, [place.seq for place in outcome.stored if place]

    stored: dict[int, list[int]] = {log_id: [] for log_id in logs}
    async with asyncio.timeout(60):
        for start in range(0, _REQUESTS, 100):
            for log_id, seqs in await asyncio.gather(*map(send, range(start, start + 100))):
                assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
                stored[log_id] += seqs
    for writer in writers:
        await writer.close()

    for log_id, seqs in stored.items():
        size = await owner.fetchval("select size from tallystick.logs where id = $1", log_id)
        assert sorted(seqs) == list(range(size))
        rows = await owner.fetch("select seq, body from tallystick.events where log_id = $1 order by seq", log_id)
        assert [row["seq"] for row in rows] == list(range(size))
        arrivals = [orjson.loads(row["body"])["received_at"] for row in rows]
        assert arrivals == sorted(arrivals)
