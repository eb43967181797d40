"""Terms mean what the predicate says: the one is made for engines, the other looks at the event itself."""

from collections.abc import Mapping

from hypothesis import given, settings

import query_strategies as strategies
from tallystick.query.analysis import analyse, exact_term
from tallystick.query.ast import Node, Words
from tallystick.query.lowering import lower
from tallystick.query.matching import compile_terms, prepare, sift
from tallystick.query.predicate import compile_predicate
from tallystick.query.terms import GAP, MAX_TERM
from tallystick.query.timestamps import parse_timestamp
from tallystick.query.tokens import MAX_TOKEN


@settings(max_examples=400)
@given(strategies.bodies_with_nodes())
def test_terms_and_predicate_agree(case: tuple[Mapping[str, object], Node]) -> None:
    body, node = case
    document = prepare(analyse(0, 0, parse_timestamp(str(body["timestamp"])), body))
    matches = compile_predicate(node)(body)
    assert compile_terms(lower(node))(document) == matches
    assert sift(lower(node), [document, document]) == 2 * matches * [document]


@given(strategies.bodies())
def test_no_term_is_split_or_cut_by_an_engine(body: Mapping[str, object]) -> None:
    document = analyse(0, 0, 0, body)
    for stream in (document.text, document.paths, document.terms):
        for term in stream.split(" ") if stream else ():
            assert term == GAP or not any(character.isspace() for character in term)
            assert 0 < len(term.encode("utf-16-le")) // 2 <= MAX_TERM


@given(strategies.bodies())
def test_no_term_is_given_twice(body: Mapping[str, object]) -> None:
    terms = analyse(0, 0, 0, body).terms.split(" ")
    assert len(terms) == len(set(terms))


def test_a_value_of_more_than_32_kb_is_found_whole() -> None:
    body = {"timestamp": "2026-11-24T17:21:36Z", "metadata": {"dump": "filler " * 6_000 + "needle in " + "y" * 40_000}}
    document = prepare(analyse(0, 0, 0, body))
    for node in (Words(None, ("needle", "in", "y" * MAX_TOKEN)), Words(("metadata", "dump"), ("needle",))):
        assert compile_terms(lower(node))(document)
        assert compile_predicate(node)(body)
    assert not compile_terms(lower(Words(None, ("in", "needle"))))(document)


def test_whatever_an_engine_takes_for_space_is_escaped_in_exact_terms() -> None:
    for character in map(chr, range(0x3100)):  # no space lies beyond
        term = exact_term("user_id", f"a{character}b")
        # Rust and Java split at what Python does, and Java at one more, which Unicode once called a space.
        assert len(term.split()) == 1
        assert ("\\u" in term) == (character.isspace() or character in "\\\u180e")
