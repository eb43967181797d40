"""Indexes that stand still behind their log, though the follower is ahead of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import asyncpg
import pytest

from stored_events import put_cursor
from tallystick.database.pools import Database
from tallystick.errors import DatabaseDownError
from tallystick.search.follower import NAME
from tallystick.search.losses import Losses

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

HEAD = 49


@dataclass
class Reports:
    """What was reported, the first so many times in vain."""

    in_vain: int = 0
    logs: list[int] = field(default_factory=list[int])

    async def __call__(self, log_id: int) -> None:
        self.logs.append(log_id)
        if len(self.logs) <= self.in_vain:
            raise DatabaseDownError("away", retry_after=1)


@pytest.mark.parametrize(
    ("rest", "throughs", "reported"),
    [
        (0.0, [-1, -1, -1, -1], 1),
        (0.0, [-1], 0),
        (0.0, [10, 11, 12, 13], 0),
        (0.0, [10, 11, 11], 1),
        (0.0, [-1, -1, HEAD, -1, -1], 2),
        (3_600.0, [-1, -1, -1], 0),
    ],
    ids=["once", "seen first", "moves", "stops", "again", "a moment ago"],
)
async def test_a_loss_is_reported_once_it_stands_still(
    database: Database, owner: Connection, log_id: int, rest: float, throughs: Sequence[int], reported: int
) -> None:
    await put_cursor(owner, NAME, log_id, HEAD)
    report = Reports()
    losses = Losses(database, report, rest)
    for through in throughs:
        await losses.look(log_id, through, HEAD)
    assert report.logs == [log_id] * reported


async def test_what_no_follower_has_handled_is_no_loss(database: Database, owner: Connection, log_id: int) -> None:
    report = Reports()
    losses = Losses(database, report, 0.0)
    for _ in range(3):
        await losses.look(log_id, 19, HEAD)
    await put_cursor(owner, NAME, log_id, 19)
    await losses.look(log_id, 19, HEAD)
    assert report.logs == []


async def test_a_loss_that_cannot_be_reported_fails_no_search_and_is_reported_later(
    database: Database, owner: Connection, log_id: int
) -> None:
    await put_cursor(owner, NAME, log_id, HEAD)
    report = Reports(in_vain=1)
    losses = Losses(database, report, 0.0)
    for times in (0, 1, 2, 2):
        await losses.look(log_id, -1, HEAD)
        assert report.logs == [log_id] * times
