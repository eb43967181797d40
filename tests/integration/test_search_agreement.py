"""The index finds what the predicate says: random events, random questions, all pages in both orders."""

from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import query_strategies as strategies
from search_conformance import all_pages, fresh_log
from tallystick.adapters.tantivy.index import TantivyIndex
from tallystick.ports import SearchIndex
from tallystick.query.analysis import analyse
from tallystick.query.ast import Node
from tallystick.query.lowering import lower
from tallystick.query.predicate import compile_predicate
from tallystick.query.timestamps import parse_timestamp
from tallystick.settings import SearchSettings


@pytest.fixture
async def index(tmp_path: Path) -> AsyncGenerator[SearchIndex]:
    async with TantivyIndex(tmp_path, SearchSettings(roll_events=1_000)) as made:
        yield made


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[dict[str, Any]], list[Node]]:
    bodies = draw(st.lists(strategies.bodies(), min_size=1, max_size=8))
    return bodies, draw(st.lists(strategies.nodes(bodies), min_size=1, max_size=6))


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(case=cases())
async def test_pages_are_what_the_predicate_says(
    index: SearchIndex, case: tuple[list[Mapping[str, object]], list[Node]]
) -> None:
    bodies, nodes = case
    log_id = fresh_log()
    documents = [analyse(seq, 0, parse_timestamp(str(body["timestamp"])), body) for seq, body in enumerate(bodies)]
    await index.append(log_id, documents, through=len(documents) - 1)
    for node in nodes:
        matches = compile_predicate(node)
        places = [(each.occurred_us, each.seq) for each in documents if matches(bodies[each.seq])]
        for order in ("newest", "oldest"):
            hits = await all_pages(index, log_id, lower(node), order, 2)
            found = [(hit.occurred_us, hit.seq) for hit in hits]
            assert found == sorted(places, reverse=order == "newest")
