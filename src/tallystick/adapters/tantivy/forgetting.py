"""Takes events out of one roll, and tells what is left in it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import tantivy
from tantivy import Occur, Order, Query, Searcher

from tallystick.adapters.tantivy.files import Roll
from tallystick.adapters.tantivy.schema import number_range, open_index

LATEST: Final = (1 << 63) - 1
EARLIEST: Final = -(1 << 63)
"""With `LATEST`, the bounds of a roll that holds nothing."""

_HEAP_BYTES: Final = 15_000_000


def forget_in(
    folder: Path, roll: Roll, seqs: Sequence[tuple[int, int]], writer: tantivy.IndexWriter | None = None
) -> Roll | None:
    """Take events out of a roll. On return that is durable.

    Args:
        folder: Of the roll.
        roll: What its list says of it.
        seqs: First and last seq of each range, ascending.
        writer: Of the roll, if one is open.

    Returns:
        What is left of it; None for nothing, and then it is as it was.
    """
    index = open_index(folder)
    searcher = index.searcher()
    if not searcher.num_docs:
        return None if roll.documents or roll.masked else roll
    first, last = (extreme(searcher, "seq", order) for order in (Order.Asc, Order.Desc))
    touched = [number_range("seq", *each) for each in seqs if each[0] <= last and each[1] >= first]
    if not any(_has(searcher, query) for query in touched):
        return _left(roll, searcher)
    if not _has(searcher, Query.boolean_query([(Occur.Must, Query.all_query()), *_without(touched)])):
        return None
    own = writer or index.writer(_HEAP_BYTES, 1)
    for query in touched:
        own.delete_documents_by_query(query)
    own.commit()
    if writer is None:
        own.wait_merging_threads()
    index.reload()
    return _left(roll, index.searcher())


def _has(searcher: Searcher, query: Query) -> bool:
    return bool(searcher.search(query, limit=1, count=False).hits)


def _without(queries: Sequence[Query]) -> list[tuple[Occur, Query]]:
    return [(Occur.MustNot, query) for query in queries]


def _left(roll: Roll, searcher: Searcher) -> Roll:
    """What is left of a roll. A crash may have come between a deletion and the list, so it is looked at each time."""
    gone = roll.documents - searcher.num_docs
    return replace(counted(roll, searcher), masked=roll.masked + gone) if gone > 0 else roll


def extreme(searcher: Searcher, name: str, order: Order) -> int:
    """The greatest (descending) or least number that a roll holds."""
    result = searcher.search(Query.all_query(), limit=1, count=False, order_by_field=name, order=order)
    (number,) = searcher.fast_field_values(name, [place for _, place in result.hits])
    return int(number or 0)


def counted(roll: Roll, searcher: Searcher) -> Roll:
    """What a roll holds, by looking."""
    if not searcher.num_docs:
        return replace(roll, documents=0, oldest_us=LATEST, newest_us=EARLIEST)
    oldest, newest = (extreme(searcher, "occurred_us", order) for order in (Order.Asc, Order.Desc))
    return replace(roll, documents=searcher.num_docs, oldest_us=oldest, newest_us=newest)
