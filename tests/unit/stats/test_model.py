"""Buckets and the rollups that cover them, and which filters rollups can answer."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.query.ast import Equals, Everything, Exists, Node, Not, OneOf, SeverityAtLeast, conjunction
from tallystick.stats.model import KindFilter, Period, kind_filter, pieces
from tallystick.stats.rolling import DAY_US, QUARTER_US, WIDTHS

quarters = st.integers(min_value=-2_000, max_value=2_000).map(lambda number: number * QUARTER_US)
edges = st.lists(quarters, min_size=2, max_size=8, unique=True).map(sorted)


@given(edges=edges)
def test_pieces_cover_each_bucket_once_with_the_widest_that_fit(edges: list[int]) -> None:
    found = list(pieces(edges))
    for bucket, (begin, end) in enumerate(pairwise(edges)):
        own = [piece for piece in found if piece.bucket == bucket]
        assert [own[0].from_us, own[-1].to_us] == [begin, end]
        assert all(one.to_us == next_one.from_us for one, next_one in pairwise(own))
        assert all(piece.from_us < piece.to_us for piece in own)
        for minutes in WIDTHS:
            width = minutes * 60_000_000
            whole = range(-(-begin // width), end // width)
            covered = [piece for piece in own if piece.minutes >= minutes]
            assert all(piece.from_us % width == piece.to_us % width == 0 for piece in covered)
            assert sum(piece.to_us - piece.from_us for piece in covered) == len(whole) * width


def test_a_period_of_whole_quarters() -> None:
    assert Period((0, QUARTER_US, DAY_US)).whole_quarters
    assert not Period((0, QUARTER_US + 1, DAY_US)).whole_quarters


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (Everything(), KindFilter()),
        (Equals("action", "login"), KindFilter(actions=frozenset({"login"}))),
        (OneOf("severity", frozenset({"INFO", "ERROR"})), KindFilter(severities=frozenset({"INFO", "ERROR"}))),
        (SeverityAtLeast("ERROR"), KindFilter(severities=frozenset({"ERROR", "CRITICAL"}))),
        (
            conjunction(
                SeverityAtLeast("ERROR"), OneOf("severity", frozenset({"INFO", "ERROR"})), Equals("action", "a")
            ),
            KindFilter(actions=frozenset({"a"}), severities=frozenset({"ERROR"})),
        ),
        (
            conjunction(Equals("resource_type", "a"), Equals("resource_type", "b")),
            KindFilter(resource_types=frozenset()),
        ),
        (Equals("user_id", "ada"), None),
        (conjunction(Equals("action", "login"), Equals("user_id", "ada")), None),
        (Not(Equals("action", "login")), None),
        (Exists(("metadata",)), None),
    ],
)
def test_which_filters_rollups_can_answer(node: Node, expected: KindFilter | None) -> None:
    assert kind_filter(node) == expected
