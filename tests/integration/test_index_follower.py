"""From the log into the index: whatever happens to its files, it holds in the end what the log holds."""

import asyncio
import os
import shutil
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import asyncpg
import pytest

from factories import make_log
from search_conformance import all_pages
from stored_events import fill_log, remove
from tallystick.adapters.tantivy.index import TantivyIndex
from tallystick.database.pools import Database
from tallystick.followers import queries
from tallystick.followers.embedded import EmbeddedQueue
from tallystick.followers.engine import FollowerEngine, Pace
from tallystick.followers.listening import WakeUpListener
from tallystick.followers.model import Stretch
from tallystick.log.source import LogSource
from tallystick.query.terms import Consecutive, Document, MatchAll
from tallystick.search.follower import NAME, IndexFollower, Turns, documents_of
from tallystick.settings import SearchSettings

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

DEADLINE = 20.0
PACE = Pace(stretch_events=40, batch_events=40, few_events=0, batch_seconds=0.02, lease_seconds=1.0, sweep_seconds=0.1)
FIELDS: Mapping[str, object] = {"action": "login", "metadata": {"order": "needle 7"}}


@asynccontextmanager
async def indexing(database: Database, root: Path) -> AsyncGenerator[TantivyIndex]:
    """A worker that indexes, until the block ends."""
    async with TantivyIndex(root, SearchSettings()) as index:
        queue = EmbeddedQueue(database, [NAME])
        engine = FollowerEngine(IndexFollower(index, database, Turns()), LogSource(database), database, PACE)
        listener = WakeUpListener(queue, [engine], rest=0.02)
        task = asyncio.create_task(listener.run())
        try:
            yield index
        finally:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task


async def until_indexed(index: TantivyIndex, log_id: int, through: int) -> None:
    async with asyncio.timeout(DEADLINE):
        while (await index.state(log_id)).through < through:  # noqa: ASYNC110  # the index has no signal to wait for
            await asyncio.sleep(0.02)


async def until_followed(database: Database, log_id: int) -> None:
    async with asyncio.timeout(DEADLINE):
        while True:
            async with database.worker_session() as connection:
                (lag,) = [lag for lag in await queries.find_lags(connection, [NAME]) if lag.log_id == log_id]
            if lag.events == 0:
                return
            await asyncio.sleep(0.02)


async def seqs(index: TantivyIndex, log_id: int) -> list[int]:
    return sorted(hit.seq for hit in await all_pages(index, log_id, MatchAll(), "oldest", 37))


async def test_every_event_is_found(database: Database, owner: Connection, log_id: int, tmp_path: Path) -> None:
    await fill_log(owner, log_id, 150, **FIELDS)
    async with indexing(database, tmp_path) as index:
        await until_indexed(index, log_id, 149)
        await fill_log(owner, log_id, 10, action="logout")
        await until_indexed(index, log_id, 159)
        assert await seqs(index, log_id) == list(range(160))
        needle = Consecutive("paths", ("metadata.order=needle", "metadata.order=7"))
        assert len(await all_pages(index, log_id, needle, "newest", 100)) == 150


async def test_what_was_removed_before_is_passed_over(
    database: Database, owner: Connection, log_id: int, tmp_path: Path
) -> None:
    await fill_log(owner, log_id, 100, **FIELDS)
    await remove(owner, log_id, 0, 29)
    await remove(owner, log_id, 90, 99)
    async with indexing(database, tmp_path) as index:
        await until_indexed(index, log_id, 99)
        assert await seqs(index, log_id) == list(range(30, 90))


async def test_an_index_that_was_lost_is_made_anew(
    database: Database, owner: Connection, log_id: int, tmp_path: Path
) -> None:
    await fill_log(owner, log_id, 100, **FIELDS)
    async with indexing(database, tmp_path) as index:
        await until_indexed(index, log_id, 99)
    shutil.rmtree(tmp_path / str(log_id))
    await fill_log(owner, log_id, 1, **FIELDS)
    async with indexing(database, tmp_path) as index:
        await until_indexed(index, log_id, 100)
        assert await seqs(index, log_id) == list(range(101))


