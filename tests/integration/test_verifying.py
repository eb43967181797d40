"""A log compared with an index that is whole, and with such as are damaged in one way each."""

from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import asyncpg
import orjson
import pytest
import pytest_asyncio

from stored_events import Put, Row, now_us, put, remove
from tallystick.adapters.tantivy.index import TantivyIndex
from tallystick.database.pools import Database
from tallystick.log.source import LogSource
from tallystick.query.analysis import analyse
from tallystick.query.terms import Document
from tallystick.search.verifying import FIRST, Findings, verify
from tallystick.settings import SearchSettings

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


@pytest_asyncio.fixture
async def index(tmp_path: Path) -> AsyncGenerator[TantivyIndex]:
    async with TantivyIndex(tmp_path, SearchSettings()) as opened:
        yield opened


async def fill(owner: Connection, log_id: int, events: int) -> list[Put]:
    """Events of which each has words of its own; by threes they occurred at one moment."""
    now = now_us()
    return await put(
        owner,
        log_id,
        [
            Row(
                now,
                now - 1_000 * (number // 3),
                {"action": f"step.n{number}", "metadata": {"order": f"needle {number}", "items": number}},
            )
            for number in range(events)
        ],
    )


def documents(events: Sequence[Put]) -> list[Document]:
    return [analyse(each.seq, each.received_us, each.occurred_us, orjson.loads(each.body)) for each in events]


async def compare(
    database: Database, index: TantivyIndex, log_id: int, quarantined: Sequence[int] = ()
) -> tuple[Findings, list[tuple[int, int]]]:
    told: list[tuple[int, int]] = []
    findings = await verify(
        index, LogSource(database), log_id, quarantined, lambda done, total: told.append((done, total))
    )
    return findings, told


async def test_a_whole_index_agrees(database: Database, owner: Connection, log_id: int, index: TantivyIndex) -> None:
    events = await fill(owner, log_id, 2_100)
    await index.append(log_id, documents(events), through=2_099)
    findings, told = await compare(database, index, log_id)
    assert findings == Findings(2_099, events=2_100, sampled=42)
    assert findings.agree
    assert told == sorted(told)
    assert told[-1] == (4_200, 4_200)


async def test_what_the_index_does_not_claim_is_not_missing(
    database: Database, owner: Connection, log_id: int, index: TantivyIndex
) -> None:
    assert (await compare(database, index, log_id))[0] == Findings(-1)
    events = await fill(owner, log_id, 30)
    assert (await compare(database, index, log_id))[0] == Findings(-1)
    await index.append(log_id, documents(events[:10]), through=9)
    assert (await compare(database, index, log_id))[0] == Findings(9, events=10, sampled=10)


def without(*seqs: int) -> Callable[[list[Document]], list[Document]]:
    return lambda whole: [each for each in whole if each.seq not in seqs]


def moved(whole: list[Document]) -> list[Document]:
    return [each._replace(occurred_us=each.occurred_us + (each.seq == 7)) for each in whole]


def late(whole: list[Document]) -> list[Document]:
    return [each._replace(received_us=each.received_us + (each.seq == 7)) for each in whole]


def twice(whole: list[Document]) -> list[Document]:
    return [*whole[:8], *whole[7:]]


def empty(whole: list[Document]) -> list[Document]:
    return [each._replace(text="", paths="") if each.seq == 8 else each for each in whole]


def without_numbers(whole: list[Document]) -> list[Document]:
    kept = " ".join(term for term in whole[8].terms.split() if not term.startswith("#"))
    return [each._replace(terms=kept) if each.seq == 8 else each for each in whole]


def swapped(whole: list[Document]) -> list[Document]:
    """Two events that occurred at one moment have each other's words."""
    first, second = whole[6], whole[8]
    changed = {6: second._replace(seq=6), 8: first._replace(seq=8)}
    return [changed.get(each.seq, each) for each in whole]


@pytest.mark.parametrize(
    ("damage", "fault", "seqs"),
    [
        (without(7), "missing", [7]),
        (without(0, 39), "missing", [0, 39]),
        (without(*range(30)), "missing", list(range(30))),
        (moved, "altered", [7]),
        (late, "altered", [7]),
        (twice, "doubled", [7]),
        (empty, "unfindable", [8]),
        (without_numbers, "unfindable", [8]),
        (swapped, "unfindable", [6, 8]),
    ],
)
async def test_damage_is_found_and_named(
    database: Database,
    owner: Connection,
    log_id: int,
    index: TantivyIndex,
    damage: Callable[[list[Document]], list[Document]],
    fault: str,
    seqs: list[int],
) -> None:
    events = await fill(owner, log_id, 40)
    await index.append(log_id, damage(documents(events)), through=39)
    findings, _ = await compare(database, index, log_id)
    assert not findings.agree
    found = getattr(findings, fault)
    assert (found.count, found.first) == (len(seqs), seqs[:FIRST])


async def test_what_was_removed_or_quarantined_is_no_fault(
    database: Database, owner: Connection, log_id: int, index: TantivyIndex
) -> None:
    events = await fill(owner, log_id, 30)
    await remove(owner, log_id, 0, 4)
    await index.append(log_id, without(0, 1, 2, 12)(documents(events)), through=29)
    findings, _ = await compare(database, index, log_id, [12])
    assert findings == Findings(29, events=25, sampled=24, quarantined=1, removed=2)
    assert findings.agree


async def test_a_log_that_is_an_older_copy_is_told(
    database: Database, owner: Connection, log_id: int, index: TantivyIndex
) -> None:
    events = await fill(owner, log_id, 30)
    await index.append(log_id, documents(events), through=29)
    await owner.execute("delete from tallystick.events where log_id = $1 and seq >= 25", log_id)
    await owner.execute("update tallystick.logs set size = 25 where id = $1", log_id)
    findings, _ = await compare(database, index, log_id)
    assert (findings.events, findings.beyond, findings.removed) == (25, 5, 5)
    assert not findings.agree
