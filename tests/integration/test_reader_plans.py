"""No unfiltered read sorts a log, nor touches more than ten times its page: as the reader role, through the view."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any, cast

import pytest

from factories import make_log
from stored_events import DAY_US, HOUR_US, Connection, Row, partitions_back, put
from tallystick.database.pools import Connection as ReaderConnection
from tallystick.database.pools import Database, open_log
from tallystick.log.queries import Statement, TimeWalk, by_places, by_seq, by_time
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
        "by seq": by_seq(seq, None, limit=PAGE + 1, budget=BUDGET),
        "by seq, bounded": by_seq(seq, middle, limit=PAGE + 1, budget=BUDGET),
    }


def nodes_of(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes_of(child)


def literal(value: object) -> str:
    if isinstance(value, list):
        return f"array[{', '.join(map(literal, cast('list[object]', value)))}]"
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
    bounded = [
        by_time(TimeWalk(descending=True, above=(since, -1), below=None), limit=PAGE, budget=BUDGET),
        by_seq(EVENTS - 10, since, limit=PAGE, budget=BUDGET),
    ]
    async with database.reader.acquire() as connection:
        for statement in bounded:
            nodes = await explain(connection, large, statement)
            scanned = {node["Relation Name"] for node in nodes if node["Node Type"] in _INDEX_SCANS}
            assert f"events_{newest:%Y%m%d}" in scanned
            assert len(scanned) < 10


async def test_scattered_events_are_looked_up_one_by_one(
    database: Database, owner: Connection, logs: tuple[int, int, int]
) -> None:
    _, large, _ = logs
    rows = await owner.fetch("select seq, received_at from tallystick.events where log_id = $1", large)
    places = [(row["seq"], microseconds(row["received_at"])) for row in rows[:: EVENTS // PAGE]][:PAGE]
    async with database.reader.acquire() as connection:
        nodes = await explain(connection, large, by_places(places))
    assert {node["Node Type"] for node in nodes} <= _INDEX_SCANS | {"Nested Loop", "Function Scan", "Append", "Limit"}
    assert nodes[0]["Actual Rows"] == PAGE
    assert touched(nodes) == PAGE
    looked_into = sum(node["Actual Loops"] for node in nodes if node["Node Type"] in _INDEX_SCANS)
    assert looked_into <= 2 * PAGE


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
