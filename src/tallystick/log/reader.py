"""Reads a log: one event by its id, a page by time, a stretch by seq. Every read passes the principal's narrowing."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, cast

import orjson

from tallystick.database.pools import Database
from tallystick.errors import GoneError, NotFoundError
from tallystick.followers.model import LoggedEvent
from tallystick.log import queries
from tallystick.log.identity import parse_id
from tallystick.log.queries import Chunk, PlacedEvent, Removed, StoredEvent, TimeWalk
from tallystick.query.ast import Everything, Node, OccurredBetween, canonical, conjunction
from tallystick.query.cursor import CursorCodec, Position
from tallystick.query.predicate import Predicate, compile_predicate
from tallystick.query.timestamps import moment
from tallystick.settings import Settings

MAX_LIMIT: Final = 1000
DEFAULT_LIMIT: Final = 50

PAGE_BYTES: Final = 8 * 1024 * 1024
"""A page ends after so many bytes of bodies, full or not; so does each reading for it."""

SCAN_BYTES: Final = 64 * 1024 * 1024
"""A filtered read ends after so many bytes of bodies, beside its limit of rows."""

_FIRST_CHUNK: Final = 200
_LARGEST_CHUNK: Final = 2_000
_SLICE_ROWS: Final = 250
_SLICE_BYTES: Final = 512 * 1024

Order: TypeAlias = Literal["newest", "oldest", "seq"]


@dataclass(frozen=True, slots=True)
class ListQuery:
    """What a listing asks for.

    Attributes:
        filters: Which events.
        order: By occurrence, newest or oldest first, or by seq.
        from_us: Occurred at or after, in Unix microseconds.
        to_us: Occurred before, in Unix microseconds.
        limit: Most events of a page, 1 to `MAX_LIMIT`.
        after_seq: Where a listing by seq starts, exclusive; -1 is the beginning.
        cursor: Where to go on, as a page of the same query answered; it takes the place of `after_seq`.
    """

    filters: Node = Everything()  # noqa: RUF009  # frozen, and without state
    order: Order = "newest"
    from_us: int | None = None
    to_us: int | None = None
    limit: int = DEFAULT_LIMIT
    after_seq: int = -1
    cursor: str | None = None

    @property
    def occurred(self) -> Node | None:
        """The time range as a filter; None where it has no end."""
        if self.from_us is None and self.to_us is None:
            return None
        return OccurredBetween(self.from_us, self.to_us)


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a listing.

    Attributes:
        items: Events as they are answered.
        next: Cursor of the page after it; None at the end, and only there.
        prev: Cursor of the page before it, or None.
        after_seq: By seq only: every event up to here, from where the page starts, is in it, filtered out or removed;
            so this is where to ask for more.
        removed: By seq and for a principal that is not narrowed only: what retention or cleanup took in between.
    """

    items: tuple[bytes, ...]
    next: str | None
    prev: str | None
    after_seq: int | None = None
    removed: tuple[Removed, ...] | None = None


@dataclass(frozen=True, slots=True)
class FoundEvent:
    """One event as it is answered.

    Attributes:
        item: The bytes of the answer.
        leaf_hash: 32 bytes, which also tell whether a copy of it is current.
    """

    item: bytes
    leaf_hash: bytes


def answer_of(event: StoredEvent | PlacedEvent | LoggedEvent) -> bytes:
    """An event as it is answered: the stored body with its place in front, nothing serialised again."""
    return b'{"seq":%d,"leaf_hash":"%s",%s' % (event.seq, event.leaf_hash.hex().encode(), event.body[1:])


@dataclass(frozen=True, slots=True)
class _Sieve:
    """What an event must pass.

    Attributes:
        predicate: Over the parsed body; None lets all pass unparsed.
        from_us: Occurred at or after, or None.
        to_us: Occurred before, or None.
    """

    predicate: Predicate | None
    from_us: int | None = None
    to_us: int | None = None

    @property
    def open(self) -> bool:
        return self.predicate is None and self.from_us is None and self.to_us is None

    def passes(self, event: StoredEvent) -> bool:
        if self.from_us is not None and event.occurred_us < self.from_us:
            return False
        if self.to_us is not None and event.occurred_us >= self.to_us:
            return False
        return self.predicate is None or self.predicate(cast("Mapping[str, object]", orjson.loads(event.body)))


