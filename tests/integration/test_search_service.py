"""Searches: the index and the few events behind it answer as one, wherever the border between them lies."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import asyncpg
import orjson
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

import query_strategies as strategies
from factories import make_log
from stored_events import Put, Row, fill_log, now_us, put, put_cursor, remove
from tallystick.adapters.tantivy.index import TantivyIndex
from tallystick.auth.keys import SigningKeys
from tallystick.database.pools import Database
from tallystick.errors import InvalidError, SearchDownError
from tallystick.log.reader import ListQuery, LogReader
from tallystick.log.source import LogSource
from tallystick.ports import CorruptIndexError, Hits, SearchIndex, SearchRequest
from tallystick.query.ast import And, Equals, Everything, Node, Not, Words
from tallystick.query.cursor import CursorCodec
from tallystick.query.parser import parse
from tallystick.query.predicate import compile_predicate
from tallystick.query.terms import MatchAll
from tallystick.query.timestamps import parse_timestamp
from tallystick.search.damage import ReportDamage
from tallystick.search.follower import NAME, documents_of
from tallystick.search.losses import Losses
from tallystick.search.model import SearchPage, SearchQuery
from tallystick.search.service import SearchService
from tallystick.search.tail import Tails
from tallystick.settings import SearchSettings, Settings

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

CURSORS = CursorCodec(SigningKeys("k1", {"k1": b"a secret of thirty-two bytes ...."}))
EVERYTHING = Everything()
LOGIN: Mapping[str, object] = {"action": "login"}


@dataclass(frozen=True)
class Searching:
    """A search service over a real index, whose border the test moves."""

    service: SearchService
    index: TantivyIndex
    source: LogSource
    damaged: list[int]

    async def index_through(self, log_id: int, through: int) -> None:
        """Let the index catch up to a seq."""
        done = (await self.index.state(log_id)).through
        if through > done:
            stretch = await self.source.read(log_id, done, None, limit=through - done, max_bytes=1 << 30)
            await self.index.append(log_id, await documents_of(stretch.events), through=through)

    async def walk(self, log_id: int, query: SearchQuery, narrowing: Node = EVERYTHING) -> list[SearchPage]:
        """All pages from the first to the last."""
        pages: list[SearchPage] = []
        cursor = query.listing.cursor
        while not pages or cursor is not None:
            pages.append(await self.service.page(log_id, narrowing, at(query, cursor)))
            cursor = pages[-1].page.next
        return pages

    async def walk_back(self, log_id: int, query: SearchQuery, last: SearchPage) -> list[SearchPage]:
        """All pages from the last to the first, in that order."""
        pages = [last]
        while pages[-1].page.prev is not None:
            pages.append(await self.service.page(log_id, EVERYTHING, at(query, pages[-1].page.prev)))
        return pages


def at(query: SearchQuery, cursor: str | None) -> SearchQuery:
    return replace(query, listing=replace(query.listing, cursor=cursor))


def asking(q: str = "", filters: Node = EVERYTHING, *, highlight: bool = False, **listing: Any) -> SearchQuery:
    return SearchQuery(ListQuery(filters, **listing), parse(q) if q else EVERYTHING, highlight)


async def undamaged(log_id: int) -> None:
    raise AssertionError(f"the index of log {log_id} was reported")


def service_over(database: Database, index: SearchIndex, report: ReportDamage, **settings: Any) -> SearchService:
    reader = LogReader(database, CURSORS, Settings())
    losses = Losses(database, report, settings.pop("rest", 0.0))
    tails = Tails(LogSource(database), settings.pop("tail_events", 20_000), **settings)
    return SearchService(reader, index, tails, CURSORS, report, losses)


@asynccontextmanager
async def searching(database: Database, root: Path, **settings: Any) -> AsyncGenerator[Searching]:
    damaged: list[int] = []

    async def report(log_id: int) -> None:
        damaged.append(log_id)

    async with TantivyIndex(root, SearchSettings(roll_events=1_000)) as index:
        yield Searching(service_over(database, index, report, **settings), index, LogSource(database), damaged)


@pytest.fixture
async def search(database: Database, tmp_path: Path) -> AsyncGenerator[Searching]:
    async with searching(database, tmp_path) as made:
        yield made


def items_of(pages: Sequence[SearchPage]) -> list[bytes]:
    return [item for page in pages for item in page.page.items]


def seqs_of(*pages: SearchPage) -> list[int]:
    return [orjson.loads(item)["seq"] for item in items_of(pages)]


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[dict[str, Any]], list[Node], int]:
    bodies = draw(st.lists(strategies.bodies(), min_size=1, max_size=9))
    nodes = draw(st.lists(strategies.nodes(bodies), min_size=1, max_size=4))
    return bodies, nodes, draw(st.integers(-1, len(bodies) - 1))


def row_of(body: Mapping[str, object]) -> Row:
    """An event that arrives now and occurred when its body says, unless that is too far ahead to be taken."""
    now = now_us()
    occurred_us = parse_timestamp(str(body["timestamp"]))
    if occurred_us <= now:
        return Row(now, occurred_us, body)
    return Row(now, now, {name: value for name, value in body.items() if name != "timestamp"})


@examples(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(case=cases())
async def test_pages_in_both_directions_are_what_the_predicate_says(
    search: Searching, owner: Connection, case: tuple[list[Mapping[str, object]], list[Node], int]
) -> None:
    bodies, nodes, border = case
    log_id = await make_log(owner)
    events = await put(owner, log_id, [row_of(body) for body in bodies])
    await search.index_through(log_id, border)
    for node in nodes:
        matches = compile_predicate(node)
        wanted = [event for event in events if matches(orjson.loads(event.body))]
        for order in ("newest", "oldest"):
            ordered = sorted(wanted, key=lambda each: (each.occurred_us, each.seq), reverse=order == "newest")
            query = asking(filters=And((node, Not(Words(None, ("nowhere-to-be-found",))))), order=order, limit=2)
            pages = await search.walk(log_id, query)
            assert items_of(pages) == [event.item for event in ordered]
            back = await search.walk_back(log_id, query, pages[-1])
            assert items_of(back[::-1]) == [event.item for event in ordered]
            assert {(page.indexed_through, page.complete) for page in pages} == {(border, True)}


async def test_an_event_is_found_whatever_the_index_holds(search: Searching, owner: Connection, log_id: int) -> None:
    await fill_log(owner, log_id, 10, **LOGIN)
    for border in (-1, 4, 9):
        await search.index_through(log_id, border)
        page = await search.service.page(log_id, EVERYTHING, asking("login", limit=100))
        assert (seqs_of(page), page.indexed_through, page.complete) == (list(range(9, -1, -1)), border, True)
    await fill_log(owner, log_id, 3, **LOGIN)
    assert seqs_of(await search.service.page(log_id, EVERYTHING, asking("login", limit=3))) == [12, 11, 10]


async def test_pages_stay_as_they_were_while_events_arrive(search: Searching, owner: Connection, log_id: int) -> None:
    await fill_log(owner, log_id, 10, **LOGIN)
    await search.index_through(log_id, 6)
    query = asking("login", limit=3)
    found: list[int] = []
    cursor = None
    while True:
        page = await search.service.page(log_id, EVERYTHING, at(query, cursor))
        found += seqs_of(page)
        cursor = page.page.next
        if cursor is None:
            break
        await put(owner, log_id, [Row(now_us(), now_us() + 60_000_000, LOGIN)])
        await search.index_through(log_id, len(found) + 6)
    assert found == list(range(9, -1, -1))


async def test_beyond_its_tail_a_search_says_that_it_is_not_complete(
    database: Database, owner: Connection, log_id: int, tmp_path: Path
) -> None:
    await fill_log(owner, log_id, 30, **LOGIN)
    async with searching(database, tmp_path, tail_events=10) as search:
        await search.index_through(log_id, 4)
        for _ in range(2):
            page = await search.service.page(log_id, EVERYTHING, asking("login", limit=100))
            assert (seqs_of(page)[:10], page.indexed_through, page.complete) == (list(range(29, 19, -1)), 4, False)
            assert seqs_of(page)[10:] == [4, 3, 2, 1, 0]
        await fill_log(owner, log_id, 2, **LOGIN)
        page = await search.service.page(log_id, EVERYTHING, asking("login", limit=2))
        assert (seqs_of(page), page.complete) == ([31, 30], False)
        await search.index_through(log_id, 21)
        page = await search.service.page(log_id, EVERYTHING, asking("login", limit=100))
        assert (seqs_of(page), page.complete) == (list(range(31, -1, -1)), True)


async def test_an_index_that_lost_what_was_in_it_is_reported_by_whom_it_answers(
    database: Database, owner: Connection, log_id: int, tmp_path: Path
) -> None:
    await fill_log(owner, log_id, 50, **LOGIN)
    async with searching(database, tmp_path) as search:

        async def ask(times: int) -> list[int]:
            for _ in range(times):
                assert (await search.service.page(log_id, EVERYTHING, asking("login"))).complete
            return search.damaged

        await search.index_through(log_id, 19)
        await put_cursor(owner, NAME, log_id, 19)
        assert await ask(3) == [], "it is only behind"
        await put_cursor(owner, NAME, log_id, 49)
        await search.index_through(log_id, 20)
        assert await ask(1) == [], "it moves"
        await search.index_through(log_id, 49)
        assert await ask(2) == []
        await search.index.drop(log_id)
        assert await ask(1) == [], "what follows may be on its way"
        assert await ask(3) == [log_id]
        await search.index_through(log_id, 49)
        assert await ask(2) == [log_id]
        await search.index.drop(log_id)
        assert await ask(3) == [log_id, log_id]


async def test_a_tail_of_large_events_is_bounded_too(
    database: Database, owner: Connection, log_id: int, tmp_path: Path
) -> None:
    await fill_log(owner, log_id, 40, message="word " * 200)
    async with searching(database, tmp_path, max_bytes=40_000) as search:
        page = await search.service.page(log_id, EVERYTHING, asking("word", limit=100))
        seqs = seqs_of(page)
        assert not page.complete
        assert seqs == list(range(39, 39 - len(seqs), -1))
        assert 5 < len(seqs) < 20


async def test_tails_of_other_logs_are_let_go_of(database: Database, owner: Connection, tmp_path: Path) -> None:
    logs = [await make_log(owner) for _ in range(4)]
    for log_id in logs:
        await fill_log(owner, log_id, 20, message="word " * 200)
    async with searching(database, tmp_path, max_bytes=100_000) as search:
        for log_id in (*logs, *logs):
            page = await search.service.page(log_id, EVERYTHING, asking("word", limit=100))
            assert (seqs_of(page), page.complete) == (list(range(19, -1, -1)), True)


async def test_searches_of_one_log_beside_each_other_agree(search: Searching, owner: Connection, log_id: int) -> None:
    await fill_log(owner, log_id, 50, **LOGIN)
    await search.index_through(log_id, 20)

    async def look() -> list[int]:
        return seqs_of(await search.service.page(log_id, EVERYTHING, asking("login", limit=100)))

    async def move() -> list[int]:
        await search.index_through(log_id, 40)
        return await look()

    for found in await asyncio.gather(look(), look(), move(), look()):
        assert found == list(range(49, -1, -1))


async def test_what_was_removed_is_passed_over(search: Searching, owner: Connection, log_id: int) -> None:
    await fill_log(owner, log_id, 20, **LOGIN)
    await search.index_through(log_id, 9)
    await search.service.page(log_id, EVERYTHING, asking("login"))
    await remove(owner, log_id, 3, 14)
    pages = await search.walk(log_id, asking("login", limit=4))
    assert seqs_of(*pages) == [19, 18, 17, 16, 15, 2, 1, 0]


async def test_what_needs_no_index_goes_on_without_it(database: Database, owner: Connection, log_id: int) -> None:
    class Down(TantivyIndex):
        async def search(self, log_id: int, request: SearchRequest) -> Hits:  # noqa: ARG002  # the port's
            raise SearchDownError("the cluster does not answer")

    await fill_log(owner, log_id, 5, **LOGIN)
    service = service_over(database, Down(Path("nowhere"), SearchSettings()), undamaged)
    assert seqs_of(await service.page(log_id, EVERYTHING, asking())) == [4, 3, 2, 1, 0]
    assert seqs_of(await service.page(log_id, EVERYTHING, asking("login", order="seq"))) == [0, 1, 2, 3, 4]
    with pytest.raises(SearchDownError):
        await service.page(log_id, EVERYTHING, asking("login"))
    with pytest.raises(SearchDownError):
        await service.page(log_id, Equals("user_id", "ada"), asking())


async def test_a_damaged_index_is_reported(search: Searching, owner: Connection, log_id: int, tmp_path: Path) -> None:
    await fill_log(owner, log_id, 5, **LOGIN)
    await search.index_through(log_id, 4)
    (tmp_path / str(log_id) / "first" / "rolls.json").write_text("{")
    with pytest.raises(SearchDownError, match="made anew"):
        await search.service.page(log_id, EVERYTHING, asking("login"))
    assert search.damaged == [log_id]
    with pytest.raises(CorruptIndexError):
        await search.index.search(log_id, SearchRequest(MatchAll(), "newest", 1))


async def test_nothing_leaves_that_the_principal_may_not_see(
    database: Database, owner: Connection, log_id: int, tmp_path: Path
) -> None:
    class Leaking(TantivyIndex):
        async def search(self, log_id: int, request: SearchRequest) -> Hits:
            return await super().search(log_id, replace(request, query=MatchAll()))

    now = now_us()
    users = ("ada", "bob", "ada", "eve")
    await put(owner, log_id, [Row(now, now, {"user_id": user, "action": "login"}) for user in users])
    async with Leaking(tmp_path, SearchSettings()) as index:
        source = LogSource(database)
        stretch = await source.read(log_id, -1, None, limit=10, max_bytes=1 << 20)
        await index.append(log_id, await documents_of(stretch.events), through=3)
        service = service_over(database, index, undamaged)
        assert seqs_of(await service.page(log_id, Equals("user_id", "ada"), asking("login"))) == [2, 0]
        assert seqs_of(await service.page(log_id, EVERYTHING, asking(filters=Equals("user_id", "bob")))) == [1]


async def test_a_page_of_large_events_ends_early_and_goes_on(search: Searching, owner: Connection, log_id: int) -> None:
    await fill_log(owner, log_id, 250, message="needle", metadata={"pad": "x" * 60_000})
    await search.index_through(log_id, 249)
    query = asking("needle", limit=1_000)
    pages = await search.walk(log_id, query)
    assert seqs_of(*pages) == list(range(249, -1, -1))
    assert [len(page.page.items) for page in pages] == [140, 110]
    back = await search.walk_back(log_id, query, pages[-1])
    assert seqs_of(*back[::-1]) == list(range(249, -1, -1))


async def test_a_cursor_holds_for_its_question_alone(search: Searching, owner: Connection, log_id: int) -> None:
    await fill_log(owner, log_id, 5, **LOGIN)
    other = await make_log(owner)
    first = await search.service.page(log_id, EVERYTHING, asking("login", limit=2))
    cursor = first.page.next
    assert cursor is not None
    for log, narrowing, query in (
        (other, EVERYTHING, asking("login")),
        (log_id, Equals("user_id", "ada"), asking("login")),
        (log_id, EVERYTHING, asking("logout")),
        (log_id, EVERYTHING, asking("login", order="oldest")),
    ):
        with pytest.raises(InvalidError, match="cursor"):
            await search.service.page(log, narrowing, at(query, cursor))


async def test_it_tells_where_the_words_stand(search: Searching, owner: Connection, log_id: int) -> None:
    events: list[Put] = await fill_log(
        owner, log_id, 2, message="A refund, refunded", metadata={"a/b": ["no", "Refund 東京都"], "n": 42}
    )
    await search.index_through(log_id, 0)
    page = await search.service.page(log_id, EVERYTHING, asking('refund* AND "東京" AND 42', highlight=True))
    assert items_of([page]) == [events[1].item, events[0].item]
    assert page.highlights is not None
    for found in page.highlights:
        assert [(each.pointer, each.ranges) for each in found] == [
            ("/message", ((2, 8), (10, 18))),
            ("/metadata/a~1b/1", ((0, 6), (7, 9))),
            ("/metadata/n", ()),
        ]
