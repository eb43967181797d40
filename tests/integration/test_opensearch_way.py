"""The search index in OpenSearch, on a way that is disturbed: a busy cluster, one that fails, one that is not there."""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
from aiohttp import web
from opensearchpy import AsyncOpenSearch
from pydantic import SecretStr

from certificates import Authority
from clusters import Way, cluster_settings, stored, way_to
from search_conformance import assert_pages, document, expected, varied
from tallystick.adapters.opensearch.bulk import RefusedDocumentError
from tallystick.adapters.opensearch.index import OpenSearchIndex
from tallystick.errors import ConfigurationError, SearchDownError
from tallystick.ports import Hits, SearchRequest
from tallystick.query.terms import MatchAll
from tallystick.settings import SearchSettings

SMALL = {"shared_logs": 3, "shared_events": 20, "index_events": 15}
NEWEST = SearchRequest(MatchAll(), "newest", 1_000)


@pytest.fixture
async def raw(opensearch_url: str) -> AsyncIterator[AsyncOpenSearch]:
    async with AsyncOpenSearch(hosts=[opensearch_url], timeout=60) as client:
        yield client


@pytest.fixture
async def way(opensearch_url: str) -> AsyncIterator[Way]:
    async with way_to(opensearch_url) as opened:
        yield opened


def is_of_events(request: web.Request, body: bytes) -> bool:
    """Whether events are written by a request."""
    return request.path.endswith("_bulk") and b'"marker"' not in body


async def refuse_removals(way: Way, request: web.Request, body: bytes) -> web.Response:
    """Pass on all but the removal of documents."""
    if request.path.endswith("_delete_by_query"):
        return web.Response(status=503)
    return await way.pass_on(request, body)


async def test_what_was_written_but_not_vouched_for_is_not_shown(way: Way, raw: AsyncOpenSearch) -> None:
    settings = cluster_settings(way.url, **SMALL)

    async def lose_markers(request: web.Request, body: bytes) -> web.Response:
        if request.path.endswith("_bulk") and b'"marker"' in body:
            return web.json_response({"error": "lost"}, status=503)
        return await way.pass_on(request, body)

    documents = varied(45)
    async with OpenSearchIndex(settings) as index:
        await index.append(1, documents[:20], through=19)
        way.answer = lose_markers
        with pytest.raises(SearchDownError):
            await index.append(1, documents[:45], through=44)
        way.answer = way.pass_on
        await raw.indices.refresh(index=f"{settings.prefix}-*")
        for limit in (3, 20, 100):
            page = await index.search(1, SearchRequest(MatchAll(), "newest", limit))
            assert page.through == 19
            assert list(page.hits) == expected(documents[:20], MatchAll(), "newest")[:limit]
        # What lies behind the marker must not be found twice once the log goes on elsewhere.
        await index.append(1, documents[:30], through=29)
        await index.append(1, documents[:40], through=39)
        await index.append(1, documents[:45], through=44)
        await assert_pages(index, 1, documents, MatchAll(), limit=10)


