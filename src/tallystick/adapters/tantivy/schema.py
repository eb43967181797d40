"""What a Tantivy index holds, and a query in terms as one of Tantivy's."""

import re
from pathlib import Path
from typing import Final

import tantivy
from tantivy import FieldType, Occur, Query

from tallystick.query.facets import FACETS
from tallystick.query.terms import (
    AllOf,
    AnyOf,
    Consecutive,
    Document,
    HasAny,
    MatchAll,
    Occurred,
    TermQuery,
    Without,
)

_TERMS: Final = "terms at spaces"

PLACE_SEQ: Final = "place_seq"
PLACE_RECEIVED: Final = "place_received_us"
PLACE_OCCURRED: Final = "place_occurred_us"
"""Columns of where an event lies, its numbers `scattered`."""

_BITS: Final = 60
_FACTOR: Final = 0x9E3779B97F4A7C1
_MASK: Final = (1 << _BITS) - 1
_INVERSE: Final = pow(_FACTOR, -1, 1 << _BITS)
_HALF: Final = 1 << (_BITS - 1)


def scattered(number: int) -> int:
    """A number between -2⁵⁹ and 2⁵⁹ as one that tells nothing of its neighbours'.

    Tantivy keeps a column of numbers that grow as lines, one for 512 events, and reads all of them when the column is
    opened, which it is for each page and roll: 12 to 25 µs for 320,000 events. What does not grow it keeps as it is,
    and opens in 1 µs. A column takes 7.5 bytes an event.
    """
    return number * _FACTOR & _MASK


def gathered(number: int) -> int:
    """The number that was `scattered`."""
    return ((number * _INVERSE + _HALF) & _MASK) - _HALF


def _build() -> tantivy.Schema:
    builder = tantivy.SchemaBuilder()
    builder.add_integer_field("seq", fast=True)
    builder.add_integer_field("occurred_us", fast=True)
    for column in (PLACE_SEQ, PLACE_RECEIVED, PLACE_OCCURRED):
        builder.add_integer_field(column, fast=True)
    builder.add_text_field("text", tokenizer_name=_TERMS, index_option="position")
    builder.add_text_field("paths", tokenizer_name=_TERMS, index_option="position")
    builder.add_text_field("terms", tokenizer_name=_TERMS, index_option="basic")
    for facet in FACETS:
        builder.add_text_field(facet, fast=True, tokenizer_name="raw", index_option="basic")
    return builder.build()


SCHEMA: Final = _build()


def open_index(folder: Path, *, create: bool = False) -> tantivy.Index:
    """Open an index that is looked at anew only when told to: no thread of its own watches its files."""
    index = tantivy.Index(SCHEMA, path=str(folder)) if create else tantivy.Index.open(str(folder))
    index.register_tokenizer(_TERMS, tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.whitespace()).build())
    index.config_reader("manual", 0)
    return index


def to_tantivy(document: Document) -> tantivy.Document:
    """Write a document as Tantivy takes it. Only what is looked up by is kept, and the numbers of a hit."""
    made = tantivy.Document()
    made.add_integer("seq", document.seq)
    made.add_integer("occurred_us", document.occurred_us)
    made.add_integer(PLACE_SEQ, scattered(document.seq))
    made.add_integer(PLACE_RECEIVED, scattered(document.received_us))
    made.add_integer(PLACE_OCCURRED, scattered(document.occurred_us))
    made.add_text("text", document.text)
    made.add_text("paths", document.paths)
    made.add_text("terms", document.terms)
    for facet, value in zip(FACETS, (document.kind, document.actor, document.resource), strict=True):
        if value:
            made.add_text(facet, value)
    return made


def compile_query(query: TermQuery) -> Query:  # noqa: C901, PLR0911  # one for each kind of query
    """Write a query as one of Tantivy's."""
    match query:
        case MatchAll():
            return Query.all_query()
        case Consecutive(stream, terms, prefix):
            return _consecutive(stream, terms, prefix=prefix)
        case HasAny(()):
            return Query.empty_query()
        case HasAny((term,)):
            return Query.term_query(SCHEMA, "terms", term, "basic")
        case HasAny(terms):
            return Query.term_set_query(SCHEMA, "terms", terms)
        case Occurred(from_us, to_us):
            return number_range("occurred_us", from_us, None if to_us is None else to_us - 1)
        case AllOf(parts):
            return every(map(compile_query, parts))
        case AnyOf(()):
            return Query.empty_query()
        case AnyOf(parts):
            return Query.boolean_query([(Occur.Should, compile_query(part)) for part in parts])
        case Without(part):
            return Query.boolean_query([(Occur.Must, Query.all_query()), (Occur.MustNot, compile_query(part))])


def every(queries: "map[Query] | list[Query]") -> Query:
    """Documents that match all of these; every document if there are none."""
    parts = list(queries)
    if len(parts) == 1:
        return parts[0]
    return Query.boolean_query([(Occur.Must, part) for part in parts]) if parts else Query.all_query()


def number_range(field: str, low: int | None, high: int | None) -> Query:
    """Documents whose number lies from low to high, inclusive."""
    if low is None and high is None:
        return Query.all_query()
    return Query.range_query(SCHEMA, field, FieldType.Integer, low, high)


def _consecutive(stream: str, terms: tuple[str, ...], *, prefix: bool) -> Query:
    if not prefix:
        if len(terms) == 1:
            return Query.term_query(SCHEMA, stream, terms[0], "position")
        return Query.phrase_query(SCHEMA, stream, list(terms))
    *first, last = terms
    begun = f"{_literally(last)}.*"
    if not first:
        return Query.regex_query(SCHEMA, stream, begun)
    # A phrase with a prefix would look at fifty continuations only; a phrase of patterns looks at all.
    return Query.regex_phrase_query(SCHEMA, stream, [*map(_literally, first), begun])


def _literally(term: str) -> str:
    return re.sub(r"[^\w ]", lambda match: f"\\{match[0]}" if match[0].isascii() else match[0], term)
