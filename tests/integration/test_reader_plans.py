"""No unfiltered read sorts a log, nor touches more than ten times its page: as the reader role, through the view."""

import json
from collections.abc import Awaitable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest

from factories import make_log
from stored_events import DAY_US, HOUR_US, Connection, Row, partitions_back, put
from tallystick.database.pools import Connection as ReaderConnection
from tallystick.database.pools import Database, open_log
from tallystick.log.queries import Statement, TimeWalk, by_time, read_places, read_stretch
from tallystick.query.timestamps import microseconds

PARTITIONS = 45
EVENTS = 12_000
PAGE = 50
BUDGET = 8 * 1024 * 1024

_INDEX_SCANS = {"Index Scan", "Index Only Scan"}
_HARMLESS = {"Append", "Limit", "Merge Append", "Subquery Scan", "WindowAgg", "Result"}


@pytest.fixture
async def logs(owner: Connection) -> tuple[int, int, int]:
    """A small log, a large one, and another small one, spread over many partitions."""
    begin = await partitions_back(owner, PARTITIONS)
    logs = (await make_log(owner), await make_log(owner), await make_log(owner))
    for log_id, events in zip(logs, (30, EVENTS, 60), strict=True):
        step = PARTITIONS * DAY_US // events // 1000 * 1000
        late = [7 * DAY_US if n % 97 == 0 else n % 7 for n in range(events)]
        await put(owner, log_id, [Row(begin + n * step, begin + n * step - late[n]) for n in range(events)])
    await owner.execute("analyze tallystick.events")
    return logs


def statements(begin: int) -> dict[str, Statement]:
    """Every kind of unfiltered page; the log's middle is in each of them."""
    middle, seq = begin + PARTITIONS // 2 * DAY_US, EVENTS // 2

    def page(walk: TimeWalk) -> Statement:
        return by_time(walk, limit=PAGE + 1, budget=BUDGET)

    return {
        "newest": page(TimeWalk(descending=True, above=None, below=None)),
        "oldest": page(TimeWalk(descending=False, above=None, below=None)),
        "deep": page(TimeWalk(descending=True, above=None, below=(middle, seq))),
        "deep, towards the newest": page(TimeWalk(descending=False, above=(middle, seq), below=None)),
        "two days": page(TimeWalk(descending=True, above=(middle, -1), below=(middle + 2 * DAY_US, 0))),
        "two days, towards the newest": page(
            TimeWalk(descending=False, above=(middle, -1), below=(middle + 2 * DAY_US, 0))
        ),
        "since": page(TimeWalk(descending=True, above=(middle, -1), below=None)),
        "until": page(TimeWalk(descending=False, above=None, below=(middle, 0))),
    }