class _Scan:
    """One page in the making: what was found, how far it was looked, and when to stop."""

    def __init__(self, sieve: _Sieve, limit: int, max_rows: int) -> None:
        self._sieve = sieve
        self._limit = limit
        self._max_rows = max_rows
        self._scanned_rows = 0
        self._scanned_bytes = 0
        self._found_bytes = 0
        self._chunk = _FIRST_CHUNK
        self.found: list[StoredEvent] = []
        self.last: StoredEvent | None = None
        self.ended = False

    @property
    def going_on(self) -> bool:
        """Whether the page wants more, may look for more, and there may be more."""
        looked_enough = self._scanned_rows >= self._max_rows or self._scanned_bytes >= SCAN_BYTES
        return not (self.ended or self._full or looked_enough)

    @property
    def _full(self) -> bool:
        return len(self.found) >= self._limit or self._found_bytes >= PAGE_BYTES

    @property
    def wanted(self) -> int:
        """How many rows to read next. One more than the page still lacks tells whether anything follows it."""
        if self._sieve.open:
            return self._limit - len(self.found) + 1
        return min(self._chunk, self._max_rows - self._scanned_rows)

    async def take(self, chunk: Chunk) -> None:
        """Sift a chunk, in slices between which other requests get their turn.

        A page that is full looks on to the end of what was read: if nothing more passes, it may be the last.
        """
        self._chunk = min(2 * self._chunk, _LARGEST_CHUNK)
        slice_rows = slice_bytes = 0
        for event in chunk.rows:
            if slice_rows >= _SLICE_ROWS or slice_bytes >= _SLICE_BYTES:
                await asyncio.sleep(0)
                slice_rows = slice_bytes = 0
            size = len(event.body)
            slice_rows += 1
            slice_bytes += size
            passes = self._sieve.passes(event)
            if passes and self._full:
                return
            self._scanned_rows += 1
            self._scanned_bytes += size
            self.last = event
            if passes:
                self.found.append(event)
                self._found_bytes += size
        self.ended = chunk.ended


