"""Which events a stream gets, and how little is done to find out."""

from typing import Any

import orjson
import pytest

from tallystick.followers.model import LoggedEvent
from tallystick.query.ast import Equals, Everything, Node
from tallystick.query.filters import FilterParams, to_filter
from tallystick.query.parser import parse
from tallystick.stream.model import StreamQuery
from tallystick.stream.sieve import Candidate, sieve_of


def candidate(**fields: Any) -> Candidate:
    body = {"action": "user.delete", "message": "The zebra ran", "timestamp": "2026-01-01T00:00:00Z", **fields}
    return Candidate(LoggedEvent(7, 1, 1, bytes(32), orjson.dumps(body)))


def done(tried: Candidate) -> set[str]:
    """What was made of an event."""
    return set(vars(tried)) - {"event"}


def test_who_asks_for_all_looks_at_nothing() -> None:
    assert sieve_of(StreamQuery(), Everything()) is None


@pytest.mark.parametrize(
    ("query", "narrowing", "passes", "made"),
    [
        (StreamQuery(to_filter(FilterParams.from_values({"action": ["user.delete"]}))), Everything(), True, {"body"}),
        (StreamQuery(text=parse("metadata.n:>3")), Everything(), False, {"body"}),
        (StreamQuery(), Equals("user_id", "ada"), False, {"body"}),
        (StreamQuery(text=parse("ZEBRA")), Everything(), True, {"body", "document"}),
        (StreamQuery(text=parse("okapi OR ran")), Everything(), True, {"body", "document"}),
        (StreamQuery(text=parse("NOT zebra")), Everything(), False, {"body", "document"}),
        (StreamQuery(text=parse("zebra")), Equals("user_id", "ada"), False, {"body"}),
        (StreamQuery(Equals("action", "user.delete"), parse("zebra")), Everything(), True, {"body", "document"}),
        (StreamQuery(Equals("action", "x"), parse("zebra")), Everything(), False, {"body"}),
        (StreamQuery(Equals("action", "user.delete"), parse("okapi")), Everything(), False, {"body", "document"}),
    ],
)
def test_fields_come_before_words(query: StreamQuery, narrowing: Node, passes: bool, made: set[str]) -> None:
    tried = candidate()
    sieve = sieve_of(query, narrowing)
    assert sieve is not None
    assert sieve(tried) is passes
    assert done(tried) == made


def test_an_event_is_written_once_as_it_is_answered() -> None:
    tried = candidate()
    assert tried.item == b'{"seq":7,"leaf_hash":"%s",' % (b"00" * 32) + tried.event.body[1:]
    assert tried.item is tried.item