def nodes_of(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes_of(child)


def literal(value: object) -> str:
    return f"'{value.isoformat()}'::timestamptz" if isinstance(value, datetime) else str(value)


async def explain(connection: ReaderConnection, log_id: int, statement: Statement) -> list[dict[str, Any]]:
    """The nodes of the plan that this connection keeps for the statement, as executed for a log."""
    name = f"page_{abs(hash(statement.sql))}"
    await connection.execute(open_log(log_id))
    if not await connection.fetchval("select exists (select from pg_prepared_statements where name = $1)", name):
        await connection.execute(f"prepare {name} as {statement.sql}")
    arguments = ", ".join(map(literal, statement.arguments))
    text = await connection.fetchval(f"explain (analyze, format json) execute {name} ({arguments})")
    await connection.execute("rollback")
    return list(nodes_of(json.loads(text)[0]["Plan"]))


def touched(nodes: list[dict[str, Any]]) -> int:
    """How many rows the scans looked at, those that they threw away included."""
    return round(
        sum(
            (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
            for node in nodes
            if node["Node Type"] in _INDEX_SCANS
        )
    )


async def test_every_page_walks_the_index_and_touches_little(
    database: Database, owner: Connection, logs: tuple[int, int, int]
) -> None:
    small, large, other = logs
    begin = await owner.fetchval("select min(received_at) from tallystick.events")
    async with database.reader.acquire() as connection:
        assert await connection.fetchval("select current_user") == "tallystick_reader"
        for name, statement in statements(round(begin.timestamp() * 1_000_000)).items():
            for log_id in (small, large, other):
                nodes = await explain(connection, log_id, statement)
                kinds = {node["Node Type"] for node in nodes}
                assert kinds <= _INDEX_SCANS | _HARMLESS, (name, kinds)
                assert touched(nodes) <= 10 * PAGE, (name, touched(nodes))
                if log_id == large:
                    assert nodes[0]["Actual Rows"] == PAGE + 1, name


async def test_a_lower_bound_prunes_partitions(
    database: Database, owner: Connection, logs: tuple[int, int, int]
) -> None:
    _, large, _ = logs
    newest = await owner.fetchval("select max(received_at) from tallystick.events")
    since = round(newest.timestamp() * 1_000_000) - HOUR_US
    bounded = by_time(TimeWalk(descending=True, above=(since, -1), below=None), limit=PAGE, budget=BUDGET)
    async with database.reader.acquire() as connection:
        nodes = await explain(connection, large, bounded)
    scanned = {node["Relation Name"] for node in nodes if node["Node Type"] in _INDEX_SCANS}
    assert f"events_{newest:%Y%m%d}" in scanned
    assert len(scanned) < 10


@dataclass(frozen=True)
class Looked:
    """What was looked at in the partitions: whole ones, index ranges, and rows."""

    sequential: int
    ranges: int
    rows: int


async def looked(database: Database, owner: Connection, reading: Awaitable[object]) -> Looked:
    """What a reading looks at, as PostgreSQL counts it. It must be alone on the only connection of the reader."""

    async def counted() -> Looked:
        async with database.reader.acquire() as connection:
            await connection.execute("select pg_stat_force_next_flush()")
        # What the owner did to lay the scene is counted when its session gets round to it, which must not be later.
        await owner.execute("select pg_stat_force_next_flush()")
        row = await owner.fetchrow(
            "select sum(seq_scan)::bigint as sequential, sum(idx_scan)::bigint as ranges,"
            "       sum(seq_tup_read + idx_tup_fetch)::bigint as rows"
            "  from pg_stat_user_tables where relname like 'events\\_%'"
        )
        assert row is not None
        return Looked(*row)

    before = await counted()
    await reading
    after = await counted()
    return Looked(after.sequential - before.sequential, after.ranges - before.ranges, after.rows - before.rows)


async def test_scattered_events_are_looked_up_one_by_one(
    database: Database, owner: Connection, logs: tuple[int, int, int]
) -> None:
    rows = await owner.fetch("select seq, received_at from tallystick.events where log_id = $1", logs[1])
    places = [(row["seq"], microseconds(row["received_at"])) for row in rows[:: EVENTS // PAGE]][:PAGE]
    for log_id in logs:  # the plan is made for the first of them
        few = await looked(database, owner, read_places(database, log_id, places))
        assert few.sequential == 0
        assert few.ranges <= 2 * PAGE
        assert few.rows <= PAGE
    assert await looked(database, owner, read_places(database, logs[1], places)) == Looked(0, PAGE, PAGE)


@pytest.mark.parametrize("known", [False, True])
async def test_a_stretch_walks_the_index_and_touches_little(
    database: Database, owner: Connection, logs: tuple[int, int, int], *, known: bool
) -> None:
    seq = EVENTS // 2
    arrival = await owner.fetchval(
        "select received_at from tallystick.events where log_id = $1 and seq = $2", logs[1], seq
    )
    since = microseconds(arrival) if known else None
    partitions = await owner.fetchval(
        "select count(*) from pg_inherits where inhparent = 'tallystick.events'::regclass"
    )  # with those made ahead, whose number depends on the day of the month
    for log_id in logs:
        few = await looked(database, owner, read_stretch(database, log_id, seq, since, limit=PAGE, budget=BUDGET))
        assert few.sequential == 0
        assert few.rows <= 10 * PAGE
        assert few.ranges <= partitions - (PARTITIONS // 2 - 1 if known else 0)


async def test_the_assertions_above_can_fail(database: Database, logs: tuple[int, int, int]) -> None:
    _, large, _ = logs
    statement = by_time(TimeWalk(descending=True, above=None, below=None), limit=PAGE + 1, budget=BUDGET)
    async with database.log_session(large) as connection:
        await connection.execute("set local enable_indexscan = off")
        await connection.execute(f"prepare page as {statement.sql}")
        arguments = ", ".join(map(literal, statement.arguments))
        text = await connection.fetchval(f"explain (analyze, format json) execute page ({arguments})")
    kinds = {node["Node Type"] for node in nodes_of(json.loads(text)[0]["Plan"])}
    assert "Sort" in kinds or "Incremental Sort" in kinds
