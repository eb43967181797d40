"""A query in terms as a function over documents in memory: what answers for events that no index holds yet."""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from tallystick.query.joining import every, some
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


class Prepared(NamedTuple):
    """A document whose strings begin and end with a space, so that a term is found as `` term ``.

    Attributes:
        seq: Position in the log.
        received_us: Arrival in Unix microseconds.
        occurred_us: Occurrence in Unix microseconds.
        text: Tokens with positions.
        paths: Tokens with their paths and positions.
        terms: Terms without positions.
        kind: What it is counted by, as are the next two (`query.facets`).
        actor: Who did it.
        resource: What it was done to.
    """

    seq: int
    received_us: int
    occurred_us: int
    text: str
    paths: str
    terms: str
    kind: str
    actor: str
    resource: str


Matcher: TypeAlias = Callable[[Prepared], bool]


def prepare(document: Document) -> Prepared:
    """Make a document ready to be matched many times."""
    return Prepared(
        document.seq,
        document.received_us,
        document.occurred_us,
        f" {document.text} ",
        f" {document.paths} ",
        f" {document.terms} ",
        document.kind,
        document.actor,
        document.resource,
    )


def compile_terms(query: TermQuery) -> Matcher:  # noqa: PLR0911  # one for each kind of query
    """Make the function that tells whether a document matches."""
    match query:
        case MatchAll():
            return lambda _: True
        case Consecutive(stream, terms, prefix):
            wanted = " ".join(["", *terms]) + ("" if prefix else " ")
            if stream == "text":
                return lambda document: wanted in document.text
            return lambda document: wanted in document.paths
        case HasAny(terms):
            return _has_any(terms)
        case Occurred(from_us, to_us):
            return lambda document: (
                (from_us is None or document.occurred_us >= from_us) and (to_us is None or document.occurred_us < to_us)
            )
        case AllOf(parts):
            return every(tuple(map(compile_terms, parts)))
        case AnyOf(parts):
            return some(tuple(map(compile_terms, parts)))
        case Without(part):
            refused = compile_terms(part)
            return lambda document: not refused(document)


def sift(query: TermQuery, documents: list[Prepared]) -> list[Prepared]:
    """The documents that match, in the order given: of many in a fraction of the time that asking one by one takes.

    What every part must match is asked part by part, each of the documents that passed those before.
    """
    if not isinstance(query, AllOf):
        return list(filter(compile_terms(query), documents))
    for part in query.parts:
        documents = sift(part, documents)
    return documents


def _has_any(terms: tuple[str, ...]) -> Matcher:
    if len(terms) == 1:
        wanted = f" {terms[0]} "
        return lambda document: wanted in document.terms
    distinct = frozenset(terms)
    return lambda document: not distinct.isdisjoint(document.terms.split())
