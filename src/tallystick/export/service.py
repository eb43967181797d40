"""Reads exports piece by piece, in short transactions: a slow client holds a snapshot for seconds at most."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AbstractContextManager
from dataclasses import replace
from time import monotonic
from typing import Final

from tallystick.database.pools import Database
from tallystick.errors import Flaw, GoneError, InvalidError, NotFoundError, SearchDownError
from tallystick.export.admission import Admission
from tallystick.export.formats import Layout, layout
from tallystick.export.model import ExportQuery
from tallystick.log.lines import Extent, Place, count_lines, occurred_before, place_of, read_lines
from tallystick.log.query_string import refuse
from tallystick.log.reader import MAX_LIMIT, LogReader, answer_of
from tallystick.log.source import LogSource
from tallystick.log.turns import give_way
from tallystick.query.ast import Everything, Node, conjunction
from tallystick.search.model import SearchQuery
from tallystick.search.service import SearchService

_BEHIND_SECONDS: Final = 60
"""How long an export that has begun waits for an index that fell behind."""


class Export:
    """An export that can be sent.

    Args:
        through: It is complete through this seq.
        written: How pages are written.
        first: The first page, empty where there is none.
        pages: Those after it.

    Attributes:
        through: It is complete through this seq; -1 for an empty log. Later events are not in it.
        pieces: Its bytes, piece by piece; never an empty one.
        events: How many events were read for the pieces so far: no fewer than are in them.
    """

    def __init__(self, through: int, written: Layout, first: bytes, pages: AsyncGenerator[bytes]) -> None:
        self.through = through
        self.events = 0
        self.pieces = self._pieces(written, first)
        self._pages = pages

    async def aclose(self) -> None:
        """Read no further; whatever was being read is given up."""
        await self.pieces.aclose()
        await self._pages.aclose()

    async def _pieces(self, written: Layout, first: bytes) -> AsyncGenerator[bytes]:
        if begun := written.begin():
            yield begun
        lines = first
        while lines:
            self.events += count_lines(lines)  # before they are sent: whoever leaves may have some of them
            for piece in written.page(lines):
                yield piece
                await give_way()
            lines = await anext(self._pages, b"")
        if ended := written.end():
            yield ended


class ExportService:
    """Exports logs. Knows no tenants: who may read what is given as a narrowing.

    Args:
        database: Whose reader role reads what has no filters.
        reader: Reads the event that an export goes on after.
        search: Finds what has filters.
        most: Exports that may be let in at once; they share one process with everything else.
    """

    def __init__(self, database: Database, reader: LogReader, search: SearchService, most: int) -> None:
        self._database = database
        self._source = LogSource(database)
        self._reader = reader
        self._search = search
        self._admission = Admission(most, "too many exports are on their way in this process; try again")

    def admitted(self, client: str) -> AbstractContextManager[None]:
        """Let an export in until the block ends.

        Args:
            client: Who asks for it.

        Raises:
            OverloadedError: As many as may be are on their way, of all clients or of this one.
        """
        return self._admission.admitted(client)

    async def end_of(self, log_id: int, query: ExportQuery) -> int:
        """Settle the seq that an export is complete through: the one asked for, or else the newest.

        Raises:
            InvalidError: It lies beyond the log.
            DatabaseDownError: PostgreSQL does not answer.
        """
        newest = await self._source.size(log_id) - 1
        if query.through is not None and query.through > newest:
            refuse([Flaw(f"must be up to {newest}, the newest seq of this log", parameter="through_seq")])
        return newest if query.through is None else query.through

    async def open(self, log_id: int, narrowing: Node, query: ExportQuery) -> Export:
        """Begin an export; its first page is read, so that what cannot be answered is refused before anything is sent.

        Events come in order of occurrence, the oldest first. The end is settled here: what arrives later is not in it.

        Args:
            log_id: Whose log.
            narrowing: What the principal may see; it joins the query.
            query: What is asked for.

        Raises:
            InvalidError: `through` lies beyond the log, or `after_id` is no event of it.
            SearchDownError: The index does not answer, or is too far behind.
            DatabaseDownError: PostgreSQL does not answer.
        """
        through = await self.end_of(log_id, query)
        after = None if query.after_id is None else await self._place_of(log_id, narrowing, query.after_id)
        wanted = conjunction(query.search.listing.filters, query.search.text, narrowing)
        bounds = (query.search.listing.to_us, await occurred_before(self._database, log_id, through))
        listing = replace(
            query.search.listing,
            order="oldest",
            limit=MAX_LIMIT,
            to_us=min((bound for bound in bounds if bound is not None), default=None),
        )
        if isinstance(wanted, Everything):
            begins = (after, None if listing.from_us is None else (listing.from_us, -1))
            begin = max((place for place in begins if place is not None), default=None)
            pages = read_lines(self._database, log_id, Extent(begin, listing.to_us, through))
        else:
            pages = self._found(log_id, narrowing, replace(query.search, listing=listing), through, after)
        first = await anext(pages, b"")
        written = layout(query.format, through, query.columns, goes_on=after is not None)
        return Export(through, written, first, pages)

    async def _place_of(self, log_id: int, narrowing: Node, event_id: str) -> Place:
        try:
            found = await self._reader.get(log_id, narrowing, event_id)
        except (NotFoundError, GoneError):
            flaw = Flaw("is no event of this log that you may see; start anew without it", parameter="after_id")
            raise InvalidError("the export cannot go on there", flaws=[flaw]) from None
        return place_of(found.item)

    async def _found(
        self, log_id: int, narrowing: Node, query: SearchQuery, through: int, after: Place | None
    ) -> AsyncGenerator[bytes]:
        """Pieces of what a search finds, as `read_lines` gives them."""
        patient_until = monotonic()  # until it has begun, its client can be told to come again
        while True:
            found = await self._search.find(log_id, narrowing, query, after)
            if not found.complete and found.indexed_through < through:
                # An event may be missing: the index has to come nearer before anybody is told that this is all.
                if monotonic() >= patient_until:
                    raise SearchDownError("the search index is too far behind to tell all; try again", retry_after=30)
                await asyncio.sleep(1)
                continue
            patient_until = monotonic() + _BEHIND_SECONDS
            items = [answer_of(event) + b"\n" for event in found.events if event.seq <= through]
            if items:
                yield b"".join(items)
            if not found.more:
                return
            last = found.looked_at[-1]
            after = (last.occurred_us, last.seq)
