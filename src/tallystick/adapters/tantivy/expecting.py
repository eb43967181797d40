"""How many documents a query is likely to find, told by the frequency of its terms before it is run."""

from math import prod
from typing import Final, NamedTuple

from tallystick.adapters.tantivy.opened import OpenRoll
from tallystick.query.terms import AllOf, AnyOf, Consecutive, HasAny, TermQuery

_MOST_TERMS: Final = 16
"""Of more alternatives it is not asked how frequent they are: that takes as long as to look for them."""


class Expected(NamedTuple):
    """How many documents of a roll match a query.

    Attributes:
        most: No more than these.
        likely: About so many, were its terms spread at random.
    """

    most: int
    likely: float


def expect(opened: OpenRoll, query: TermQuery) -> Expected:
    """Tell how many documents match, as far as the frequency of the query's terms tells it."""
    documents = opened.searcher.num_docs
    match query:
        case Consecutive(stream, terms, prefix):
            whole = terms[:-1] if prefix else terms
            most = min((opened.frequency(stream, term) for term in whole), default=documents)
            return Expected(most, most / len(terms))
        case HasAny(terms) if len(terms) <= _MOST_TERMS:
            total = min(sum(opened.frequency("terms", term) for term in terms), documents)
            return Expected(total, total)
        case HasAny():
            return Expected(documents, documents / _MOST_TERMS)
        case AllOf(parts) if parts:
            every_one = [expect(opened, part) for part in parts]
            likely = documents * prod(each.likely / max(documents, 1) for each in every_one)
            return Expected(min(each.most for each in every_one), likely)
        case AnyOf(parts):
            some = [expect(opened, part) for part in parts]
            return Expected(
                min(sum(each.most for each in some), documents), min(sum(each.likely for each in some), documents)
            )
        case _:
            return Expected(documents, documents)
