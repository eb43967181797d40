"""Reads a log in order of occurrence as lines of JSON that PostgreSQL made: nothing is done for each event here."""

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from time import monotonic
from typing import TypeAlias, cast

import orjson

from tallystick.database.pools import Database
from tallystick.log import queries
from tallystick.query.timestamps import microseconds, parse_timestamp
from tallystick.settings import DatabaseSettings
from tallystick.tracing import Tracing

Place: TypeAlias = tuple[int, int]
"""Where an event stands in order of occurrence: that in Unix microseconds, and its seq."""


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


@dataclass(frozen=True, slots=True)
class Pace:
    """How much is read at once. A stretch of a log is read in one transaction, at the pace of who takes it.

    Attributes:
        first: Events of the first stretch.
        least: Events of a stretch for whoever is slow.
        most: For whoever is fast. It takes some milliseconds to plan one, as each partition is looked at.
        seconds: How long a stretch is meant to take.
        most_seconds: How long it may wait for who takes it, in all: for no longer does that hold a snapshot of the
            database. Half of what the database allows, where that is less.
        ahead: Pieces that are read while others are taken, each of 256 KiB at most.
    """

    first: int = 10_000
    least: int = 1_000
    most: int = 100_000
    seconds: float = 1.0
    most_seconds: float = 5.0
    ahead: int = 16

    def within(self, settings: DatabaseSettings) -> "Pace":
        """The same, within the limits of a database."""
        allowed = min(settings.statement_timeout, settings.idle_in_transaction_timeout) / 2
        return replace(self, most_seconds=min(self.most_seconds, allowed))


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


def place_of(line: bytes) -> Place:
    """Where an event stands, by its line."""
    event = cast("dict[str, object]", orjson.loads(line))
    return parse_timestamp(str(event["timestamp"])), cast("int", event["seq"])


def count_lines(lines: bytes) -> int:
    """How many lines there are. From break to break is five times as quick as ``count``, byte by byte."""
    count = at = 0
    while at := lines.find(b"\n", at) + 1:
        count += 1
    return count


async def read_lines(
    database: Database, log_id: int, extent: Extent, pace: Pace | None = None
) -> AsyncGenerator[bytes]:
    """Read events as they are answered, each a line, in pieces of whole lines; no piece is empty.

    What is read waits for who takes it, but inside of a transaction only for so long: then the reading is broken off,
    and begins behind the last line that was read when there is room again.

    Args:
        database: Whose reader role reads.
        log_id: The log.
        extent: What to read.
        pace: How much at once.

    Raises:
        DatabaseDownError: PostgreSQL does not answer.
    """
    pace = (pace or Pace()).within(database.settings)
    pieces: asyncio.Queue[bytes] = asyncio.Queue(pace.ahead)
    reading = asyncio.create_task(_read(database, log_id, extent, pace, pieces))
    try:
        while piece := await pieces.get():
            there = [piece]
            while not pieces.empty() and (piece := pieces.get_nowait()):
                there.append(piece)
            yield b"".join(there)
            for _ in there:
                pieces.task_done()
            if not piece:
                break
        await reading
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


async def _read(database: Database, log_id: int, extent: Extent, pace: Pace, pieces: asyncio.Queue[bytes]) -> None:
    """Put all pieces into a queue, and an empty one at the end."""
    try:
        await _read_stretches(database, log_id, extent, pace, pieces)
    except Exception:
        if not cast("asyncio.Task[None]", asyncio.current_task()).cancelling():  # then nobody takes any
            await pieces.put(b"")  # who takes them comes to see why
        raise
    await pieces.put(b"")


async def _read_stretches(
    database: Database, log_id: int, extent: Extent, pace: Pace, pieces: asyncio.Queue[bytes]
) -> None:
    most = pace.first
    while True:
        began = monotonic()
        stretch = _Stretch(pieces, began + pace.most_seconds)
        ended = await stretch.read(database, log_id, extent, most)
        if ended and stretch.events < most:
            return
        possible = round(pace.seconds * most / max(monotonic() - began, 0.001)) if ended else 0
        # Twice as many at most: what the queue had room for says nothing of who takes it.
        most = min(max(possible, pace.least), 2 * most, pace.most)
        extent = replace(extent, after=place_of(stretch.last[stretch.last.rfind(b"\n", 0, -1) + 1 :]))


class _EnoughError(Exception):
    """A stretch has taken as long as it may."""


class _Stretch:
    """Some events that follow each other, read in one transaction.

    Attributes:
        last: The last piece that was read of them.
        events: How many they are, once it was read whole.
    """

    def __init__(self, pieces: asyncio.Queue[bytes], until: float) -> None:
        self._pieces = pieces
        self._until = until
        self.last = b""
        self.events = 0

    async def read(self, database: Database, log_id: int, extent: Extent, most: int) -> bool:
        """Read up to so many events; false where it was broken off before, behind `last`."""
        try:
            async with database.log_session(log_id) as connection:
                with _told(database.tracing):
                    self.events = await queries.copy_lines(
                        connection, extent.after, extent.until_us, extent.through, most, self._take
                    )
        except _EnoughError:
            # Nothing of the database is held any more: there is time until all is taken.
            await self._pieces.put(self.last)
            await self._pieces.join()
            return False
        return True

    async def _take(self, piece: bytes) -> None:
        self.last = piece
        if (left := self._until - monotonic()) > 0:
            if not self._pieces.full():
                self._pieces.put_nowait(piece)
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._pieces.put(piece)
                return
        raise _EnoughError


@contextmanager
def _told(tracing: Tracing) -> Generator[None]:
    """Tell of a stretch as of any statement, of which the driver tells nothing; to break it off is no error."""
    began, error = monotonic(), None
    try:
        yield
    except Exception as failure:
        error = None if isinstance(failure, _EnoughError) else type(failure).__name__
        raise
    finally:
        tracing.statement("copy tallystick.log_events", monotonic() - began, error)
