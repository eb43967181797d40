"""The tree: joining, and the form that cursors are bound to."""

import pytest

from tallystick.query.ast import (
    And,
    Equals,
    Everything,
    InNetwork,
    Node,
    Not,
    OneOf,
    Or,
    SeverityAtLeast,
    canonical,
    conjunction,
)

ADA = Equals("user_id", "ada")
BOB = Equals("user_id", "bob")


def test_a_conjunction_of_nothing_is_everything() -> None:
    assert conjunction() == conjunction(None, Everything()) == Everything()


def test_a_conjunction_of_one_is_that_one() -> None:
    assert conjunction(None, ADA, Everything()) == ADA


def test_conjunctions_are_flattened() -> None:
    assert conjunction(And((ADA, BOB)), Not(ADA)) == And((ADA, BOB, Not(ADA)))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (And((ADA, BOB)), And((BOB, ADA, BOB))),
        (Or((ADA, BOB)), Or((BOB, ADA))),
        (OneOf("user_id", frozenset({"ada", "bob", "eve"})), OneOf("user_id", frozenset({"eve", "bob", "ada"}))),
        (Equals("user_id", "ada"), OneOf("user_id", frozenset({"ada"}))),
    ],
)
def test_order_and_repetition_leave_the_canonical_form_alone(one: Node, other: Node) -> None:
    assert canonical(one) == canonical(other)


def test_different_trees_have_different_canonical_forms() -> None:
    trees: list[Node] = [
        Everything(),
        ADA,
        BOB,
        Not(ADA),
        And((ADA, BOB)),
        Or((ADA, BOB)),
        And(()),
        Or(()),
        Equals("session_id", "ada"),
        OneOf("user_id", frozenset({"ada", "bob"})),
        SeverityAtLeast("ERROR"),
        Equals("severity", "ERROR"),
        InNetwork("ip_address", "10.0.0.0/8"),
        Equals("ip_address", "10.0.0.0/8"),
        Equals("user_id", 'ada","bob'),
    ]
    assert len({canonical(tree) for tree in trees}) == len(trees)


def test_the_canonical_form_does_not_change_between_releases() -> None:
    tree = And((SeverityAtLeast("WARNING"), Or((BOB, ADA)), InNetwork("ip_address", "10.0.0.0/8"), Not(Everything())))
    assert canonical(tree) == (
        '["and",["network","ip_address","10.0.0.0/8"],["not",["everything"]],'
        '["or",["is","user_id","ada"],["is","user_id","bob"]],["severity","WARNING"]]'
    )
