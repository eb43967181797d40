"""Of a sealed value a search knows that it is there, and no letter of it: no index holds what was encrypted."""

from collections.abc import Mapping

import pytest

from query_strategies import SEALED_TEXT, SEALED_VALUE
from tallystick.query.analysis import analyse
from tallystick.query.parser import parse
from tallystick.query.predicate import compile_predicate
from tallystick.query.tokens import tokens

BODY: Mapping[str, object] = {
    "action": "invoice.pay",
    "metadata": {"card": SEALED_VALUE, "cards": [SEALED_VALUE, "none"], "shop": "Lyon"},
    "message": SEALED_TEXT,
}


def test_no_term_holds_a_part_of_what_is_sealed() -> None:
    indexed = repr(analyse(1, 1, 1, BODY)).casefold()
    assert "lyon" in indexed
    pieces = {token for text in (SEALED_VALUE["$sealed"], SEALED_TEXT) for token in tokens(text) if len(token) > 1}
    assert {"sealed", "20261128"} < pieces
    assert not any(piece in indexed for piece in pieces)


@pytest.mark.parametrize(
    ("q", "found"),
    [
        ("metadata.card:*", True),
        ("message:*", True),
        ("lyon", True),
        ("metadata.cards:none", True),
        ("sealed", False),
        ("20261128", False),
        (f'"{SEALED_VALUE["$sealed"]}"', False),
        (f'message:"{SEALED_TEXT}"', False),
    ],
)
def test_a_question_finds_that_it_is_there_and_not_what_it_is(q: str, found: bool) -> None:
    assert compile_predicate(parse(q))(BODY) is found


def test_what_only_resembles_it_is_searched_like_any_text() -> None:
    assert compile_predicate(parse("sealed"))({"metadata": {"a": "$sealed:by hand"}})