async def test_a_busy_cluster_is_given_time_and_only_what_it_refused_comes_again(way: Way) -> None:
    sizes: list[int] = []

    async def busy(request: web.Request, body: bytes) -> web.Response:
        if not is_of_events(request, body):
            return await way.pass_on(request, body)
        sizes.append(body.count(b"\n") // 2)
        if len(sizes) == 1:
            return web.json_response({"error": {"type": "circuit_breaking_exception"}}, status=429)
        if len(sizes) == 2:
            taken = await way.pass_on(request, b"".join(body.splitlines(keepends=True)[:20]))
            assert taken.status == 200
            refused = {"index": {"status": 429, "error": {"type": "rejected_execution_exception"}}}
            return web.json_response({"errors": True, "items": [{"index": {"status": 201}}] * 10 + [refused] * 15})
        return await way.pass_on(request, body)

    way.answer = busy
    async with OpenSearchIndex(cluster_settings(way.url)) as index:
        await index.append(1, varied(25), through=24)
        assert sizes == [25, 25, 15]
        await assert_pages(index, 1, varied(25), MatchAll(), limit=9)


async def test_a_cluster_that_names_a_long_time_is_left_alone(way: Way) -> None:
    asked = 0

    async def busy(request: web.Request, body: bytes) -> web.Response:
        nonlocal asked
        if not is_of_events(request, body):
            return await way.pass_on(request, body)
        asked += 1
        return web.json_response({}, status=429, headers={"retry-after": "77"})

    way.answer = busy
    async with OpenSearchIndex(cluster_settings(way.url)) as index:
        with pytest.raises(SearchDownError) as caught:
            await index.append(1, varied(25), through=24)
    assert (asked, caught.value.retry_after) == (1, 77)


async def test_a_body_that_is_too_large_on_the_way_is_halved(way: Way) -> None:
    async def narrow(request: web.Request, body: bytes) -> web.Response:
        return web.Response(status=413) if len(body) > 4_000 else await way.pass_on(request, body)

    way.answer = narrow
    documents = varied(200)
    async with OpenSearchIndex(cluster_settings(way.url)) as index:
        await index.append(1, documents, through=199)
        await assert_pages(index, 1, documents, MatchAll(), limit=90)
        huge = document(200, text="x " * 3_000)
        with pytest.raises(RefusedDocumentError) as caught:
            await index.append(1, [huge, document(201)], through=201)
        assert caught.value.seq == 200


@pytest.mark.parametrize("outage", ["hangs", "fails", "is another", "forbids"])
async def test_an_outage_is_told_and_ends(way: Way, outage: str) -> None:
    async def fail(_: web.Request, __: bytes) -> web.Response:
        match outage:
            case "fails":
                return web.json_response({"error": {"type": "search_phase_execution_exception"}}, status=503)
            case "is another":
                return web.Response(text="<html>", content_type="text/html")
            case "forbids":
                return web.Response(status=403)
            case _:
                await asyncio.Event().wait()
                raise AssertionError

    settings = cluster_settings(way.url)
    hasty = settings.model_copy(update={"timeout": 0.2})
    async with OpenSearchIndex(settings) as index, OpenSearchIndex(hasty) as failing:
        await index.append(1, varied(9), through=8)
        way.answer = fail
        for attempt in (
            failing.search(1, NEWEST),
            failing.state(1),
            failing.append(1, varied(10), through=9),
            failing.append(2, varied(10), through=9),
            failing.swap(1, "g2"),
            failing.drop(1),
        ):
            with pytest.raises(SearchDownError):
                await attempt
        way.answer = way.pass_on
        await assert_pages(index, 1, varied(9), MatchAll(), limit=4)


async def test_a_cluster_that_is_not_there(opensearch_url: str) -> None:
    async with way_to(opensearch_url) as way:
        settings = cluster_settings(way.url)
    async with OpenSearchIndex(settings) as index:
        with pytest.raises(SearchDownError):
            await index.search(1, NEWEST)


async def test_what_a_removal_left_behind_is_never_seen_again(way: Way, raw: AsyncOpenSearch) -> None:
    settings = cluster_settings(way.url)
    shared = f"{settings.prefix}-events-000000"
    async with OpenSearchIndex(settings) as index:
        await index.append(1, varied(30), through=29)
        way.answer = partial(refuse_removals, way)
        with pytest.raises(SearchDownError):
            await index.drop(1)
        assert await index.search(1, NEWEST) == Hits((), -1)
        await index.append(1, varied(10), through=9)
        await assert_pages(index, 1, varied(10), MatchAll(), limit=4)
        assert await stored(raw, shared, 1) == 32 + 12
        way.answer = way.pass_on
        await index.drop(1)
        assert await stored(raw, shared, 1) == 0


async def test_a_swap_does_not_wait_for_what_cannot_be_removed_now(way: Way, raw: AsyncOpenSearch) -> None:
    settings = cluster_settings(way.url)
    shared = f"{settings.prefix}-events-000000"
    async with OpenSearchIndex(settings) as index:
        await index.append(1, varied(30), through=29)
        await index.append(1, varied(40), through=39, generation="g2")
        way.answer = partial(refuse_removals, way)
        await index.swap(1, "g2")
        await assert_pages(index, 1, varied(40), MatchAll(), limit=30)
        assert await stored(raw, shared, 1) == 32 + 42
        way.answer = way.pass_on
        await index.swap(1, "g2")
        await assert_pages(index, 1, varied(40), MatchAll(), limit=30)
        assert await stored(raw, shared, 1) == 42
        await index.swap(1, "never-built")
        assert await index.search(1, NEWEST) == Hits((), -1)
        assert await stored(raw, shared, 1) == 0


async def test_certificate_and_password(opensearch_url: str, tmp_path: Path) -> None:
    expected_header = f"Basic {b64encode(b'ada:s3cret').decode()}"

    async def guard(request: web.Request, body: bytes) -> web.Response:
        if request.headers.get("authorization") != expected_header:
            return web.Response(status=401)
        return await way.pass_on(request, body)

    authority, stranger = Authority(tmp_path), Authority(tmp_path, "stranger")
    file = tmp_path / "password"
    file.write_text("s3cret\n")
    ours, by_file, by_word = {"ca_file": authority.file}, {"password_file": file}, {"password": SecretStr("s3cret")}
    async with way_to(opensearch_url, authority.certificate("cluster").context()) as way:
        way.answer = guard
        for log_id, password in enumerate((by_file, by_word), start=1):
            async with OpenSearchIndex(cluster_settings(way.url, user="ada", **ours, **password)) as index:
                await index.append(log_id, varied(9), through=8)
                await assert_pages(index, log_id, varied(9), MatchAll(), limit=4)
        for refused, said in (
            (ours, "refuses the user"),
            ({"user": "ada", **by_file}, r"search\.ca_file"),
            ({"user": "ada", "ca_file": stranger.file, **by_file}, r"search\.ca_file"),
        ):
            await assert_down(cluster_settings(way.url, **refused), said)
    async with way_to(opensearch_url, authority.certificate("another", "192.0.2.1").context()) as way:
        await assert_down(cluster_settings(way.url, **ours), r"search\.ca_file")


async def assert_down(settings: SearchSettings, said: str) -> None:
    """Searching fails, and what is said of it tells why."""
    async with OpenSearchIndex(settings) as index:
        with pytest.raises(SearchDownError, match=said):
            await index.search(1, NEWEST)


def test_settings_that_need_a_person(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    for settings in (
        SearchSettings(engine="opensearch"),
        SearchSettings(engine="opensearch", url="http://127.0.0.1:1", user="ada", password_file=missing),
        SearchSettings(engine="opensearch", url="https://127.0.0.1:1", ca_file=missing),
        SearchSettings(
            engine="opensearch",
            url="https://127.0.0.1:1",
            user="ada",
            password_file=missing,
            password=SecretStr("s3cret"),
        ),
    ):
        with pytest.raises(ConfigurationError):
            OpenSearchIndex(settings)
