"""What an OpenSearch index holds, and a query in terms as one of OpenSearch's.

Logs share an index, and with it the dictionary of each field. So every term is written behind the number of its log:
``7:login``. Then a word, a prefix or a set of terms costs what it finds in its own log, not what it finds in its
neighbours', and a query that lost its filter would still find no other log's words.
"""

from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

import orjson

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

Dsl: TypeAlias = dict[str, object]
"""A piece of a request's body."""

MARKERS: Final = ("newest", "oldest")
"""The two markers of a part: the one of an order sorts before every event in it."""

MOST_EXPANSIONS: Final = 16_384
"""Most words that the last word of a phrase may stand for."""

_MOST_HITS: Final = 100_000

_STREAM: Final[Dsl] = {"type": "text", "analyzer": "whitespace", "norms": False}
_COLUMN: Final[Dsl] = {"type": "long", "index": False}
_COUNTED: Final[Dsl] = {"type": "keyword", "index": False}

COLUMNS_SINCE: Final[Dsl] = dict.fromkeys(FACETS, _COUNTED)
"""Columns that indices of a release before lack."""

MAPPINGS: Final[Dsl] = {
    "dynamic": "strict",
    "_source": {"enabled": False},
    "_routing": {"required": True},
    "properties": {
        "log": {"type": "keyword", "doc_values": False},
        "seq": _COLUMN,
        "received_us": _COLUMN,
        "occurred_us": {"type": "long"},
        "text": _STREAM,
        "paths": _STREAM,
        "terms": {**_STREAM, "index_options": "docs"},
        **COLUMNS_SINCE,
        "marker": {"type": "keyword", "doc_values": False},
        "after": _COLUMN,
        "through": _COLUMN,
        "documents": _COLUMN,
    },
}
"""Names of tenants' fields are parts of terms: no event can add a field."""


def template(prefix: str) -> Dsl:
    """What every index of ours is made by, whoever makes it."""
    return {
        "index_patterns": [f"{prefix}-events-*", f"{prefix}-log-*"],
        "priority": 500,
        "template": {
            "settings": {
                "number_of_shards": 1,
                "auto_expand_replicas": "0-1",
                "refresh_interval": "-1",  # after each append, and at no other time
                "translog": {
                    "durability": "request",
                    "flush_threshold_size": "128mb",
                },  # merging then drops sources sooner
                "max_result_window": _MOST_HITS,
                # Then the newest events come first on disk, and a page of them ends the search.
                "sort.field": ["occurred_us", "seq"],
                "sort.order": ["desc", "desc"],
            },
            "mappings": MAPPINGS,
        },
    }


def to_source(log_id: int, log: str, document: Document) -> bytes:
    """Write a document as OpenSearch takes it.

    Args:
        log_id: The log.
        log: What the alias of the log filters by.
        document: What is written.
    """
    return orjson.dumps(
        {
            "log": log,
            "seq": document.seq,
            "received_us": document.received_us,
            "occurred_us": document.occurred_us,
            "text": _marked(log_id, document.text),
            "paths": _marked(log_id, document.paths),
            "terms": _marked(log_id, document.terms),
            "kind": document.kind or None,
            "actor": document.actor or None,
            "resource": document.resource or None,
        }
    )


def compile_query(log_id: int, query: TermQuery) -> Dsl:  # noqa: C901, PLR0911  # one for each kind of query
    """Write a query as one of OpenSearch's."""
    match query:
        case MatchAll():
            return {"match_all": {}}
        case Consecutive(stream, terms, prefix):
            return _consecutive(stream, _marked(log_id, " ".join(terms)), single=len(terms) == 1, prefix=prefix)
        case HasAny(()):
            return {"match_none": {}}
        case HasAny(terms):
            return {"terms": {"terms": [_marked(log_id, term) for term in terms]}}
        case Occurred(from_us, to_us):
            return {"range": {"occurred_us": {"gte": from_us, "lt": to_us}}}
        case AllOf(()):
            return {"match_all": {}}
        case AllOf(parts):
            return every(compile_query(log_id, part) for part in parts)
        case AnyOf(()):
            return {"match_none": {}}
        case AnyOf(parts):
            return some(compile_query(log_id, part) for part in parts)
        case Without(part):
            return {"bool": {"must_not": [compile_query(log_id, part)]}}


def every(parts: Iterable[Dsl]) -> Dsl:
    """Documents that match all of these, of which there must be one."""
    return {"bool": {"filter": list(parts)}}


def some(parts: Iterable[Dsl]) -> Dsl:
    """Documents that match at least one of these, of which there must be one."""
    return {"bool": {"should": list(parts), "minimum_should_match": 1}}


def begun_phrases(query: TermQuery) -> Iterator[Consecutive]:
    """The phrases of a query whose last word is only begun."""
    match query:
        case Consecutive(_, (_, _, *_), True):
            yield query
        case AllOf(parts) | AnyOf(parts):
            for part in parts:
                yield from begun_phrases(part)
        case Without(part):
            yield from begun_phrases(part)
        case _:
            return


def _consecutive(stream: str, terms: str, *, single: bool, prefix: bool) -> Dsl:
    if single:
        return {"prefix" if prefix else "term": {stream: {"value": terms}}}
    if not prefix:
        return {"match_phrase": {stream: terms}}
    # Beyond this it would leave words out without a word; the caller has counted them before.
    return {"match_phrase_prefix": {stream: {"query": terms, "max_expansions": 2 * MOST_EXPANSIONS}}}


def _marked(log_id: int, terms: str) -> str:
    return f"{log_id}:{terms.replace(' ', f' {log_id}:')}" if terms else ""
