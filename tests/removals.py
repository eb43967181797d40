"""What tests of removal need: jobs, followers that have passed, and what must be left."""

from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import orjson

from stored_events import DAY_US, Connection, Put
from tallystick.access_log.model import Result
from tallystick.adapters.tantivy.index import TantivyIndex
from tallystick.database.pools import Database
from tallystick.followers.handing import record
from tallystick.followers.queries import lease, release
from tallystick.jobs.model import Job, JobState
from tallystick.log.leaves import read_leaves
from tallystick.log.removal import Remover, Speed, Step
from tallystick.log.removal_queries import Taken
from tallystick.log.source import LogSource
from tallystick.objects.store import Objects
from tallystick.ports import SearchRequest
from tallystick.query.facets import facets_of, read_kind
from tallystick.query.terms import MatchAll
from tallystick.query.timestamps import microseconds
from tallystick.retention.model import Milestone, Plan, Trace
from tallystick.search.follower import documents_of
from tallystick.settings import ObjectSettings
from tallystick.stats.follower import NAME, RollupFollower
from tallystick.stats.rolling import QUARTER_US, SPAN_US, WIDTHS

FOLLOWERS = ("search", "rollups")


def make_remover(database: Database, home: Path, batch: int = 7) -> Remover:
    return Remover(database, Objects.from_settings(ObjectSettings(), home), FOLLOWERS, Speed(batch, 1.0))


async def make_job(
    owner: Connection,
    tenant_id: str,
    state: str = "running",
    *,
    log_id: int | None = None,
    kind: str = "cleanup",
    arguments: dict[str, Any] | None = None,
) -> Job:
    """A job on whose behalf events leave."""
    created_by = {"issuer": "tallystick", "subject": "ada"}
    row = await owner.fetchrow(
        "insert into tallystick.jobs (tenant_id, log_id, kind, created_by, state, arguments)"
        " values ($1, $2, $3, $4::text::jsonb, $5, $6::text::jsonb) returning id::text, created_at",
        tenant_id,
        log_id,
        kind,
        orjson.dumps(created_by).decode(),
        state,
        orjson.dumps(arguments or {}).decode(),
    )
    assert row is not None
    return Job(
        id=row["id"],
        tenant_id=tenant_id,
        log_id=log_id,
        log=None if log_id is None else "events",
        kind=kind,
        arguments=arguments or {},
        state=JobState(state),
        done=0,
        total=None,
        checkpoint={},
        attempts=1,
        error=None,
        created_by=created_by,
        created_at=row["created_at"],
        started_at=None,
        finished_at=None,
        cancel_requested=False,
    )


async def pass_all(
    owner: Connection, log_id: int, seq: int | None = None, followers: Sequence[str] = FOLLOWERS
) -> None:
    """Let followers have passed a log, or a seq of it."""
    await owner.execute(
        "insert into tallystick.cursors (follower, log_id, seq)"
        " select name, $1, coalesce($3, (select size - 1 from tallystick.logs where id = $1))"
        " from unnest($2::text[]) as name"
        " on conflict (follower, log_id) do update set seq = excluded.seq",
        log_id,
        list(followers),
        seq,
    )


async def roll_up(database: Database, log_id: int, stretch: int = 50) -> None:
    """Let the rollups catch up."""
    source = LogSource(database)
    async with database.worker_session() as connection:
        cursor = await lease(connection, NAME, log_id, "test", 60)
    while cursor is not None:
        read = await source.read(log_id, cursor.seq, cursor.received_us, limit=stretch, max_bytes=1 << 30)
        if read.through > cursor.seq:
            cursor = await record(RollupFollower(), database, log_id, "test", read)
        if read.ended:
            break
    async with database.worker_session() as connection:
        await release(connection, NAME, log_id, "test")


async def index_all(database: Database, index: TantivyIndex, owner: Connection, log_id: int) -> None:
    """Let the search index catch up."""
    done = (await index.state(log_id)).through
    stretch = await LogSource(database).read(log_id, done, None, limit=1_000_000, max_bytes=1 << 30)
    if stretch.through > done:
        await index.append(log_id, await documents_of(stretch.events), through=stretch.through)
    await pass_all(owner, log_id, followers=("search",))


async def all_of(steps: AsyncGenerator[Step]) -> list[Step]:
    async with aclosing(steps):
        return [step async for step in steps]


