"""Statistics over real rollups and a real index, and what counting every event gives."""

from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from zoneinfo import ZoneInfo

import orjson

from stored_events import DAY_US, Put, now_us
from tallystick.adapters.tantivy.index import TantivyIndex
from tallystick.database.pools import Database
from tallystick.followers.handing import record
from tallystick.followers.queries import lease, reset
from tallystick.log.source import LogSource
from tallystick.query.ast import Everything, Node
from tallystick.query.facets import facets_of
from tallystick.query.predicate import compile_predicate
from tallystick.search.counting import CountService
from tallystick.search.follower import documents_of
from tallystick.search.tail import Tails
from tallystick.settings import SearchSettings
from tallystick.stats.follower import NAME, RollupFollower
from tallystick.stats.model import By, Counted, Period, StatsQuery, period
from tallystick.stats.parameters import BY
from tallystick.stats.service import StatsService

EVERYTHING = Everything()
KIND = {"action": "login", "resource_type": "user", "severity": "INFO"}
UTC = ZoneInfo("UTC")
NOW_US = now_us() // 1000 * 1000
WEEK = period(NOW_US // DAY_US * DAY_US - 6 * DAY_US, NOW_US // DAY_US * DAY_US + DAY_US, "day", UTC)


@dataclass
class Counting:
    """A statistics service over a real index and real rollups, whose borders the test moves."""

    database: Database
    index: TantivyIndex
    damaged: list[int]

    @property
    def source(self) -> LogSource:
        return LogSource(self.database)

    def service(self, tail: int = 20_000) -> StatsService:
        async def report(log_id: int) -> None:
            self.damaged.append(log_id)

        return StatsService(self.database, CountService(self.index, Tails(self.source, tail), report))

    async def roll_up(self, log_id: int, *, stretch: int = 7) -> None:
        """Let the rollups catch up, in stretches of so many events."""
        async with self.database.worker_session() as connection:
            await reset(connection, NAME, log_id)
            cursor = await lease(connection, NAME, log_id, "test", 60)
        while cursor is not None:
            read = await self.source.read(log_id, cursor.seq, cursor.received_us, limit=stretch, max_bytes=1 << 30)
            cursor = await record(RollupFollower(), self.database, log_id, "test", read)
            if read.ended:
                break

    async def index_through(self, log_id: int, through: int) -> None:
        """Let the index catch up to a seq."""
        done = (await self.index.state(log_id)).through
        if through > done:
            stretch = await self.source.read(log_id, done, None, limit=through - done, max_bytes=1 << 30)
            await self.index.append(log_id, await documents_of(stretch.events), through=through)


@asynccontextmanager
async def counting_in(folder: Path, database: Database) -> AsyncGenerator[Counting]:
    """An empty index in a folder, and the rollups of a database."""
    async with TantivyIndex(folder, SearchSettings(roll_events=1_000)) as index:
        yield Counting(database, index, [])


def truth(events: list[Put], wanted: Node, over: Period, through: int) -> tuple[list[int], dict[By, Counter[str]]]:
    """Buckets and lists, by looking at every event."""
    matches = compile_predicate(wanted)
    lists: dict[By, Counter[str]] = {by: Counter() for by in BY}
    buckets = [0] * (len(over.edges) - 1)
    for event in events:
        body: Mapping[str, object] = orjson.loads(event.body)
        if event.seq <= through and over.from_us <= event.occurred_us < over.to_us and matches(body):
            kind, actor, resource = facets_of(body)
            values = (*orjson.loads(kind), actor, resource)
            for by, value in zip(BY, values, strict=True):
                if value:
                    lists[by][value] += 1
            buckets[max(at for at, edge in enumerate(over.edges) if edge <= event.occurred_us)] += 1
    return buckets, lists


def assert_true(counted: Counted, events: list[Put], wanted: Node, query: StatsQuery) -> None:
    """What was counted is what looking at every event gives."""
    buckets, lists = truth(events, wanted, counted.period, counted.through)
    assert (counted.total, list(counted.buckets)) == (sum(buckets), buckets)
    assert counted.lists == {
        by: (tuple(sorted(lists[by].items(), key=lambda item: (-item[1], item[0]))[: query.top]), True)
        for by in query.by
    }


def ask(over: Period, wanted: Node = EVERYTHING, **changes: object) -> StatsQuery:
    return replace(StatsQuery(wanted, over, None, BY, 5, cut=True, zone=UTC), **changes)  # type: ignore[arg-type]
