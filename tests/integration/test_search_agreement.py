"""Every index finds what the predicate says: random events, random questions, all pages in both orders."""

from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import query_strategies as strategies
from clusters import cluster_settings
from search_conformance import all_pages, fresh_log
from tallystick.adapters.opensearch.index import OpenSearchIndex
from tallystick.adapters.tantivy.index import TantivyIndex
from tallystick.ports import SearchIndex
from tallystick.query.analysis import analyse
from tallystick.query.ast import Node
from tallystick.query.lowering import lower
from tallystick.query.predicate import compile_predicate
from tallystick.query.timestamps import parse_timestamp
from tallystick.settings import SearchSettings

Case = tuple[list[Mapping[str, object]], list[Node]]


@pytest.fixture
async def tantivy(tmp_path: Path) -> AsyncGenerator[SearchIndex]:
    async with TantivyIndex(tmp_path, SearchSettings(roll_events=1_000)) as made:
        yield made


@pytest.fixture
async def opensearch(opensearch_url: str) -> AsyncGenerator[SearchIndex]:
    async with OpenSearchIndex(cluster_settings(opensearch_url, shared_logs=1_000)) as made:
        yield made


@st.composite
def cases(draw: st.DrawFn, most_events: int, most_questions: int) -> tuple[list[dict[str, Any]], list[Node]]:
    bodies = draw(st.lists(strategies.bodies(), min_size=1, max_size=most_events))
    return bodies, draw(st.lists(strategies.nodes(bodies), min_size=1, max_size=most_questions))


def property_of(examples: int) -> settings:
    return settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
    )


@property_of(examples=60)
@given(case=cases(8, 6))
async def test_pages_of_tantivy_are_what_the_predicate_says(tantivy: SearchIndex, case: Case) -> None:
    await assert_agreement(tantivy, case, limit=2)


@property_of(examples=20)
@given(case=cases(12, 20))
async def test_pages_of_opensearch_are_what_the_predicate_says(opensearch: SearchIndex, case: Case) -> None:
    await assert_agreement(opensearch, case, limit=5)


async def assert_agreement(index: SearchIndex, case: Case, limit: int) -> None:
    """All pages of all questions are what looking at every event gives."""
    bodies, nodes = case
    log_id = fresh_log()
    documents = [analyse(seq, 0, parse_timestamp(str(body["timestamp"])), body) for seq, body in enumerate(bodies)]
    await index.append(log_id, documents, through=len(documents) - 1)
    for node in nodes:
        matches = compile_predicate(node)
        places = [(each.occurred_us, each.seq) for each in documents if matches(bodies[each.seq])]
        for order in ("newest", "oldest"):
            hits = await all_pages(index, log_id, lower(node), order, limit)
            found = [(hit.occurred_us, hit.seq) for hit in hits]
            assert found == sorted(places, reverse=order == "newest")