@pytest.mark.parametrize(("events", "cursor"), [(60, 29), (33, 20), (31, 29)])
async def test_an_index_of_another_past_is_made_anew(
    database: Database, owner: Connection, log_id: int, tmp_path: Path, events: int, cursor: int
) -> None:
    await fill_log(owner, log_id, events, **FIELDS)
    async with indexing(database, tmp_path) as index:
        await until_indexed(index, log_id, events - 1)
    await restore(owner, log_id, through=29, cursor=cursor)
    await fill_log(owner, log_id, 20, action="logout")
    async with indexing(database, tmp_path) as index:
        await until_followed(database, log_id)
        assert await seqs(index, log_id) == list(range(50))
        assert len(await all_pages(index, log_id, Consecutive("text", ("logout",)), "newest", 100)) == 20


async def test_what_comes_again_and_is_in_quarantine_is_no_other_past(
    database: Database, owner: Connection, log_id: int, tmp_path: Path
) -> None:
    await fill_log(owner, log_id, 20, **FIELDS)
    async with TantivyIndex(tmp_path, SearchSettings()) as index:
        stretch = await LogSource(database).read(log_id, -1, None, limit=100, max_bytes=1 << 20)
        *most, last = await documents_of(stretch.events)
        await index.append(log_id, most, through=last.seq)
        async with database.worker_session() as connection:
            await queries.quarantine(connection, NAME, log_id, last.seq, "builtins.ValueError")
        await IndexFollower(index, database, Turns()).handle(log_id, stretch)
        assert await seqs(index, log_id) == [document.seq for document in most]


async def restore(owner: Connection, log_id: int, *, through: int, cursor: int) -> None:
    """Take a log back to what it was, and its cursor."""
    async with owner.transaction():
        await owner.execute("delete from tallystick.events where log_id = $1 and seq > $2", log_id, through)
        await owner.execute("update tallystick.logs set size = $2 where id = $1", log_id, through + 1)
        await owner.execute(
            "update tallystick.cursors set seq = $2, received_at = null where log_id = $1", log_id, cursor
        )


async def test_a_damaged_index_is_made_anew(database: Database, owner: Connection, log_id: int, tmp_path: Path) -> None:
    await fill_log(owner, log_id, 100, **FIELDS)
    async with indexing(database, tmp_path) as index:
        await until_indexed(index, log_id, 99)
    (tmp_path / str(log_id) / "first" / "rolls.json").write_text("{")
    await fill_log(owner, log_id, 1, **FIELDS)
    async with indexing(database, tmp_path) as index:
        await until_followed(database, log_id)
        assert await seqs(index, log_id) == list(range(101))
    assert sum(".corrupt-" in name for name in os.listdir(tmp_path)) == 1  # noqa: PTH208


class Gate(TantivyIndex):
    """An index that notes which logs are appended to, and lets the first in once the test says so."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, SearchSettings())
        self.begun: list[int] = []
        self.opened = asyncio.Event()

    async def append(self, log_id: int, documents: Sequence[Document], **place: Any) -> int:
        self.begun.append(log_id)
        if log_id == self.begun[0]:
            await self.opened.wait()
        return await super().append(log_id, documents, **place)


@pytest.mark.parametrize("here", [True, False], ids=["in this process", "elsewhere"])
async def test_large_stretches_are_appended_one_after_the_other(
    database: Database, owner: Connection, tmp_path: Path, here: bool
) -> None:
    first, second, small = [await make_log(owner) for _ in range(3)]
    source, stretches = LogSource(database), dict[int, Stretch]()
    for log_id, events in ((first, 20), (second, 20), (small, 19)):
        await fill_log(owner, log_id, events, **FIELDS)
        stretches[log_id] = await source.read(log_id, -1, None, limit=events, max_bytes=1 << 20)
    large = sum(len(event.body) for event in stretches[small].events) + 1
    async with Gate(tmp_path) as index:
        follower = IndexFollower(index, database, Turns(large if here else None))
        tasks = {log_id: asyncio.create_task(follower.handle(log_id, each)) for log_id, each in stretches.items()}
        async with asyncio.timeout(DEADLINE):
            await tasks[small]
            assert index.begun == ([first, small] if here else [first, second, small])
            index.opened.set()
            await asyncio.gather(*tasks.values())
        assert sorted(index.begun) == sorted(stretches)
        assert [len(await seqs(index, log_id)) for log_id in stretches] == [20, 20, 19]
