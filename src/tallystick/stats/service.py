"""Answers statistics: out of rollups where these tell all that is asked, else out of the search index."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Final

from tallystick.database.pools import Connection, Database
from tallystick.ports import CountRequest
from tallystick.query.ast import Node, OccurredBetween, conjunction
from tallystick.query.facets import Facet, read_kind
from tallystick.query.lowering import lower
from tallystick.query.ranking import Ranking, Top, top
from tallystick.search.counting import CountService
from tallystick.stats import queries
from tallystick.stats.model import (
    RANKED,
    By,
    Counted,
    KindFilter,
    Period,
    Source,
    Stats,
    StatsQuery,
    kind_filter,
)

_VALUES: Final = 500
"""Values that an index tells of each facet: more than are shown, so that their sums over its parts are known."""


class StatsService:
    """Counts the events of logs. Knows no tenants: who may read what is given as a narrowing.

    Args:
        database: Whose reader role reads rollups.
        counter: Counts what rollups cannot tell.
    """

    def __init__(self, database: Database, counter: CountService) -> None:
        self._database = database
        self._counter = counter
        # Resources are ranked on a second connection while users are: half of the time that one waits for both. One
        # question at a time holds a connection and waits for another, so that they never wait for each other.
        self._spare = database.settings.reader_connections > 1
        self._beside = asyncio.Lock()

    async def stats(self, log_id: int, narrowing: Node, query: StatsQuery) -> Stats:
        """Count what is asked for.

        Rollups know whole quarters of an hour. They know of each event its kind, or its actor, or its resource: not
        which actors were behind events of one kind.

        Args:
            log_id: Whose log.
            narrowing: What the principal may see; it joins the query.
            query: What is asked for.

        Raises:
            InvalidError: To rank users or resources takes too long.
            SearchDownError: The index does not answer, or is being made anew.
            DatabaseDownError: PostgreSQL does not answer.
        """
        wanted = conjunction(query.filters, narrowing)
        filters = kind_filter(wanted)
        periods = [query.period, *([] if query.previous is None else [query.previous])]
        ranks_some = query.facets and filters != KindFilter()
        if filters is None or ranks_some or not all(period.whole_quarters for period in periods):
            source: Source = "index"
            now, *before = [await self._of_index(log_id, wanted, period, query) for period in periods]
        else:
            source = "rollups"
            now, *before = await self._of_rollups(log_id, filters, periods, query)
        return Stats(source, now, before[0] if before else None)

    async def _of_rollups(
        self, log_id: int, filters: KindFilter, periods: Sequence[Period], query: StatsQuery
    ) -> list[Counted]:
        async with self._database.log_session(log_id) as connection:
            through = await queries.rolled_up_through(connection)
            if through < 0:  # rollups are being made anew
                nothing: dict[By, Top] = dict.fromkeys(query.by, Top((), exact=True))
                return [Counted(each, through, 0, (0,) * (len(each.edges) - 1), nothing) for each in periods]

            async def kinds() -> list[queries.Kinds]:
                return [await queries.count(connection, each.edges, filters, query.top) for each in periods]

            if len(query.facets) > 1 and self._spare and not self._beside.locked():
                first, *others = query.facets
                async with self._beside:
                    snapshot = await queries.export_snapshot(connection)
                    async with _meanwhile(self._rank_beside(log_id, snapshot, periods, others, query.top)) as beside:
                        counted = await kinds()
                        ranked = await _rank(connection, log_id, periods, [first], query.top) | await beside
            else:
                counted = await kinds()
                ranked = await _rank(connection, log_id, periods, query.facets, query.top)
        return [
            Counted(
                each,
                through,
                sum(buckets),
                tuple(buckets),
                {
                    by: Top(tuple(ranked[RANKED[by]][place] if by in RANKED else lists[by]), exact=True)
                    for by in query.by
                },
            )
            for place, (each, (buckets, lists)) in enumerate(zip(periods, counted, strict=True))
        ]

    async def _rank_beside(
        self, log_id: int, snapshot: str, periods: Sequence[Period], facets: Sequence[Facet], most: int
    ) -> queries.Rankings:
        async with self._database.log_session(log_id, snapshot) as connection:
            return await _rank(connection, log_id, periods, facets, most)

    async def _of_index(self, log_id: int, wanted: Node, period: Period, query: StatsQuery) -> Counted:
        occurred = OccurredBetween(period.from_us, period.to_us)
        edges = period.edges if len(period.edges) > 2 else ()  # one bucket is the total
        facets: tuple[Facet, ...] = (*(("kind",) if query.kinds else ()), *query.facets)
        request = CountRequest(lower(conjunction(wanted, occurred)), facets, _VALUES, query.top, edges)
        found = await self._counter.count(log_id, request)
        lists = _of_kinds(found.rankings["kind"], query) if query.kinds else {}
        for by, facet in RANKED.items():
            if by in query.by:
                lists[by] = top(found.rankings[facet], query.top)
        return Counted(period, found.through, found.total, found.buckets if edges else (found.total,), lists)


async def _rank(
    connection: Connection, log_id: int, periods: Sequence[Period], facets: Sequence[Facet], most: int
) -> queries.Rankings:
    return {facet: [await queries.rank(connection, log_id, each, facet, most) for each in periods] for facet in facets}


@asynccontextmanager
async def _meanwhile(work: Coroutine[None, None, queries.Rankings]) -> AsyncGenerator[asyncio.Task[queries.Rankings]]:
    """Have something done while the block runs; it does not outlast the block."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _of_kinds(ranking: Ranking, query: StatsQuery) -> dict[By, Top]:
    """Count by the parts of kinds. A kind that was not told may have any of the values that were."""
    whole = not ranking.unseen and all(bounds.least == bounds.most for bounds in ranking.counts.values())
    counted: dict[By, Counter[str]] = {by: Counter() for by in query.kinds}
    for key, bounds in ranking.counts.items():
        kind = read_kind(key)
        for by, counts in counted.items():
            counts[getattr(kind, by)] += bounds.least
    return {
        by: Top(tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[: query.top]), exact=whole)
        for by, counts in counted.items()
    }