async def left(owner: Connection, log_id: int) -> list[int]:
    """Seqs that are in a log."""
    rows = await owner.fetch("select seq from tallystick.events where log_id = $1 order by seq", log_id)
    return [row["seq"] for row in rows]


async def removed_seqs(owner: Connection, log_id: int) -> list[int]:
    """Seqs that are told to have been removed, each as often as that is told."""
    rows = await owner.fetch(
        "select lower(part) as first, upper(part) as beyond from tallystick.removed cross join unnest(seqs) as part"
        " where log_id = $1 order by 1",
        log_id,
    )
    return [seq for row in rows for seq in range(row["first"], row["beyond"])]


async def stored_leaves(owner: Connection, home: Path, log_id: int) -> dict[int, bytes]:
    """The leaf hashes in the objects that removals of a log name."""
    found: dict[int, bytes] = {}
    for row in await owner.fetch("select distinct leaves from tallystick.removed where log_id = $1", log_id):
        of_log, leaves = read_leaves((home / "objects" / row["leaves"]).read_bytes())
        assert of_log == log_id
        found |= dict(leaves)
    return found


async def found_seqs(index: TantivyIndex, log_id: int) -> list[int]:
    """Seqs that a search index holds."""
    found = await index.search(log_id, SearchRequest(MatchAll(), "oldest", 1_000_000))
    return sorted(hit.seq for hit in found.hits)


def _moment(us: int) -> datetime:
    return datetime.fromtimestamp(us // 1_000_000, UTC)


async def assert_counted(owner: Connection, log_id: int, events: Sequence[Put]) -> None:
    """The rollups of a log tell of these events, each once, and of no other."""
    kinds: Counter[tuple[Any, ...]] = Counter()
    parts: Counter[tuple[Any, ...]] = Counter()
    for event in events:
        kind, actor, resource = facets_of(orjson.loads(event.body))
        day = date.fromordinal(date(1970, 1, 1).toordinal() + event.received_us // DAY_US)
        for minutes in WIDTHS:
            width = minutes * 60_000_000
            kinds[minutes, _moment(event.occurred_us // width * width), day, *read_kind(kind)] += 1
        quarter = _moment(event.occurred_us // QUARTER_US * QUARTER_US)
        for facet, value in (("actor", actor), ("resource", resource)):
            if value:
                parts[facet, quarter, day, value] += 1
    rows = await owner.fetch("select * from tallystick.rollups where log_id = $1", log_id)
    names = ("minutes", "starts_at", "received_day", "action", "resource_type", "severity")
    assert {tuple(row[name] for name in names): row["events"] for row in rows} == kinds
    rows = await owner.fetch(
        "select facet, starts_at, received_day, name, sum(n)::bigint as n from tallystick.facet_parts"
        " cross join unnest(names, counts) as entry (name, n) where log_id = $1 group by 1, 2, 3, 4",
        log_id,
    )
    assert {tuple(row)[:4]: row["n"] for row in rows} == parts
    spans: Counter[tuple[Any, ...]] = Counter()
    closed = {
        microseconds(row["span"])
        for row in await owner.fetch("select span from tallystick.rolled_spans where log_id = $1 and closed", log_id)
    }
    for (facet, quarter, day, value), count in parts.items():
        span = microseconds(quarter) // SPAN_US * SPAN_US
        if span in closed:
            spans[facet, _moment(span), day, value] += count
    rows = await owner.fetch(
        "select facet, span, received_day, coalesce(name, key), events from tallystick.facet_spans where log_id = $1",
        log_id,
    )
    assert {tuple(row)[:4]: row["events"] for row in rows} == spans


@dataclass
class Traces:
    """Records removals in memory."""

    plans: list[Plan] = field(default_factory=list[Plan])
    told: list[int] = field(default_factory=list[int])
    results: list[Result] = field(default_factory=list[Result])
    milestones: list[str] = field(default_factory=list[str])

    async def intend(self, plan: Plan) -> Trace:
        self.plans.append(plan)
        return _Trace(self)

    def around(self, milestone: Milestone) -> AbstractAsyncContextManager[object]:
        self.milestones.append(milestone.name)
        return nullcontext()


@dataclass
class _Trace:
    traces: Traces

    async def told(self, result: Result, taken: Taken) -> None:
        assert (taken.first_seq is None) == (taken.last_seq is None) == (not taken.leaves)
        self.traces.told.append(taken.events)
        self.traces.results.append(result)