class LogReader:
    """Reads logs by their id. Knows no tenants: who may read what is settled before, and given as a narrowing.

    Each reading is a short transaction of its own, so no snapshot outlives it.

    Args:
        database: Whose reader role reads.
        cursors: Writes and reads the cursors of pages.
        settings: `max_scan` bounds a filtered page.
    """

    def __init__(self, database: Database, cursors: CursorCodec, settings: Settings) -> None:
        self._database = database
        self._cursors = cursors
        self._max_scan = settings.max_scan

    async def get(self, log_id: int, narrowing: Node, event_id: str) -> FoundEvent:
        """Read one event.

        Args:
            log_id: Whose log.
            narrowing: What the principal may see.
            event_id: The event's id.

        Raises:
            NotFoundError: No such event in this log, or none that the principal may see.
            GoneError: It was there and was removed. A narrowed principal is not told.
            DatabaseDownError: PostgreSQL does not answer.
        """
        missing = NotFoundError("there is no event with this id in this tenant")
        event_id = event_id.lower()
        try:
            place = parse_id(event_id)
            moment(place.received_ms * 1000)
        except (ValueError, OverflowError):
            raise missing from None
        found = await queries.read_places(self._database, log_id, [(place.seq, place.received_ms * 1000)])
        if not found:
            if isinstance(narrowing, Everything) and (reason := await self._why_removed(log_id, place.seq)) is not None:
                raise GoneError(f"the event was removed: {reason}")
            raise missing
        (event,) = found
        body: Mapping[str, object] = orjson.loads(event.body)
        if body.get("id") != event_id or not compile_predicate(narrowing)(body):
            raise missing
        return FoundEvent(answer_of(event), event.leaf_hash)

    async def _why_removed(self, log_id: int, seq: int) -> str | None:
        async with self._database.log_session(log_id) as connection:
            return await queries.why_removed(connection, seq)

    async def read_places(self, log_id: int, places: Sequence[tuple[int, int]]) -> dict[int, PlacedEvent]:
        """Read events by seq and arrival (in Unix microseconds), in any order; those removed are left out.

        Nothing is narrowed here: whoever asks judges the bodies.

        Raises:
            DatabaseDownError: PostgreSQL does not answer.
        """
        return {event.seq: event for event in await queries.read_places(self._database, log_id, places)}

    async def by_time(self, log_id: int, query: ListQuery) -> Page:
        """Read one page of all events by occurrence. What filters by time is `search`'s to find.

        Args:
            log_id: Whose log.
            query: What is asked for; it has no filters.

        Raises:
            InvalidError: The cursor is not of this log, principal and query.
            DatabaseDownError: PostgreSQL does not answer.
            ValueError: The query has filters.
        """
        if query.filters != Everything():
            raise ValueError("a listing by time has no filters")
        binding = binding_of(log_id, query.filters, query)
        start = None if query.cursor is None else self._cursors.decode(query.cursor, binding)
        backwards = start is not None and start.backwards
        scan = _Scan(_Sieve(None), query.limit, self._max_scan)
        walk = _walk(query, start)
        while scan.going_on:
            async with self._database.log_session(log_id) as connection:
                statement = queries.by_time(walk, limit=scan.wanted, budget=PAGE_BYTES)
                chunk = await queries.read_chunk(connection, statement)
            await scan.take(chunk)
            if scan.last is not None:
                walk = _beyond(walk, (scan.last.occurred_us, scan.last.seq))
        onward = self._onward(scan, walk, binding, backwards=backwards)
        back = None if start is None else self._back(scan, start, walk, binding)
        found = reversed(scan.found) if backwards else scan.found
        items = tuple(map(answer_of, found))
        return Page(items, next=back, prev=onward) if backwards else Page(items, next=onward, prev=back)

    def _onward(self, scan: _Scan, walk: TimeWalk, binding: bytes, *, backwards: bool) -> str | None:
        """The cursor that goes on where the scan stopped."""
        edge = walk.below if walk.descending else walk.above
        if scan.ended or edge is None:
            return None
        return self._cursors.encode(Position(backwards, *edge), binding)

    def _back(self, scan: _Scan, start: Position, walk: TimeWalk, binding: bytes) -> str:
        """The cursor that turns round: before what is shown, or else where this page started, that event included."""
        if scan.found:
            edge = (scan.found[0].occurred_us, scan.found[0].seq)
        else:
            edge = (start.occurred_us, start.seq - 1 if walk.descending else start.seq + 1)
        return self._cursors.encode(Position(not start.backwards, *edge), binding)

    async def by_seq(self, log_id: int, narrowing: Node, query: ListQuery) -> Page:
        """Read one page in the order in which events were taken.

        A filtered page ends after `max_scan` events looked at, full or not, and then has a `next` to go on from.

        Args:
            log_id: Whose log.
            narrowing: What the principal may see; it joins the query's filters.
            query: What is asked for.

        Raises:
            InvalidError: The cursor is not of this log, principal and query.
            DatabaseDownError: PostgreSQL does not answer.
        """
        wanted = conjunction(query.filters, narrowing)
        predicate = None if isinstance(wanted, Everything) else compile_predicate(wanted)
        binding = binding_of(log_id, wanted, query)
        start = None if query.cursor is None else self._cursors.decode(query.cursor, binding)
        scan = _Scan(_Sieve(predicate, query.from_us, query.to_us), query.limit, self._max_scan)
        after_seq = query.after_seq if start is None else start.seq
        through, received_us = after_seq, None if start is None else start.received_us
        while scan.going_on:
            chunk, size = await queries.read_stretch(
                self._database, log_id, through, received_us, limit=scan.wanted, budget=PAGE_BYTES
            )
            await scan.take(chunk)
            if scan.last is not None:
                through, received_us = scan.last.seq, scan.last.received_us
            if scan.ended:
                through = max(through, size - 1)
        removed = None
        if isinstance(narrowing, Everything):
            async with self._database.log_session(log_id) as connection:
                removed = tuple(await queries.read_removed(connection, after_seq, through))
        onward = None
        if not scan.ended:
            position = Position(backwards=False, occurred_us=0, seq=through, received_us=received_us or 0)
            onward = self._cursors.encode(position, binding)
        return Page(tuple(map(answer_of, scan.found)), onward, None, through, removed)


def binding_of(log_id: int, wanted: Node, query: ListQuery) -> bytes:
    """What the cursors of a listing hold for: its log, all that an event must match, its order and time range."""
    return json.dumps([log_id, query.order, query.from_us, query.to_us, canonical(wanted)]).encode()


def _walk(query: ListQuery, start: Position | None) -> TimeWalk:
    """The walk that a page takes: over the query's time range, from the cursor on."""
    above = None if query.from_us is None else (query.from_us, -1)
    below = None if query.to_us is None else (query.to_us, 0)
    newest_first = query.order == "newest"
    if start is None:
        return TimeWalk(newest_first, above, below)
    return _beyond(TimeWalk(newest_first != start.backwards, above, below), (start.occurred_us, start.seq))


def _beyond(walk: TimeWalk, edge: tuple[int, int]) -> TimeWalk:
    """The rest of a walk that has come to `edge`."""
    return TimeWalk(walk.descending, *((walk.above, edge) if walk.descending else (edge, walk.below)))
