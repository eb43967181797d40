"""Reads a log in order of occurrence as lines of JSON that PostgreSQL made: nothing is done for each event here."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final, TypeAlias

from tallystick.database.pools import Database
from tallystick.log import queries
from tallystick.query.timestamps import microseconds, moment

PAGE_EVENTS: Final = 5_000
PAGE_BYTES: Final = 4 * 1024 * 1024

_AHEAD: Final = 2
"""Pages that are made while another is sent: each takes a connection, and one more tells how far the next reaches, at
the same time: to begin with that only when a page was sent made an export a sixth slower."""

Place: TypeAlias = tuple[int, int]
"""Where an event stands in order of occurrence: that in Unix microseconds, and its seq."""

Span: TypeAlias = tuple[Place | None, Place]
"""Where a page begins, exclusive, and ends."""


@dataclass(frozen=True, slots=True)
class Extent:
    """What to read of a log.

    Attributes:
        after: Occurrence in Unix microseconds and seq, exclusive; None starts.
        until_us: Only what occurred before, in Unix microseconds, or None.
        through: Only events up to this seq.
    """

    after: Place | None
    until_us: int | None
    through: int


async def occurred_before(database: Database, log_id: int, through: int) -> int | None:
    """The moment before which all events up to a seq occurred, in Unix microseconds: an hour after that one's arrival.

    It spares whoever reads up to that seq, in order of occurrence, what came later. None where it cannot be told.

    Raises:
        DatabaseDownError: PostgreSQL does not answer.
    """
    chunk, _ = await queries.read_stretch(database, log_id, through - 1, None, limit=1, budget=1)
    if not chunk.rows:
        return None
    return microseconds(chunk.rows[0].received_at + queries.EARLIEST_ARRIVAL) + 1


async def read_lines(database: Database, log_id: int, extent: Extent) -> AsyncGenerator[bytes]:
    """Read events as they are answered, one a line, page by page; no line break after the last of a page.

    Each page is a short transaction of its own. Pages are not empty.

    Args:
        database: Whose reader role reads.
        log_id: The log.
        extent: What to read.

    Raises:
        DatabaseDownError: PostgreSQL does not answer.
    """
    pages: deque[asyncio.Task[bytes]] = deque()
    async with aclosing(_pages(database, log_id, extent)) as spans:
        measuring = asyncio.create_task(_next(spans))
        try:
            while span := await measuring:
                measuring = asyncio.create_task(_next(spans))
                pages.append(asyncio.create_task(_read(database, log_id, *span, extent.through)))
                if len(pages) > _AHEAD and (lines := await pages.popleft()):
                    yield lines
            while pages:
                if lines := await pages.popleft():
                    yield lines
        finally:
            for task in (measuring, *pages):
                task.cancel()
            await asyncio.gather(measuring, *pages, return_exceptions=True)


async def _next(spans: AsyncGenerator[Span]) -> Span | None:
    return await anext(spans, None)


async def _pages(database: Database, log_id: int, extent: Extent) -> AsyncGenerator[Span]:
    after = extent.after
    until = None if extent.until_us is None else moment(extent.until_us)
    while True:
        (row,) = await database.log_fetch(
            "measure_lines", log_id, *_begin(after), until, extent.through, PAGE_EVENTS, PAGE_BYTES
        )
        if row["events"] == 0:
            return
        last = (microseconds(row["last_occurred"]), row["last_seq"])
        yield after, last
        if row["events"] < PAGE_EVENTS and row["bytes"] < PAGE_BYTES:
            return
        after = last


async def _read(database: Database, log_id: int, after: Place | None, last: Place, through: int) -> bytes:
    (row,) = await database.log_fetch("read_lines", log_id, *_begin(after), moment(last[0]), last[1], through)
    return row["lines"] or b""


def _begin(after: Place | None) -> tuple[object, int]:
    return (None, -1) if after is None else (moment(after[0]), after[1])
