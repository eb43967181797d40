"""The reference of the query language says what it does: its examples are parsed and tried on the page's own events."""

import json
import re
from collections.abc import Mapping
from inspect import getdoc
from pathlib import Path
from typing import Any

import pytest

from tallystick.errors import InvalidError
from tallystick.log.model import Clock, validate_event
from tallystick.query import parser
from tallystick.query.analysis import TEXT_FIELDS, TREES, analyse
from tallystick.query.lowering import lower
from tallystick.query.matching import compile_terms, prepare
from tallystick.query.parser import MAX_CLAUSES, MAX_DEPTH, MAX_LENGTH, parse
from tallystick.query.predicate import compile_predicate
from tallystick.query.timestamps import parse_timestamp
from tallystick.query.tokens import MAX_TOKEN
from tallystick.settings import EventSettings

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "query-language.md").read_text()


def section(heading: str) -> str:
    """What stands below a heading of the second level."""
    return PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def rows(heading: str, pattern: str) -> list[tuple[str, ...]]:
    """The rows of a section's table, all of which must fit."""
    lines = [line for line in section(heading).splitlines() if line.startswith("| ")][2:]
    found = [re.fullmatch(pattern, line) for line in lines]
    assert all(found), [line for line, match in zip(lines, found, strict=True) if match is None]
    return [match.groups() for match in found if match]


def events() -> list[dict[str, Any]]:
    [block] = re.findall(r"```json\n(.*?)```", section("Examples"), re.DOTALL)
    return [json.loads(line) for line in block.splitlines()]


EXAMPLES = rows("Examples", r"\| .+? \| `(.+)` \| ([\d, ]*)\|")
REFUSED = rows("Errors", r"\| `(.+)` \| (.+) \|")


@pytest.mark.parametrize(("question", "finds"), EXAMPLES, ids=[question for question, _ in EXAMPLES])
def test_an_example_finds_what_it_says(question: str, finds: str) -> None:
    node = parse(question)
    by_body, by_terms = compile_predicate(node), compile_terms(lower(node))
    wanted = re.findall(r"\d+", finds)

    def terms_of(number: int, event: Mapping[str, object]) -> bool:
        moment = parse_timestamp(str(event["timestamp"]))
        return by_terms(prepare(analyse(number, moment, moment, event)))

    assert [event["event_id"] for event in events() if by_body(event)] == wanted
    assert [event["event_id"] for number, event in enumerate(events()) if terms_of(number, event)] == wanted


def test_there_are_examples_for_every_event() -> None:
    assert len(EXAMPLES) > 20
    assert {each for _, finds in EXAMPLES for each in re.findall(r"\d+", finds)} == {
        event["event_id"] for event in events()
    }


def test_the_events_are_valid() -> None:
    clock = Clock(parse_timestamp("2026-11-25T00:00:00Z"), 604_800_000_000, 300_000_000)
    for event in events():
        validate_event(event, EventSettings(), clock)


@pytest.mark.parametrize(("question", "said"), REFUSED, ids=[question for question, _ in REFUSED])
def test_a_refused_question_is_told_what_the_page_says(question: str, said: str) -> None:
    with pytest.raises(InvalidError) as caught:
        parse(question)
    (flaw,) = caught.value.flaws

    assert flaw.detail.startswith(said)


def test_the_grammar_is_the_parsers() -> None:
    [grammar] = re.findall(r"```text\n(.*?)```", section("Grammar"), re.DOTALL)

    assert grammar.strip() in (getdoc(parser) or "").replace("\n    ", "\n")


def test_every_field_has_a_row() -> None:
    table = [line.split("|")[1] for line in section("Fields").splitlines() if line.startswith("| ")]
    named = re.findall(r"`([\w.<>]+)`", " ".join(table))

    assert sorted(named) == sorted((*TEXT_FIELDS, "timestamp", *TREES, *(f"{tree}.<key>" for tree in TREES)))


def test_the_limits_are_the_parsers() -> None:
    limits = [limit for (limit,) in rows("Limits", r"\| .+ \| ([\d,]+) ?\w* \|")]

    assert limits == [f"{MAX_LENGTH:,}", f"{MAX_CLAUSES}", f"{MAX_DEPTH}"]
    assert f"longer than {MAX_TOKEN} characters the first {MAX_TOKEN}" in section("What a word is")
