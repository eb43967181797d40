"""The text of a question: what it means, and what is said of one that has no meaning."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.errors import InvalidError
from tallystick.query.ast import (
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
    SeverityAtLeast,
    Words,
    canonical,
)
from tallystick.query.parser import MAX_CLAUSES, MAX_DEPTH, MAX_LENGTH, parse
from tallystick.query.timestamps import parse_timestamp

A, B, C = (Words(None, (letter,)) for letter in "abc")
NOON = parse_timestamp("2026-11-24T12:00:00Z")
MIDNIGHT = parse_timestamp("2026-11-24T00:00:00Z")
DAY = 86_400_000_000


def total(low: float | None, high: float | None, *, low_open: bool = False, high_open: bool = False) -> NumberRange:
    return NumberRange(("metadata", "total"), low, high, low_open, high_open)


@pytest.mark.parametrize(
    ("text", "node"),
    [
        ("a", A),
        ("Straße", Words(None, ("strasse",))),
        ("*", Everything()),
        ("log*", Words(None, ("log",), prefix=True)),
        ('"Signed in"', Words(None, ("signed", "in"))),
        (r'"say \"a\""', Words(None, ("say", "a"))),
        ("maria@acme.example", Words(None, ("maria", "acme", "example"))),
        ("maria@ac*", Words(None, ("maria", "ac"), prefix=True)),
        ("10.1.2.3", Words(None, ("10", "1", "2", "3"))),
        ("東京都", Words(None, ("東京", "京都"))),
        ("都", Words(None, ("都",), prefix=True)),
        ("a b", And((A, B))),
        ("a AND b && c", And((A, B, C))),
        ("a OR b || c", Or((A, B, C))),
        ("a OR b c", Or((A, And((B, C))))),
        ("(a OR b) c", And((Or((A, B)), C))),
        ("NOT a b", And((Not(A), B))),
        ("a -b", And((A, Not(B)))),
        ("a !b", And((A, Not(B)))),
        ("NOT NOT a", Not(Not(A))),
        ("NOT (a OR b)", Not(Or((A, B)))),
        ("and or not", And((Words(None, ("and",)), Words(None, ("or",)), Words(None, ("not",))))),
        ("ANDREW ORLANDO", And((Words(None, ("andrew",)), Words(None, ("orlando",))))),
        ("message:a", Words(("message",), ("a",))),
        ('message:"a b"', Words(("message",), ("a", "b"))),
        ("message:(a OR b*)", Or((Words(("message",), ("a",)), Words(("message",), ("b",), prefix=True)))),
        ("-message:a", Not(Words(("message",), ("a",)))),
        ("message:*", Exists(("message",))),
        ("metadata.order.id:a", Words(("metadata", "order", "id"), ("a",))),
        (r"metadata.a\.b:a", Words(("metadata", "a.b"), ("a",))),
        ('metadata."a.b"."".c:a', Words(("metadata", "a.b", "", "c"), ("a",))),
        ("after:*", Exists(("after",))),
        ("before.x:*", Exists(("before", "x"))),
        ("metadata.url:https://a/b?c", Words(("metadata", "url"), ("https", "a", "b", "c"))),
        ("metadata.total:42", Words(("metadata", "total"), ("42",))),
        ("metadata.total:>10", total(10, None, low_open=True)),
        ("metadata.total:>= 10", total(10, None)),
        ("metadata.total:<-1.5e3", total(None, -1500, high_open=True)),
        ("metadata.total:<=10", total(None, 10)),
        ("metadata.total:[10 TO 20]", total(10, 20)),
        ("metadata.total:{10 TO 20]", total(10, 20, low_open=True)),
        ("metadata.total:[10 TO 20}", total(10, 20, high_open=True)),
        ("metadata.total:[* TO 20]", total(None, 20)),
        ("metadata.total:{10 TO *}", total(10, None, low_open=True)),
        ("severity:error", Equals("severity", "ERROR")),
        ("severity:>=WARNING", SeverityAtLeast("WARNING")),
        ("severity:>WARNING", SeverityAtLeast("ERROR")),
        ("severity:<ERROR", And((SeverityAtLeast("INFO"), Not(SeverityAtLeast("ERROR"))))),
        ("severity:>CRITICAL", Or(())),
        ("ip_address:10.1.2.3", InNetwork("ip_address", "10.1.2.3/32")),
        ("ip_address:10.1.0.0/16", InNetwork("ip_address", "10.1.0.0/16")),
        ("ip_address:2001:db8::/32", InNetwork("ip_address", "2001:db8::/32")),
        ("ip_address:10.1*", Words(("ip_address",), ("10", "1"), prefix=True)),
        ("timestamp:>=2026-11-24T12:00:00Z", OccurredBetween(NOON, None)),
        ("timestamp:>2026-11-24T12:00:00Z", OccurredBetween(NOON + 1, None)),
        ("timestamp:<2026-11-24T13:00:00+01:00", OccurredBetween(None, NOON)),
        ("timestamp:<=2026-11-24T12:00:00Z", OccurredBetween(None, NOON + 1)),
        ("timestamp:2026-11-24", OccurredBetween(MIDNIGHT, MIDNIGHT + DAY)),
        ("timestamp:[2026-11-24 TO 2026-11-24T12:00:00Z}", OccurredBetween(MIDNIGHT, NOON)),
        ("timestamp:{2026-11-23 TO 2026-11-24]", OccurredBetween(MIDNIGHT, MIDNIGHT + DAY)),
    ],
)
def test_what_a_text_means(text: str, node: Node) -> None:
    assert parse(text) == node


@pytest.mark.parametrize(
    ("text", "position", "words"),
    [
        ("", 0, "nothing is asked"),
        ("  ", 0, "nothing is asked"),
        ("a AND", 5, "missing"),
        ("OR a", 0, "'OR' is not expected"),
        ("a OR OR b", 5, "'OR' is not expected"),
        ("(a", 2, "closing parenthesis"),
        ("a)", 1, "not expected"),
        ('a "b', 2, "no end"),
        ("a \\", 2, "backslash"),
        ("a …", 2, "no letter"),
        ("lo*gin", 2, "end of a word"),
        ("nosuch:a", 0, "there is no field 'nosuch'"),
        ("a message:", 10, "missing"),
        ("message.x:a", 0, "there is no field"),
        ("metadata:a", 0, "name a key"),
        ("metadata..a:b", 9, "two in a row"),
        ("metadata.a.:b", 11, "ends in a dot"),
        ("message:[a TO b]", 0, "message has no range"),
        ("metadata.a:[1 TO]", 16, "bound"),
        ("metadata.a:[1 2]", 14, "low TO high"),
        ("metadata.a:[1 TO 2", 18, "end of the range"),
        ("metadata.a:>x", 12, "not a number"),
        ("metadata.a:>1e999", 12, "larger"),
        (">5", 0, "needs a field"),
        ("severity:LOUD", 9, "one of INFO"),
        ("ip_address:10.0.0.0/99", 11, "must be"),
        ("timestamp:yesterday", 10, "RFC 3339"),
        ("timestamp:2026-02-30", 10, "a time"),
        ("timestamp:2026-11-24T12:00:00", 10, "offset"),
        ("timestamp:2026*", 10, "range"),
        ("message:(a metadata.x:b)", 11, "parentheses"),
        ("x" * (MAX_LENGTH + 1), MAX_LENGTH, "longer"),
        ("(" * (MAX_DEPTH + 1) + "a" + ")" * (MAX_DEPTH + 1), MAX_DEPTH, "deeper"),
        ("NOT " * (MAX_DEPTH + 1) + "a", 4 * MAX_DEPTH, "deeper"),
        ("a " * (MAX_CLAUSES + 1), 2 * MAX_CLAUSES, "more than"),
    ],
)
def test_a_flaw_names_the_character(text: str, position: int, words: str) -> None:
    with pytest.raises(InvalidError) as caught:
        parse(text)
    (flaw,) = caught.value.flaws
    assert flaw.parameter == "q"
    assert flaw.detail.startswith(f"at character {position + 1}: ")
    assert words in flaw.detail


_PIECES = ("a", '"', "(", ")", ":", "metadata", ".", "[", "]", "{", "}", " TO ", " AND ", " OR ", " NOT ", "-", "!")
_MORE = (
    "*",
    "\\",
    "<",
    ">=",
    "timestamp:",
    "severity:",
    "ip_address:",
    "9999-12-31",
    "1e999",
    "10.0.0.0/8",
    "東",
    "…",
    " ",
)


@given(st.one_of(st.lists(st.sampled_from((*_PIECES, *_MORE)), max_size=12).map("".join), st.text(max_size=30)))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(InvalidError):
        canonical(parse(text))
