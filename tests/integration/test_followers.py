"""Followers over a real database: every event in order, through crashes, rivals and events that cannot be handled."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TypeAlias

import asyncpg
import pytest

from factories import make_log
from stored_events import fill_log
from tallystick.database.pools import Database
from tallystick.errors import SearchDownError
from tallystick.followers import queries
from tallystick.followers.embedded import EmbeddedQueue
from tallystick.followers.engine import FollowerEngine, Pace
from tallystick.followers.listening import WakeUpListener
from tallystick.followers.model import RestartLogError, Stretch
from tallystick.log.source import LogSource

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

DEADLINE = 20.0
QUICK = Pace(
    stretch_events=10,
    batch_events=10,
    batch_seconds=0.05,
    few_events=0,
    parallel=3,
    lease_seconds=1.0,
    sweep_seconds=0.2,
)


@dataclass
class Recorder:
    """A follower that remembers what it was handed, and does as it is told."""

    name: str = "recorder"
    seen: dict[int, list[int]] = field(default_factory=dict[int, list[int]])
    through: dict[int, int] = field(default_factory=dict[int, int])
    busy: set[int] = field(default_factory=set[int])
    before: Callable[[int, Stretch], None] = lambda log_id, stretch: None  # noqa: ARG005
    hangs_after: int | None = None
    hanging: bool = False
    handled: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, log_id: int, stretch: Stretch) -> None:
        assert log_id not in self.busy, "two work on one log"
        self.busy.add(log_id)
        try:
            await asyncio.sleep(0)
            self.before(log_id, stretch)
            if self.hangs_after is not None and stretch.after >= self.hangs_after:
                self.hanging = True
                self.handled.set()
                await asyncio.Event().wait()
            self.seen.setdefault(log_id, []).extend(event.seq for event in stretch.events)
            self.through[log_id] = max(stretch.through, self.through.get(log_id, -1))
        finally:
            self.busy.discard(log_id)
            self.handled.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something holds, looked at after each stretch."""
        async with asyncio.timeout(DEADLINE):
            while not condition():
                self.handled.clear()
                await self.handled.wait()


@asynccontextmanager
async def following(database: Database, follower: Recorder, pace: Pace = QUICK) -> AsyncGenerator[FollowerEngine]:
    engine = FollowerEngine(follower, LogSource(database), database, pace)
    listener = WakeUpListener(EmbeddedQueue(database, [follower.name]), [engine], rest=0.02)
    task = asyncio.create_task(listener.run())
    try:
        yield engine
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def cursor_of(database: Database, log_id: int) -> int:
    async with database.worker_session() as connection:
        (lag,) = [lag for lag in await queries.find_lags(connection, ["recorder"]) if lag.log_id == log_id]
    return lag.seq


async def until_cursor(database: Database, log_id: int, seq: int) -> None:
    """Wait until the cursor is there, which comes after the handling."""
    async with asyncio.timeout(DEADLINE):
        while await cursor_of(database, log_id) < seq:  # noqa: ASYNC110  # told by nobody
            await asyncio.sleep(0.02)


async def test_every_event_in_order_and_what_comes_later(database: Database, owner: Connection, log_id: int) -> None:
    recorder = Recorder()
    await fill_log(owner, log_id, 95)
    async with following(database, recorder):
        await recorder.until(lambda: recorder.through.get(log_id) == 94)
        await fill_log(owner, log_id, 5)
        await recorder.until(lambda: recorder.through.get(log_id) == 99)
        await until_cursor(database, log_id, 99)
    assert recorder.seen[log_id] == list(range(100))
    assert await cursor_of(database, log_id) == 99


async def test_a_log_that_grows_slowly_has_fewer_turns(database: Database, owner: Connection, log_id: int) -> None:
    other = await make_log(owner)
    turns: list[int] = []

    def note(turn_of: int, stretch: Stretch) -> None:
        if turn_of == log_id:
            turns.append(len(stretch.events))

    recorder = Recorder(before=note)
    pace = replace(QUICK, few_events=5, few_seconds=10 * DEADLINE, sweep_seconds=10 * DEADLINE)
    await fill_log(owner, log_id, 5)
    async with following(database, recorder, pace):
        await recorder.until(lambda: recorder.through.get(log_id) == 4)
        await fill_log(owner, log_id, 1)
        for turn in range(1, 4):  # meanwhile there would be time for it
            await fill_log(owner, other, 6)
            await recorder.until(lambda turn=turn: recorder.through.get(other) == 6 * turn - 1)
        await fill_log(owner, log_id, 4)
        await recorder.until(lambda: recorder.through.get(log_id) == 9)
    assert turns == [5, 5]


async def test_a_log_whose_cursor_was_moved_back_is_followed_again(
    database: Database, owner: Connection, log_id: int
) -> None:
    recorder = Recorder()
    other = await make_log(owner)
    await fill_log(owner, log_id, 20)
    async with following(database, recorder):
        await until_cursor(database, log_id, 19)
        for turn in range(1, 4):  # what was noticed before is done by then
            await fill_log(owner, other, 1)
            await until_cursor(database, other, turn - 1)
        await owner.execute("update tallystick.cursors set seq = 9, received_at = null where log_id = $1", log_id)
        await until_cursor(database, log_id, 19)
    assert recorder.seen[log_id] == [*range(20), *range(10, 20)]


