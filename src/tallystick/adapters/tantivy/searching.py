"""One page out of the rolls of one log."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import nsmallest

import tantivy
from tantivy import Order, Query, Searcher

from tallystick.adapters.tantivy.files import Roll
from tallystick.adapters.tantivy.schema import every, number_range
from tallystick.ports import Hit, SearchOrder, SearchRequest
from tallystick.query.terms import AllOf, Occurred, TermQuery


@dataclass(frozen=True, slots=True)
class OpenRoll:
    """A roll as it is looked at by one search.

    Attributes:
        roll: What it holds, as its list says.
        searcher: A snapshot of it, which may hold more.
    """

    roll: Roll
    searcher: Searcher


def search_rolls(rolls: Sequence[OpenRoll], request: SearchRequest, query: Query, through: int) -> tuple[Hit, ...]:
    """Find a page: rolls by their best occurrence first, until the next cannot improve it.

    Args:
        rolls: All of a log.
        request: The page.
        query: Its query, compiled.
        through: Hits beyond it are passed over: the list of rolls does not vouch for them yet.
    """
    low, high = _bounds(request)
    newest = request.order == "newest"
    found: list[Hit] = []
    for opened in sorted(rolls, key=lambda opened: _best(opened.roll, newest=newest)):
        roll = opened.roll
        if len(found) >= request.limit and _best(roll, newest=newest) > found[-1].rank(request.order)[0]:
            break
        # What a snapshot holds beyond its list is not known to lie within the roll's bounds.
        beyond = opened.searcher.num_docs - roll.documents
        if not beyond and (roll.newest_us < low or roll.oldest_us > high):
            continue
        whole = not beyond and low <= roll.oldest_us and roll.newest_us <= high
        page = _Page(opened.searcher, query, request.order, request.limit + beyond)
        hits = (hit for hit in page.find(request.after, None if whole else (low, high)) if hit.seq <= through)
        found = nsmallest(request.limit, [*found, *hits], key=lambda hit: hit.rank(request.order))
    return tuple(found)


def _best(roll: Roll, *, newest: bool) -> int:
    return -roll.newest_us if newest else roll.oldest_us


_LEAST, _GREATEST = -(1 << 63), (1 << 63) - 1


def _bounds(request: SearchRequest) -> tuple[int, int]:
    """The range of occurrence outside of which no hit of the page can lie."""
    low, high = _LEAST, _GREATEST
    for occurred in _ranges(request.query):
        low = max(low, _LEAST if occurred.from_us is None else occurred.from_us)
        high = min(high, _GREATEST if occurred.to_us is None else occurred.to_us - 1)
    if request.after is not None:
        if request.order == "newest":
            high = min(high, request.after[0])
        else:
            low = max(low, request.after[0])
    return low, high


def _ranges(query: TermQuery) -> Iterable[Occurred]:
    match query:
        case Occurred():
            yield query
        case AllOf(parts):
            for part in parts:
                yield from _ranges(part)
        case _:
            return


@dataclass(frozen=True, slots=True)
class _Page:
    """A page of one roll. Tantivy sorts by one field, so events of one moment are found by a query of their own."""

    searcher: Searcher
    query: Query
    order: SearchOrder
    limit: int

    @property
    def newest(self) -> bool:
        return self.order == "newest"

    def find(self, after: tuple[int, int] | None, bounds: tuple[int, int] | None) -> list[Hit]:
        """Find the first hits in order, after a position and within bounds of occurrence."""
        found: list[Hit] = []
        low, high = bounds or (_LEAST, _GREATEST)
        if after is not None:
            moment, seq = after
            beyond = number_range("seq", None, seq - 1) if self.newest else number_range("seq", seq + 1, None)
            found = self._at(moment, [beyond], self.limit)
            low, high = (low, min(high, moment - 1)) if self.newest else (max(low, moment + 1), high)
            bounds = (low, high)
        if len(found) < self.limit and low <= high:
            found += self._within(bounds, self.limit - len(found))
        return found

    def _within(self, bounds: tuple[int, int] | None, limit: int) -> list[Hit]:
        narrowed = [] if bounds is None else [number_range("occurred_us", *map(_open, bounds))]
        hits = self._search(every([self.query, *narrowed]), "occurred_us", limit)
        if len(hits) < limit:
            return sorted(hits, key=lambda hit: hit.rank(self.order))
        last = hits[-1].occurred_us
        before = [hit for hit in hits if hit.occurred_us != last]
        before.sort(key=lambda hit: hit.rank(self.order))
        return before + self._at(last, [], limit - len(before))

    def _at(self, moment: int, narrowed: list[Query], limit: int) -> list[Hit]:
        """The events of one moment, by seq."""
        return self._search(every([self.query, number_range("occurred_us", moment, moment), *narrowed]), "seq", limit)

    def _search(self, query: Query, by: str, limit: int) -> list[Hit]:
        order = Order.Desc if self.newest else Order.Asc
        result = self.searcher.search(query, limit=limit, count=False, order_by_field=by, order=order)
        places: list[tantivy.DocAddress] = [place for _, place in result.hits]
        if not places:
            return []
        columns = (self.searcher.fast_field_values(name, places) for name in ("seq", "received_us", "occurred_us"))
        return [Hit(int(seq or 0), int(came or 0), int(was or 0)) for seq, came, was in zip(*columns, strict=True)]


def _open(bound: int) -> int | None:
    return None if bound in (_LEAST, _GREATEST) else bound
