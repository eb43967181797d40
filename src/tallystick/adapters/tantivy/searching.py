"""One page out of the rolls of one log."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import tantivy
from tantivy import Order, Query, Searcher

from tallystick.adapters.tantivy.expecting import Expected, expect
from tallystick.adapters.tantivy.files import Roll
from tallystick.adapters.tantivy.opened import OpenRoll
from tallystick.adapters.tantivy.schema import (
    PLACE_OCCURRED,
    PLACE_RECEIVED,
    PLACE_SEQ,
    compile_query,
    every,
    gathered,
    number_range,
)
from tallystick.ports import Hit, SearchRequest
from tallystick.query.terms import AllOf, MatchAll, Occurred, TermQuery


def search_rolls(rolls: Sequence[OpenRoll], request: SearchRequest, through: int) -> tuple[Hit, ...]:
    """Find a page: rolls by their best occurrence first, until the next cannot improve it.

    Args:
        rolls: All of a log.
        request: The page.
        through: Hits beyond it are passed over: the list of rolls does not vouch for them yet.
    """
    ranges, wanted = apart(request.query)
    low, high = _bounds(request, within(ranges))
    query = compile_query(wanted)
    newest = request.order == "newest"
    found: list[Hit] = []
    for opened in sorted(rolls, key=lambda opened: _best(opened.roll, newest=newest)):
        roll = opened.roll
        if len(found) == request.limit and _beyond(roll, found[-1], newest=newest):
            break
        # What a snapshot holds beyond its list is not known to lie within the roll's bounds.
        beyond = max(opened.searcher.num_docs - roll.documents, 0)
        if not beyond and (roll.newest_us < low or roll.oldest_us > high):
            continue
        expected = expect(opened, wanted)
        if not expected.most:
            continue
        limit = request.limit + beyond
        page = _Page(opened.searcher, query, request, limit, few=expected.most <= limit)
        attempts = [(low, high)] if beyond else _attempts(roll, (low, high), page, expected)
        found += [hit for hit in page.find(attempts) if hit.seq <= through]
        if len(found) >= request.limit:  # until then nobody looks at their order: rolls may be many, with a hit each
            request.sort(found)
            del found[request.limit :]
    request.sort(found)
    return tuple(found)


def _best(roll: Roll, *, newest: bool) -> int:
    return -roll.newest_us if newest else roll.oldest_us


def _beyond(roll: Roll, last: Hit, *, newest: bool) -> bool:
    """Whether all of a roll comes after a hit."""
    return roll.newest_us < last.occurred_us if newest else roll.oldest_us > last.occurred_us


def _attempts(roll: Roll, bounds: "_Range", page: "_Page", expected: Expected) -> "Iterable[_Range]":
    """Ranges of occurrence to look for a page in, one after the other until it is full.

    To sort all matches of a roll costs 10 ns for each. Where there are many, a page is likely to lie in a small range
    at its end, which is found by a scan of one column of those segments that reach into it.
    """
    low, high = max(bounds[0], roll.oldest_us), min(bounds[1], roll.newest_us)
    if expected.most > _MANY:
        for generosity in _GENEROSITIES:
            width = round((roll.newest_us - roll.oldest_us) * page.limit * generosity / max(expected.likely, 1.0))
            if 2 * width < high - low:
                yield (high - width, high) if page.newest else (low, low + width)
    yield EVER if (low, high) == (roll.oldest_us, roll.newest_us) else (low, high)


_MANY: Final = 20_000
_GENEROSITIES: Final = (8, 256)
"""How many times as wide as it had to be if matches were spread evenly."""

_Range: TypeAlias = tuple[int, int]

_LEAST, _GREATEST = -(1 << 63), (1 << 63) - 1
EVER: Final = (_LEAST, _GREATEST)


def within(ranges: Iterable[Occurred]) -> _Range:
    """The range that lies in all of these, both ends inclusive."""
    low, high = EVER
    for occurred in ranges:
        low = max(low, _LEAST if occurred.from_us is None else occurred.from_us)
        high = min(high, _GREATEST if occurred.to_us is None else occurred.to_us - 1)
    return low, high


def _bounds(request: SearchRequest, bounds: _Range) -> _Range:
    """The range of occurrence outside of which no hit of the page can lie."""
    low, high = bounds
    if request.after is not None:
        if request.order == "newest":
            high = min(high, request.after[0])
        else:
            low = max(low, request.after[0])
    return low, high


def apart(query: TermQuery) -> tuple[list[Occurred], TermQuery]:
    """The ranges of occurrence that all hits must lie in, and the rest of a query."""
    match query:
        case Occurred():
            return [query], MatchAll()
        case AllOf(parts):
            ranges: list[Occurred] = []
            others: list[TermQuery] = []
            for part in parts:
                of_part, other = apart(part)
                ranges += of_part
                if not isinstance(part, Occurred):
                    others.append(other)
            return ranges, AllOf(tuple(others))
        case _:
            return [], query


_SPARE: Final = 16
"""Hits beyond a page that are asked for at once, to learn without a second query that no tie crosses its end."""


@dataclass(frozen=True, slots=True)
class _Page:
    """A page of one roll. Tantivy sorts by one field and leaves ties in any order.

    Attributes:
        searcher: A snapshot of the roll.
        query: What is looked for.
        request: The page of the log that it becomes part of.
        limit: Most hits.
        few: At most as many documents of the roll match, so that nothing needs to be sorted to find the first.
    """

    searcher: Searcher
    query: Query
    request: SearchRequest
    limit: int
    few: bool

    @property
    def newest(self) -> bool:
        return self.request.order == "newest"

    def find(self, attempts: Iterable[_Range]) -> list[Hit]:
        """Find the first hits in order within the first of some ranges that has as many as wanted.

        Each range must begin at the page's end of the next, and the last one hold all that may be found.
        """
        found: list[Hit] = []
        for low, high in attempts:
            found = self._within(low, high)
            if len(found) >= self.limit:
                break
        return found

    def _within(self, low: int, high: int) -> list[Hit]:
        """Find the first hits of a range.

        All hits better than the last are known to be all there are. Those of its moment are asked for by seq where
        the page needs them.
        """
        if self.few:
            return self._from_where_it_begins(self._search(occurred_between(low, high), None, self.limit))
        found: list[Hit] = []
        while len(found) < self.limit and low <= high:
            wanted = self.limit - len(found) + _SPARE
            hits = self._search(occurred_between(low, high), "occurred_us", wanted)
            crowded = hits[-1].occurred_us if len(hits) == wanted else None
            if crowded is not None:
                hits = [hit for hit in hits if hit.occurred_us != crowded]
            found += self._from_where_it_begins(hits)
            if crowded is None:
                break
            if len(found) < self.limit:
                found += self._at(crowded, self.limit - len(found))
            low, high = (low, crowded - 1) if self.newest else (crowded + 1, high)
        return found[: self.limit]

    def _at(self, moment: int, limit: int) -> list[Hit]:
        """The first events of one moment, by seq."""
        narrowed = occurred_between(moment, moment)
        after = self.request.after
        if after is not None and after[0] == moment:
            bounds = (None, after[1] - 1) if self.newest else (after[1] + 1, None)
            narrowed.append(number_range("seq", *bounds))
        return self._search(narrowed, "seq", limit)

    def _from_where_it_begins(self, hits: list[Hit]) -> list[Hit]:
        """Those that come after where the page begins, in its order."""
        if self.request.after is not None:
            hits = [hit for hit in hits if self.request.reaches(hit.occurred_us, hit.seq)]
        self.request.sort(hits)
        return hits

    def _search(self, narrowed: list[Query], by: Literal["occurred_us", "seq"] | None, limit: int) -> list[Hit]:
        order = Order.Desc if self.newest else Order.Asc
        result = self.searcher.search(
            every([self.query, *narrowed]), limit=limit, count=False, order_by_field=by, order=order
        )
        if not result.hits:
            return []
        sorted_by, places = zip(*result.hits, strict=True)
        received = self._column(PLACE_RECEIVED, places)
        seqs = sorted_by if by == "seq" else self._column(PLACE_SEQ, places)
        occurred = sorted_by if by == "occurred_us" else self._column(PLACE_OCCURRED, places)
        return list(map(Hit, seqs, received, occurred))

    def _column(self, name: str, places: Sequence[tantivy.DocAddress]) -> list[int]:
        return [gathered(int(number or 0)) for number in self.searcher.fast_field_values(name, list(places))]


def occurred_between(low: int, high: int) -> list[Query]:
    """What narrows a query to a range of occurrence: nothing where it has no end."""
    if (low, high) == EVER:
        return []
    return [number_range("occurred_us", None if low == _LEAST else low, None if high == _GREATEST else high)]
