"""Which events a stream gets: each is parsed and analysed once, however many ask, and only if one of them must."""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TypeAlias, cast

import orjson

from tallystick.followers.model import LoggedEvent
from tallystick.log.reader import answer_of
from tallystick.query.analysis import analyse
from tallystick.query.ast import And, Everything, Node, Not, Or, Words, conjunction
from tallystick.query.lowering import lower
from tallystick.query.matching import Prepared, compile_terms, prepare
from tallystick.query.predicate import compile_predicate
from tallystick.stream.model import StreamQuery


class Candidate:
    """An event, and what is made of it once, when it is first asked for."""

    def __init__(self, event: LoggedEvent) -> None:
        self.event = event

    @cached_property
    def body(self) -> Mapping[str, object]:
        """The body, parsed."""
        return cast("Mapping[str, object]", orjson.loads(self.event.body))

    @cached_property
    def document(self) -> Prepared:
        """The event as words find it."""
        event = self.event
        return prepare(analyse(event.seq, event.received_us, event.occurred_us, self.body))

    @cached_property
    def item(self) -> bytes:
        """The event as it is answered."""
        return answer_of(self.event)


Sieve: TypeAlias = Callable[[Candidate], bool]


def sieve_of(query: StreamQuery, narrowing: Node) -> Sieve | None:
    """Make the function that tells whether an event is to be sent; None where all are.

    Words are looked for in the event's terms, as everywhere. To cut an event into terms takes fifty times as long as
    to parse it, so what asks for none is judged on the body, and everything else comes first.

    Args:
        query: What is asked.
        narrowing: What the principal may see.
    """
    text, filters = query.text, conjunction(query.filters, narrowing)
    if not _has_words(text):
        text, filters = Everything(), conjunction(filters, text)
    if isinstance(filters, Everything) and isinstance(text, Everything):
        return None
    judge = compile_predicate(filters)
    if isinstance(text, Everything):
        return lambda candidate: judge(candidate.body)
    matches = compile_terms(lower(text))
    return lambda candidate: judge(candidate.body) and matches(candidate.document)


def _has_words(node: Node) -> bool:
    match node:
        case Words():
            return True
        case And(parts) | Or(parts):
            return any(map(_has_words, parts))
        case Not(part):
            return _has_words(part)
        case _:
            return False
