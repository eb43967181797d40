"""Counts what a search would find: by the index, and by the tail behind it."""

import asyncio
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Final

from tallystick.errors import OverloadedError
from tallystick.ports import CountRequest, Counts, EventCounter
from tallystick.query.facets import Facet
from tallystick.query.matching import Prepared, sift
from tallystick.query.ranking import Ranking, merge, ranking_of, top
from tallystick.search.damage import ReportDamage, damage_reported
from tallystick.search.tail import Tails

_MOST_RUNNING: Final = 16


class CountService:
    """Counts events of logs. Knows no tenants: who may read what is part of the query.

    An event counts from the moment it is acknowledged, as it is found from then on.

    Args:
        index: Counts what it holds.
        tails: What it does not hold yet.
        report_damage: Called when an index turns out to be damaged.
    """

    def __init__(self, index: EventCounter, tails: Tails, report_damage: ReportDamage) -> None:
        self._index = index
        self._tails = tails
        self._report_damage = report_damage
        self._running = 0

    async def count(self, log_id: int, request: CountRequest) -> Counts:
        """Count the events that match.

        While more events wait to be indexed than a search looks at itself, only those in the index are counted, and
        `through` says so.

        Raises:
            OverloadedError: As many counts as may be are on their way in this process.
            SearchDownError: The index does not answer, or is being made anew.
            DatabaseDownError: PostgreSQL does not answer.
        """
        if self._running >= _MOST_RUNNING:
            raise OverloadedError("too many events are being counted in this process; try again", retry_after=1)
        self._running += 1
        try:
            return await self._count(log_id, request)
        finally:
            self._running -= 1

    async def _count(self, log_id: int, request: CountRequest) -> Counts:
        async with damage_reported(self._report_damage, log_id):
            indexed, head = await asyncio.gather(self._index.count(log_id, request), self._tails.head(log_id))
        tail = await self._tails.between(log_id, indexed.through, head)
        if not tail.complete or not tail.documents:
            through = indexed.through if not tail.complete else max(indexed.through, head)
            return Counts(indexed.total, indexed.rankings, indexed.buckets, through)
        fresh = sift(request.query, tail.documents)
        rankings: dict[Facet, Ranking] = {
            facet: merge([ranking, ranking_of(map(attrgetter(facet), fresh))])
            for facet, ranking in indexed.rankings.items()
        }
        if request.top < request.values and any(
            top(ranking, request.top).exact and not top(rankings[facet], request.top).exact
            for facet, ranking in indexed.rankings.items()
        ):
            # A value that the index had no reason to count became one of the most frequent by the tail.
            return await self._count(log_id, replace(request, top=request.values))
        return Counts(
            total=indexed.total + len(fresh),
            rankings=rankings,
            buckets=_add(indexed.buckets, request.edges, fresh),
            through=max(head, tail.documents[-1].seq),
        )


def _add(buckets: tuple[int, ...], edges: Sequence[int], documents: Sequence[Prepared]) -> tuple[int, ...]:
    counts = list(buckets)
    for document in documents:
        if edges and edges[0] <= document.occurred_us < edges[-1]:
            counts[bisect_right(edges, document.occurred_us) - 1] += 1
    return tuple(counts)
