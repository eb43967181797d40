"""The search index in OpenSearch, on a real server."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from opensearchpy import AsyncOpenSearch

from clusters import cluster_settings, stored
from search_conformance import SearchConformance, assert_pages, document, fresh_log, varied
from tallystick.adapters.opensearch.bulk import RefusedDocumentError
from tallystick.adapters.opensearch.index import OpenSearchIndex
from tallystick.errors import InvalidError
from tallystick.ports import CorruptIndexError, SearchRequest
from tallystick.query.analysis import analyse
from tallystick.query.terms import AllOf, Consecutive, MatchAll, Occurred
from tallystick.settings import SearchSettings

SMALL = {"shared_logs": 3, "shared_events": 20, "index_events": 15}
NEWEST = SearchRequest(MatchAll(), "newest", 1_000)


@pytest.fixture(params=[{}, SMALL], ids=["one part", "several parts"])
async def index(request: pytest.FixtureRequest, opensearch_url: str) -> AsyncIterator[OpenSearchIndex]:
    async with OpenSearchIndex(cluster_settings(opensearch_url, **request.param)) as made:
        yield made


class TestConformance(SearchConformance):
    pass


@pytest.fixture
async def raw(opensearch_url: str) -> AsyncIterator[AsyncOpenSearch]:
    async with AsyncOpenSearch(hosts=[opensearch_url], timeout=60) as client:
        yield client


async def indices_of(raw: AsyncOpenSearch, settings: SearchSettings) -> list[str]:
    """The indices of an installation, without its prefix."""
    found = await raw.indices.get(index=f"{settings.prefix}-*")
    return sorted(name.removeprefix(f"{settings.prefix}-") for name in found)


async def test_other_logs_are_untouched_when_one_moves_and_goes(opensearch_url: str, raw: AsyncOpenSearch) -> None:
    settings = cluster_settings(opensearch_url, shared_logs=1_000)
    one, others = 7, (77, 70, 8)
    async with OpenSearchIndex(settings) as index:
        for log_id in (one, *others):
            await index.append(log_id, varied(30), through=29)
        shared = f"{settings.prefix}-events-000000"
        before = [await stored(raw, shared, log_id) for log_id in others]
        await index.append(one, varied(40), through=39, generation="g2")
        await index.swap(one, "g2")
        assert await stored(raw, shared, one) == 40 + 2
        await assert_pages(index, one, varied(40), MatchAll(), limit=9)
        await index.drop(one)
        assert await stored(raw, shared, one) == 0
        aliased = (await raw.indices.get_alias(index=shared))[shared]["aliases"]
        assert sorted(aliased) == sorted(f"{settings.prefix}-log-{log_id}" for log_id in others)
        assert [await stored(raw, shared, log_id) for log_id in others] == before
        for log_id in others:
            await assert_pages(index, log_id, varied(30), MatchAll(), limit=9)
            assert (await index.state(log_id)).documents == 30


async def test_a_large_log_goes_on_in_indices_of_its_own(opensearch_url: str, raw: AsyncOpenSearch) -> None:
    settings = cluster_settings(opensearch_url, **SMALL)
    log_id, documents = 4, varied(100)
    async with OpenSearchIndex(settings) as index:
        for end in range(10, 101, 10):
            await index.append(log_id, documents[end - 10 : end], through=end - 1)
        shared, *own = await indices_of(raw, settings)
        assert shared == "events-000001"
        assert [name[:12] + name[-7:] for name in own] == [f"log-4-first--{number:06d}" for number in range(1, 5)]
        for query in (MatchAll(), Consecutive("text", ("login",)), Occurred(5_000, 20_000)):
            await assert_pages(index, log_id, documents, query, limit=7)
        state = await index.state(log_id)
        assert (state.through, state.documents) == (99, 100)
        assert state.bytes > 0
        for end in (25, 50, 75, 100):
            await index.append(log_id, documents[:end], through=end - 1, generation="again")
        await index.swap(log_id, "again")
        await assert_pages(index, log_id, documents, MatchAll(), limit=7)
        assert [name[:12] for name in await indices_of(raw, settings)] == ["events-00000", *["log-4-again-"] * 3]


async def test_what_events_hold_adds_no_field(opensearch_url: str, raw: AsyncOpenSearch) -> None:
    settings = cluster_settings(opensearch_url)
    async with OpenSearchIndex(settings) as index:
        await index.append(1, [analyse(0, 0, 0, {"action": "a"})], through=0)
        name = f"{settings.prefix}-events-000000"
        before = await raw.indices.get_mapping(index=name)
        metadata = {f"key {number}": {"deep.er": [number, "text", {"k": None}]} for number in range(300)}
        body: dict[str, Any] = {"action": "a", "metadata": metadata, "log": "9-x", "marker": "newest"}
        await index.append(1, [analyse(1, 0, 0, body)], through=1)
        assert await raw.indices.get_mapping(index=name) == before
        refused = await raw.bulk(
            index=name, params={"routing": "1"}, body='{"index":{"_id":"x"}}\n{"metadata":{"a":1}}\n'
        )
        assert refused["items"][0]["index"]["error"]["type"] == "strict_dynamic_mapping_exception"


async def test_terms_of_another_log_match_nothing_even_without_the_filter(
    opensearch_url: str, raw: AsyncOpenSearch
) -> None:
    settings = cluster_settings(opensearch_url)
    async with OpenSearchIndex(settings) as index:
        await index.append(1, [document(0, text="secret")], through=0)
        await index.append(2, [document(0, text="open")], through=0)
        everywhere = f"{settings.prefix}-events-000000"
        for text, logs in (("1:secret", 1), ("2:secret", 0), ("secret", 0)):
            found = await raw.count(index=everywhere, body={"query": {"term": {"text": text}}})
            assert found["count"] == logs


async def test_many_begin_at_once(opensearch_url: str) -> None:
    settings = cluster_settings(opensearch_url, shared_logs=2)
    async with OpenSearchIndex(settings) as one, OpenSearchIndex(settings) as other:
        logs = range(1, 11)
        await asyncio.gather(*((one, other)[log_id % 2].append(log_id, varied(5), through=4) for log_id in logs))
        for log_id in logs:
            await assert_pages(one, log_id, varied(5), MatchAll(), limit=3)


async def test_a_phrase_that_could_go_on_too_many_ways_is_refused(index: OpenSearchIndex) -> None:
    log_id, neighbour = 1, 2
    endless = Consecutive("text", ("login", "n"), prefix=True)
    await index.append(log_id, [document(seq) for seq in range(20_000)], through=19_999)
    await index.append(neighbour, [document(seq) for seq in range(10)], through=9)
    with pytest.raises(InvalidError):
        await index.search(log_id, SearchRequest(AllOf((endless, MatchAll())), "newest", 5))
    assert len((await index.search(neighbour, SearchRequest(endless, "newest", 50))).hits) == 10


async def test_a_document_that_is_refused_is_named_and_the_rest_passes(index: OpenSearchIndex) -> None:
    log_id = fresh_log()
    documents = [document(0), document(1), document(2, occurred_us=1 << 63), document(3)]
    with pytest.raises(RefusedDocumentError) as caught:
        await index.append(log_id, documents, through=3)
    assert caught.value.seq == 2
    assert (await index.search(log_id, NEWEST)).through == -1
    await index.append(log_id, documents[:2], through=1)
    await index.append(log_id, [], through=2)
    await index.append(log_id, documents[3:], through=3)
    assert [hit.seq for hit in (await index.search(log_id, NEWEST)).hits] == [3, 1, 0]


async def test_an_index_that_somebody_removed_is_empty_and_filled_again(
    opensearch_url: str, raw: AsyncOpenSearch
) -> None:
    settings = cluster_settings(opensearch_url, **SMALL)
    async with OpenSearchIndex(settings) as index:
        await index.append(1, varied(10), through=9)
        await raw.indices.delete(index=f"{settings.prefix}-events-000000")
        assert (await index.search(1, NEWEST)).through == -1
        assert (await index.state(1)).through == -1
        await index.append(1, varied(10), through=9)
        await assert_pages(index, 1, varied(10), MatchAll(), limit=4)


async def test_a_missing_part_is_damage(opensearch_url: str, raw: AsyncOpenSearch) -> None:
    settings = cluster_settings(opensearch_url, **SMALL)
    documents = varied(60)
    async with OpenSearchIndex(settings) as index:
        for end in (20, 40, 60):
            await index.append(4, documents[:end], through=end - 1)
        _, first, _ = await indices_of(raw, settings)
        await raw.indices.delete(index=f"{settings.prefix}-{first}")
        for attempt in (index.search(4, NEWEST), index.state(4), index.append(4, documents, through=59)):
            with pytest.raises(CorruptIndexError):
                await attempt
        await index.drop(4)
        assert await indices_of(raw, settings) == ["events-000001"]
        await index.append(4, documents, through=59)
        await assert_pages(index, 4, documents, MatchAll(), limit=50)


async def test_a_log_of_very_many_parts(opensearch_url: str) -> None:
    settings = cluster_settings(opensearch_url, shared_events=1, index_events=1)
    async with OpenSearchIndex(settings) as index:
        for seq in range(7):
            await index.append(1, [document(seq)], through=seq)
        await assert_pages(index, 1, [document(seq) for seq in range(7)], MatchAll(), limit=2)
        assert (await index.state(1)).documents == 7
        await index.drop(1)
        assert (await index.state(1)).through == -1


async def test_a_generation_is_not_dropped_once_it_is_live(index: OpenSearchIndex) -> None:
    log_id = fresh_log()
    await index.append(log_id, varied(10), through=9, generation="g2")
    await index.swap(log_id, "g2")
    await index.drop(log_id, generation="g2")
    await assert_pages(index, log_id, varied(10), MatchAll(), limit=4)
    with pytest.raises(ValueError, match="generation"):
        await index.append(log_id, varied(1), through=0, generation="../_all")
