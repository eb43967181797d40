"""The text of a question (`q`): words, phrases, fields and ranges, joined by AND, OR and NOT.

::

    query    = any { "OR" any }
    any      = unary { [ "AND" ] unary }
    unary    = ( "NOT" | "-" | "!" ) unary | primary
    primary  = [ field ":" ] ( "(" query ")" | value )
    value    = word [ "*" ] | '"' phrase '"' | "*" | ( ">" | ">=" | "<" | "<=" ) bound
             | ( "[" | "{" ) bound "TO" bound ( "]" | "}" )
    bound    = word | '"' phrase '"' | "*"
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Final, NoReturn

from tallystick.query.analysis import TEXT_FIELDS, TREES
from tallystick.query.ast import (
    SEVERITIES,
    And,
    Equals,
    Everything,
    Exists,
    InNetwork,
    Node,
    Not,
    NumberRange,
    OccurredBetween,
    Or,
    Path,
    SeverityAtLeast,
    Words,
)
from tallystick.query.filters import network_of
from tallystick.query.scanner import Token, flawed, scan
from tallystick.query.timestamps import parse_timestamp
from tallystick.query.tokens import query_tokens

MAX_LENGTH: Final = 2_000
"""Longest text, in characters."""

MAX_CLAUSES: Final = 100
"""Most words, phrases and ranges of one text."""

MAX_DEPTH: Final = 20
"""Deepest nesting of parentheses and negations."""

_DAY_US: Final = 86_400_000_000
_LARGEST_EXACT: Final = 1.7976931348623157e308

_SEGMENT: Final = re.compile(r'"((?:[^"\\]|\\.)*)"|((?:[^.\\"]|\\.)+)', re.DOTALL)
_NUMBER: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def parse(text: str) -> Node:
    """Read the text of a question.

    Raises:
        InvalidError: It is not one; the flaw names the character, from 1.
    """
    if len(text) > MAX_LENGTH:
        raise flawed(f"is longer than {MAX_LENGTH:,} characters", MAX_LENGTH)
    return _Parser(text).read()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = scan(text)
        self._next = 0
        self._clauses = 0

    def read(self) -> Node:
        if not self._tokens:
            raise flawed("nothing is asked: write a word, or leave `q` out", 0)
        node = self._any(None, 0)
        if (token := self._peek()) is not None:
            self._refuse(token)
        return node

    def _peek(self) -> Token | None:
        return self._tokens[self._next] if self._next < len(self._tokens) else None

    def _take(self, *kinds: str) -> Token | None:
        token = self._peek()
        if token is None or token.kind not in kinds:
            return None
        self._next += 1
        return token

    def _refuse(self, token: Token | None, expected: str = "") -> NoReturn:
        if token is None:
            raise flawed(expected or "a word or phrase is missing", len(self._text))
        raise flawed(expected or f"{token.text!r} is not expected here", token.start)

    def _any(self, field: "_Field | None", depth: int) -> Node:
        parts = [self._all(field, depth)]
        while self._take("or"):
            parts.append(self._all(field, depth))
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _all(self, field: "_Field | None", depth: int) -> Node:
        parts = [self._unary(field, depth)]
        while True:
            joined = self._take("and")
            token = self._peek()
            if joined is None and (token is None or token.kind in ("or", "close", "until")):
                return parts[0] if len(parts) == 1 else And(tuple(parts))
            parts.append(self._unary(field, depth))

    def _unary(self, field: "_Field | None", depth: int) -> Node:
        if (token := self._take("not")) is None:
            return self._primary(field, depth)
        if depth == MAX_DEPTH:
            raise flawed(f"is nested deeper than {MAX_DEPTH} levels", token.start)
        return Not(self._unary(field, depth + 1))

    def _primary(self, field: "_Field | None", depth: int) -> Node:
        if (named := self._take("field")) is not None:
            if field is not None:
                self._refuse(named, "a field stands within another field's parentheses")
            field = _field_of(named)
        if (token := self._take("open")) is not None:
            if depth == MAX_DEPTH:
                raise flawed(f"is nested deeper than {MAX_DEPTH} levels", token.start)
            node = self._any(field, depth + 1)
            if self._take("close") is None:
                self._refuse(self._peek(), "a closing parenthesis is missing")
            return node
        self._clauses += 1
        token = self._peek()
        if token is not None and self._clauses > MAX_CLAUSES:
            raise flawed(f"asks for more than {MAX_CLAUSES} words, phrases and ranges", token.start)
        return self._value(field)

    def _value(self, field: "_Field | None") -> Node:
        if (token := self._take("from")) is not None:
            return self._range(_need(field, token), token)
        if (token := self._take("compare")) is not None:
            return self._comparison(_need(field, token), token)
        if (token := self._take("phrase")) is not None:
            return _words(field, _unescape(token.text[1:-1]), token, prefix=False)
        if (token := self._take("word")) is not None:
            return _word(field, token)
        return self._refuse(self._peek())

    def _comparison(self, field: "_Field", sign: Token) -> Node:
        token = self._take("word", "phrase")
        if token is None:
            self._refuse(self._peek(), "a number or time is missing")
        value = _Bound(_plain(token), token.start, included=sign.text.endswith("="))
        return field.between(value, None) if sign.text.startswith(">") else field.between(None, value)

    def _range(self, field: "_Field", begin: Token) -> Node:
        low = self._bound(included=begin.text == "[")
        to = self._take("word")
        if to is None or to.text != "TO":
            self._refuse(to or self._peek(), "a range is written [low TO high]")
        high_token = self._peek()
        high = self._bound(included=True)
        end = self._take("until")
        if end is None:
            self._refuse(self._peek(), "the end of the range is missing: ] or }")
        if high is not None and high_token is not None:
            high = _Bound(high.text, high.start, included=end.text == "]")
        return field.between(low, high)

    def _bound(self, *, included: bool) -> "_Bound | None":
        token = self._take("word", "phrase")
        if token is None:
            self._refuse(self._peek(), "a bound of the range is missing; write * for none")
        return None if token.text == "*" else _Bound(_plain(token), token.start, included=included)


@dataclass(frozen=True, slots=True)
class _Bound:
    text: str
    start: int
    included: bool


@dataclass(frozen=True, slots=True)
class _Field:
    """A field of the text, and where it stands."""

    path: Path
    start: int

    def between(self, low: _Bound | None, high: _Bound | None) -> Node:
        match self.path:
            case ("timestamp",):
                return _time_range(low, high)
            case ("severity",):
                return _severity_range(low, high)
            case (root, _, *_) if root in TREES:
                return _number_range(self.path, low, high)
            case _:
                raise flawed(
                    f"{self.path[0]} has no range: only `timestamp`, `severity` and numbers in metadata, before and"
                    " after have",
                    self.start,
                )


def _need(field: _Field | None, token: Token) -> _Field:
    if field is None:
        raise flawed("a range needs a field, as in metadata.amount:[10 TO 20]", token.start)
    return field


def _field_of(token: Token) -> _Field:
    name = token.text[:-1]
    segments: list[str] = []
    position = 0
    while True:
        match = _SEGMENT.match(name, position)
        if match is None:
            raise flawed(
                'a field name ends in a dot, or has two in a row: write "" for an empty key', token.start + position
            )
        segments.append(_unescape(match[1] if match[1] is not None else match[2]))
        position = match.end()
        if position == len(name):
            break
        if name[position] != ".":
            raise flawed("a dot is missing between two keys", token.start + position)
        position += 1
    root, *keys = segments
    if root in TREES or (root in (*TEXT_FIELDS, "timestamp") and not keys):
        return _Field(tuple(segments), token.start)
    known = ", ".join((*TEXT_FIELDS, "timestamp", *(f"{tree}.<key>" for tree in TREES)))
    raise flawed(
        f"there is no field {name!r}: there are {known}; write a colon that belongs to a word as \\:", token.start
    )


def _word(field: _Field | None, token: Token) -> Node:
    if token.text == "*":
        return Everything() if field is None else _exists(field)
    stem = re.fullmatch(r"((?:[^*\\]|\\.)*)(\*?)", token.text, re.DOTALL)
    if stem is None:
        raise flawed("a * stands at the end of a word only", token.start + token.text.index("*"))
    return _words(field, _unescape(stem[1]), token, prefix=bool(stem[2]))


def _exists(field: _Field) -> Node:
    return OccurredBetween(None, None) if field.path == ("timestamp",) else Exists(field.path)


def _words(field: _Field | None, text: str, token: Token, *, prefix: bool) -> Node:
    if field is not None:
        special = _SPECIAL.get(field.path)
        if special is not None and (node := special(text, token.start, prefix)) is not None:
            return node
        if field.path[0] in TREES and len(field.path) == 1:
            tree = field.path[0]
            raise flawed(f"name a key, as in {tree}.<key>:…, or leave {tree}: out", field.start)
    tokens, short = query_tokens(text)
    if not tokens:
        raise flawed(f"{token.text!r} has no letter or digit to look for", token.start)
    return Words(None if field is None else field.path, tokens, prefix or short)


def _severity(text: str, start: int, prefix: bool) -> Node | None:  # noqa: FBT001  # see _SPECIAL
    return None if prefix else Equals("severity", _severity_of(text, start))


def _address(text: str, start: int, prefix: bool) -> Node | None:  # noqa: FBT001  # see _SPECIAL
    if prefix:
        return None
    try:
        if "/" in text or ip_network(text, strict=False):
            return InNetwork("ip_address", network_of(text))
    except ValueError as error:
        if "/" in text:
            raise flawed(str(error), start) from None
    return None


def _moment(text: str, start: int, prefix: bool) -> Node | None:  # noqa: FBT001  # see _SPECIAL
    if prefix:
        raise flawed("a time takes no *: write a range", start)
    first, last = _moments(_Bound(text, start, included=True))
    return OccurredBetween(first, last)


_SPECIAL: Final[dict[Path, Callable[[str, int, bool], Node | None]]] = {
    ("severity",): _severity,
    ("ip_address",): _address,
    ("timestamp",): _moment,
}


def _severity_of(text: str, start: int) -> str:
    if text.upper() not in SEVERITIES:
        raise flawed(f"a severity is one of {', '.join(SEVERITIES)}", start)
    return text.upper()


def _severity_range(low: _Bound | None, high: _Bound | None) -> Node:
    def rank(bound: _Bound | None, otherwise: int) -> int:
        return otherwise if bound is None else SEVERITIES.index(_severity_of(bound.text, bound.start))

    first = rank(low, 0) + (low is not None and not low.included)
    after = rank(high, len(SEVERITIES) - 1) + (high is None or high.included)
    above: Node = SeverityAtLeast(SEVERITIES[first]) if first < len(SEVERITIES) else Or(())
    return above if after >= len(SEVERITIES) else And((above, Not(SeverityAtLeast(SEVERITIES[after]))))


def _number_range(path: Path, low: _Bound | None, high: _Bound | None) -> Node:
    return NumberRange(
        path,
        None if low is None else _number(low),
        None if high is None else _number(high),
        low_open=low is not None and not low.included,
        high_open=high is not None and not high.included,
    )


def _number(bound: _Bound) -> float:
    if not _NUMBER.fullmatch(bound.text):
        raise flawed(f"{bound.text!r} is not a number", bound.start)
    number = float(bound.text)
    if abs(number) > _LARGEST_EXACT:
        raise flawed(f"{bound.text} is larger than any number that is stored", bound.start)
    return number


def _time_range(low: _Bound | None, high: _Bound | None) -> Node:
    from_us = to_us = None
    if low is not None:
        from_us = _moments(low)[0 if low.included else 1]
    if high is not None:
        to_us = _moments(high)[1 if high.included else 0]
    return OccurredBetween(from_us, to_us)


def _moments(bound: _Bound) -> tuple[int, int]:
    """When the moment begins, and when the next one does: a date is the whole day in UTC."""
    try:
        if _DATE.fullmatch(bound.text):
            day = datetime.fromisoformat(bound.text).replace(tzinfo=UTC)
            first = parse_timestamp(day.isoformat())
            return first, first + _DAY_US
        first = parse_timestamp(bound.text)
    except ValueError as error:
        raise flawed(f"a time {error}", bound.start) from None
    return first, first + 1


def _plain(token: Token) -> str:
    return _unescape(token.text[1:-1] if token.kind == "phrase" else token.text)


def _unescape(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)
