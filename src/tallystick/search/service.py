"""Answers listings: filters and words from the index and the tail behind it, everything else from the log itself."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final, cast

import orjson
from prometheus_client import CollectorRegistry

from tallystick.log.queries import PlacedEvent
from tallystick.log.reader import PAGE_BYTES, ListQuery, LogReader, Page, answer_of, binding_of
from tallystick.ports import Hit, SearchIndex, SearchOrder, SearchRequest
from tallystick.query.ast import Everything, Node, conjunction
from tallystick.query.cursor import CursorCodec, Position
from tallystick.query.highlighting import highlight, words_of
from tallystick.query.lowering import lower
from tallystick.query.matching import Prepared, sift
from tallystick.query.predicate import Predicate, compile_predicate
from tallystick.search.damage import ReportDamage, damage_reported
from tallystick.search.losses import Losses
from tallystick.search.metrics import SearchMetrics
from tallystick.search.model import Found, SearchPage, SearchQuery
from tallystick.search.tail import Tails

_BODIES: Final = 200
"""Bodies that are read at once."""

_Body = Mapping[str, object]


class SearchService:
    """Lists and finds the events of logs. Knows no tenants: who may read what is given as a narrowing.

    An event is found from the moment it is acknowledged: what the index does not hold yet is looked at directly.

    Args:
        reader: Reads the logs.
        index: Tells where events lie; nothing that it says leaves unread and unjudged.
        tails: What the index does not hold yet.
        cursors: Writes and reads the cursors of pages; the reader's.
        report_damage: Called when an index turns out to be damaged.
        losses: Looks into indexes that stay behind.
        metrics: Where it counts.
    """

    def __init__(
        self,
        reader: LogReader,
        index: SearchIndex,
        tails: Tails,
        cursors: CursorCodec,
        report_damage: ReportDamage,
        losses: Losses,
        metrics: SearchMetrics | None = None,
    ) -> None:
        self._reader = reader
        self._index = index
        self._tails = tails
        self._cursors = cursors
        self._report_damage = report_damage
        self._losses = losses
        self._metrics = metrics or SearchMetrics(CollectorRegistry())

    async def page(self, log_id: int, narrowing: Node, query: SearchQuery) -> SearchPage:
        """Answer one page.

        Listings by time without filters, and all by seq, need no index.

        Args:
            log_id: Whose log.
            narrowing: What the principal may see; it joins the query.
            query: What is asked for.

        Raises:
            InvalidError: The cursor is not of this log, principal and query.
            SearchDownError: The index does not answer, or is being made anew.
            DatabaseDownError: PostgreSQL does not answer.
        """
        listing = query.listing
        filters = conjunction(listing.filters, query.text)
        wanted = conjunction(filters, narrowing)
        if listing.order == "seq":
            page = await self._reader.by_seq(log_id, narrowing, replace(listing, filters=filters))
            found = SearchPage(page)
        elif isinstance(wanted, Everything):
            found = SearchPage(await self._reader.by_time(log_id, listing))
        else:
            found = await self._page(log_id, narrowing, query, wanted)
        if not query.highlight:
            return found
        words = words_of(query.text)
        return replace(found, highlights=tuple(highlight(_parse(item), words) for item in found.page.items))

    async def find(self, log_id: int, narrowing: Node, query: SearchQuery, after: tuple[int, int] | None) -> Found:
        """Find the events after a place, through the index and the tail whatever the query.

        Args:
            log_id: Whose log.
            narrowing: What the principal may see; it joins the query.
            query: What is asked for; its cursor is not looked at.
            after: Occurrence in Unix microseconds and seq, exclusive; None starts.

        Raises:
            SearchDownError: The index does not answer, or is being made anew.
            DatabaseDownError: PostgreSQL does not answer.
        """
        listing = query.listing
        wanted = conjunction(listing.filters, query.text, narrowing, listing.occurred)
        order: SearchOrder = "newest" if listing.order == "newest" else "oldest"
        # The last place is not read: it only tells that there is more.
        request = SearchRequest(lower(wanted), order, listing.limit + 1, after)
        async with damage_reported(self._report_damage, log_id):
            hits, head = await asyncio.gather(self._index.search(log_id, request), self._tails.head(log_id))
        await self._losses.look(log_id, hits.through, head)
        since_us = max((hit.received_us for hit in hits.hits), default=None)
        tail = await self._tails.between(log_id, hits.through, head, since_us)
        self._metrics.answered(complete=tail.complete)
        places = _merge(hits.hits, tail.documents, request)
        looked_at, shown = await self._read(log_id, places[: listing.limit], _judge(listing, narrowing))
        return Found(tuple(shown), tuple(looked_at), len(looked_at) < len(places), hits.through, tail.complete)

    async def _page(self, log_id: int, narrowing: Node, query: SearchQuery, wanted: Node) -> SearchPage:
        listing = query.listing
        binding = binding_of(log_id, wanted, listing)
        start = None if listing.cursor is None else self._cursors.decode(listing.cursor, binding)
        backwards = start is not None and start.backwards
        order: SearchOrder = "newest" if (listing.order == "newest") != backwards else "oldest"
        after = None if start is None else (start.occurred_us, start.seq)
        found = await self.find(log_id, narrowing, replace(query, listing=replace(listing, order=order)), after)
        onward = self._cursor(found.looked_at[-1], binding, backwards=backwards) if found.more else None
        back = None if start is None else self._back(start, found.looked_at, order, binding)
        items = tuple(map(answer_of, reversed(found.events) if backwards else found.events))
        page = Page(items, next=back, prev=onward) if backwards else Page(items, next=onward, prev=back)
        return SearchPage(page, found.indexed_through, found.complete)

    async def _read(
        self, log_id: int, places: list[Hit], judge: Predicate | None
    ) -> tuple[list[Hit], list[PlacedEvent]]:
        """Read what lies at places; which of them were looked at before the page was large enough, and what passed."""
        looked_at: list[Hit] = []
        shown: list[PlacedEvent] = []
        size = 0
        for begin in range(0, len(places), _BODIES):
            batch = places[begin : begin + _BODIES]
            events = await self._reader.read_places(log_id, [(place.seq, place.received_us) for place in batch])
            for place in batch:
                if size >= PAGE_BYTES:
                    return looked_at, shown
                looked_at.append(place)
                event = events.get(place.seq)  # None: removed since it was indexed
                if event is not None and (judge is None or judge(_parse(event.body))):
                    shown.append(event)
                    size += len(event.body)
        return looked_at, shown

    def _cursor(self, place: Hit, binding: bytes, *, backwards: bool) -> str:
        return self._cursors.encode(Position(backwards, place.occurred_us, place.seq), binding)

    def _back(self, start: Position, looked_at: Sequence[Hit], order: SearchOrder, binding: bytes) -> str:
        """The cursor that turns round: before what is shown, or else where this page started, that event included."""
        if looked_at:
            return self._cursor(looked_at[0], binding, backwards=not start.backwards)
        seq = start.seq - 1 if order == "newest" else start.seq + 1
        return self._cursors.encode(Position(not start.backwards, start.occurred_us, seq), binding)


def _parse(body: bytes) -> _Body:
    return cast("_Body", orjson.loads(body))


def _judge(listing: ListQuery, narrowing: Node) -> Predicate | None:
    """What each body must pass: what the index claims of filters is checked; what of words, the engines agree about."""
    judged = conjunction(listing.filters, narrowing)
    return None if isinstance(judged, Everything) else compile_predicate(judged)


def _merge(hits: Iterable[Hit], tail: list[Prepared], request: SearchRequest) -> list[Hit]:
    """The first places in order out of the index and the tail."""
    if request.after is not None:  # first, since behind a cursor there is mostly nothing so new
        tail = [document for document in tail if request.reaches(document.occurred_us, document.seq)]
    fresh = [Hit(document.seq, document.received_us, document.occurred_us) for document in sift(request.query, tail)]
    merged = [*hits, *fresh]
    request.sort(merged)
    return merged[: request.limit]