async def test_a_stretch_whose_cursor_was_not_moved_comes_again(
    database: Database, owner: Connection, log_id: int
) -> None:
    await fill_log(owner, log_id, 30)
    crashed = Recorder(hangs_after=9)
    async with following(database, crashed):
        await crashed.until(lambda: crashed.hanging)
    assert crashed.seen[log_id] == list(range(10))
    recorder = Recorder()
    async with following(database, recorder):
        await recorder.until(lambda: recorder.through.get(log_id) == 29)
    assert recorder.seen[log_id] == list(range(10, 30))


async def test_a_log_is_held_for_as_long_as_its_worker_lives(
    database: Database, owner: Connection, log_id: int
) -> None:
    await fill_log(owner, log_id, 30)
    slow, other = Recorder(hangs_after=9), Recorder()
    pace = replace(QUICK, lease_seconds=0.3)
    async with following(database, slow, pace):
        await slow.until(lambda: slow.hanging)
        async with following(database, other, pace), asyncio.timeout(DEADLINE):
            until = "select leased_until from tallystick.cursors where log_id = $1"
            first = await owner.fetchval(until, log_id)
            while await owner.fetchval(until, log_id) < first + timedelta(seconds=1):  # noqa: ASYNC110  # told by nobody
                await asyncio.sleep(0.02)
    assert not other.seen.get(log_id)


async def test_two_workers_share_the_logs(database: Database, owner: Connection) -> None:
    logs = [await make_log(owner) for _ in range(6)]
    for log_id in logs:
        await fill_log(owner, log_id, 120)
    recorder = Recorder()  # of both: it refuses to be handed one log twice at a time
    async with following(database, recorder), following(database, recorder):
        await recorder.until(lambda: all(recorder.through.get(log_id) == 119 for log_id in logs))
    for log_id in logs:
        assert recorder.seen[log_id] == list(range(120))


async def test_an_event_that_cannot_be_handled_is_put_aside(database: Database, owner: Connection, log_id: int) -> None:
    recorder = Recorder()

    def poisoned(_: int, stretch: Stretch) -> None:
        if any(event.seq in (7, 13) for event in stretch.events):
            raise ValueError("a secret of the event")

    recorder.before = poisoned
    await fill_log(owner, log_id, 30)
    async with following(database, recorder):
        await recorder.until(lambda: recorder.through.get(log_id) == 29)
    assert recorder.seen[log_id] == [seq for seq in range(30) if seq not in (7, 13)]
    rows = await owner.fetch("select seq, error from tallystick.quarantine order by seq")
    assert [tuple(row) for row in rows] == [(7, "builtins.ValueError"), (13, "builtins.ValueError")]


async def test_a_log_whose_engine_is_down_holds_up_no_other(database: Database, owner: Connection, log_id: int) -> None:
    other = await make_log(owner)
    recorder = Recorder()
    down = {log_id}

    def outage(log: int, _: Stretch) -> None:
        if log in down:
            raise SearchDownError("away")

    recorder.before = outage
    for each in (log_id, other):
        await fill_log(owner, each, 30)
    async with following(database, recorder):
        await recorder.until(lambda: recorder.through.get(other) == 29)
        assert log_id not in recorder.through
        down.clear()
        await recorder.until(lambda: recorder.through.get(log_id) == 29)
    assert recorder.seen[log_id] == list(range(30))


async def test_what_failed_comes_again_in_smaller_stretches(database: Database, owner: Connection, log_id: int) -> None:
    sizes: list[int] = []

    def too_much(_log_id: int, stretch: Stretch) -> None:
        sizes.append(len(stretch.events))
        if len(stretch.events) > 30:
            raise SearchDownError("that took too long", retry_after=1)

    recorder = Recorder(before=too_much)
    await fill_log(owner, log_id, 150)
    async with following(database, recorder, replace(QUICK, stretch_events=80)):
        await recorder.until(lambda: recorder.through.get(log_id) == 149)
    assert sizes == [80, 10, 10, 20, 20, 40, 5, 5, 10, 10, 20, 20, 20]
    assert recorder.seen[log_id] == list(range(150))


async def test_a_follower_that_lost_its_state_is_sent_back(database: Database, owner: Connection, log_id: int) -> None:
    recorder = Recorder()
    await fill_log(owner, log_id, 30)
    lost = [True]

    def lose(log: int, stretch: Stretch) -> None:
        if lost and stretch.after >= 19:
            lost.clear()
            recorder.seen[log] = recorder.seen[log][:5]
            raise RestartLogError(4)

    recorder.before = lose
    async with following(database, recorder):
        await recorder.until(lambda: recorder.through.get(log_id) == 29 and not lost)
    assert recorder.seen[log_id] == list(range(30))


async def test_the_log_of_a_dead_worker_is_taken_over(database: Database, owner: Connection, log_id: int) -> None:
    await fill_log(owner, log_id, 20)
    async with database.worker_session() as connection:
        assert await queries.lease(connection, "recorder", log_id, "dead", 0.5) is not None
        assert await queries.lease(connection, "recorder", log_id, "alive", 0.5) is None
    recorder = Recorder()
    async with following(database, recorder):
        await recorder.until(lambda: recorder.through.get(log_id) == 19)
        await until_cursor(database, log_id, 19)
    async with database.worker_session() as connection:
        stale = queries.Cursor(3, None)
        assert not await queries.advance(connection, "recorder", log_id, "dead", stale, 1)
    assert await cursor_of(database, log_id) == 19
