"""What every search index must do. A test module gives an `index` fixture and takes these tests over by inheritance."""

import asyncio
import itertools
from collections.abc import Iterable, Sequence
from itertools import count

import pytest

from tallystick.ports import (
    CountRequest,
    Counts,
    EventIndex,
    Hit,
    IndexBehindError,
    SearchIndex,
    SearchOrder,
    SearchRequest,
)
from tallystick.query.facets import FACETS
from tallystick.query.matching import compile_terms, prepare
from tallystick.query.ranking import Ranking, ranking_of, top
from tallystick.query.terms import (
    AllOf,
    AnyOf,
    Consecutive,
    Document,
    HasAny,
    MatchAll,
    Occurred,
    TermQuery,
    Without,
)

_LOGS = count(1)


def document(seq: int, occurred_us: int | None = None, text: str = "", terms: str = "", paths: str = "") -> Document:
    """A document that says little beside its place."""
    moment = seq * 1_000 if occurred_us is None else occurred_us
    kind, actor = f"kind-{seq % 4}", f"user-{seq * seq % 7}" if seq % 5 else ""
    resource = f'["invoice", "{seq % 3}"]' if seq % 2 else ""
    return Document(
        seq, seq * 1_000 + 7, moment, text or f"login n{seq}", paths, terms or "?action", kind, actor, resource
    )


def fresh_log() -> int:
    """A log that no other test uses."""
    return next(_LOGS)


async def all_pages(index: SearchIndex, log_id: int, query: TermQuery, order: SearchOrder, limit: int) -> list[Hit]:
    """Every hit, page by page."""
    found: list[Hit] = []
    after = None
    while True:
        page = await index.search(log_id, SearchRequest(query, order, limit, after))
        found += page.hits
        if len(page.hits) < limit:
            return found
        after = (page.hits[-1].occurred_us, page.hits[-1].seq)


def expected(documents: Iterable[Document], query: TermQuery, order: SearchOrder) -> list[Hit]:
    """What the pages must hold, by looking at every document."""
    matches = compile_terms(query)
    hits = [Hit(each.seq, each.received_us, each.occurred_us) for each in documents if matches(prepare(each))]
    return sorted(hits, key=lambda hit: (hit.occurred_us, hit.seq), reverse=order == "newest")


async def assert_pages(
    index: SearchIndex, log_id: int, documents: Sequence[Document], query: TermQuery, limit: int
) -> None:
    """All pages of a query, in both orders, are what looking at every document gives."""
    for order in ("newest", "oldest"):
        assert await all_pages(index, log_id, query, order, limit) == expected(documents, query, order)


def tally(documents: Sequence[Document], query: TermQuery, edges: tuple[int, ...]) -> Counts:
    """What must be counted, by looking at every document."""
    matches = compile_terms(query)
    found = [each for each in documents if matches(prepare(each))]
    return Counts(
        total=len(found),
        rankings={facet: ranking_of(getattr(each, facet) for each in found) for facet in FACETS},
        buckets=tuple(
            sum(begin <= each.occurred_us < end for each in found) for begin, end in itertools.pairwise(edges)
        ),
        through=documents[-1].seq,
    )


QUERIES: tuple[TermQuery, ...] = (
    MatchAll(),
    Consecutive("text", ("login",)),
    Consecutive("text", ("n7",)),
    Consecutive("text", ("login", "n7")),
    Consecutive("text", ("n7", "login")),
    Consecutive("text", ("n1",), prefix=True),
    Consecutive("text", ("login", "n1"), prefix=True),
    Consecutive("text", ("log",), prefix=True),
    Consecutive("text", ("東京", "京都")),
    Consecutive("text", ("東",), prefix=True),
    Consecutive("paths", (r"metadata.a\u0020b\.c=x",)),
    Consecutive("paths", (r"metadata.a\u0020b\.c=x", r"metadata.a\u0020b\.c=y")),
    Consecutive("paths", (r"metadata.a\u0020b\.c=",), prefix=True),
    Consecutive("paths", ("metadata.(a|b)*[c]+?=",), prefix=True),
    HasAny(()),
    HasAny(("=user_id:ada",)),
    HasAny(("=user_id:ada", "=user_id:bob", "=user_id:nobody")),
    Occurred(5_000, 9_000),
    Occurred(None, 9_000),
    Occurred(5_000, None),
    Occurred(None, None),
    Occurred(9_000, 5_000),
    AllOf(()),
    AnyOf(()),
    AllOf((Consecutive("text", ("login",)), HasAny(("=user_id:ada",)), Occurred(2_000, 30_000))),
    AnyOf((Consecutive("text", ("n3",)), HasAny(("=user_id:bob",)))),
    Without(MatchAll()),
    Without(HasAny(("=user_id:ada",))),
    Without(Without(HasAny(("=user_id:ada",)))),
    AllOf((Without(HasAny(("=user_id:ada",))), Without(Consecutive("text", ("n3",))))),
    AnyOf((Without(HasAny(("=user_id:ada",))), Consecutive("text", ("n4",)))),
    Without(AnyOf(())),
    Without(AllOf((HasAny(("=user_id:ada",)), Occurred(5_000, None)))),
)


def varied(number: int) -> list[Document]:
    """Documents that every query of `QUERIES` tells apart."""
    users = ("ada", "bob", "eve")
    texts = ("login n{0}", "n{0} login", "login ␞ n{0}", "logout n{0} 東京 京都 都", "login n{0} 東京")
    paths = (
        r"metadata.a\u0020b\.c=x metadata.a\u0020b\.c=y",
        r"metadata.a\u0020b\.c=y metadata.a\u0020b\.c=x",
        "metadata.(a|b)*[c]+?=x",
    )
    return [
        document(
            seq,
            (seq // 3) * 1_000,
            text=texts[seq % len(texts)].format(seq),
            terms=f"?action =user_id:{users[seq % len(users)]}",
            paths=paths[seq % len(paths)],
        )
        for seq in range(number)
    ]


class SearchConformance:
    """The tests. `index` is a fresh or shared index; each test uses logs of its own."""

    async def test_a_log_that_was_never_indexed_is_empty(self, index: SearchIndex) -> None:
        log_id = fresh_log()
        hits = await index.search(log_id, SearchRequest(MatchAll(), "newest", 10))
        assert (hits.hits, hits.through) == ((), -1)
        state = await index.state(log_id)
        assert (state.through, state.documents) == (-1, 0)
        await index.drop(log_id)

    async def test_every_kind_of_query_through_all_pages(self, index: SearchIndex) -> None:
        log_id = fresh_log()
        documents = varied(60)
        await index.append(log_id, documents[:25], through=24)
        await index.append(log_id, documents[25:], through=59)
        for query in QUERIES:
            await assert_pages(index, log_id, documents, query, limit=7)

    @pytest.mark.parametrize(
        "edges",
        [
            (),
            (0, 20_000),
            (0, 5_000, 10_000, 15_000, 20_000),
            (3_001, 3_500, 11_000, 11_001, 19_999),
            (-(10**15), 10**15),
        ],
    )
    async def test_every_kind_of_query_is_counted(self, index: EventIndex, edges: tuple[int, ...]) -> None:
        log_id = fresh_log()
        documents = varied(60)
        await index.append(log_id, documents[:25], through=24)
        await index.append(log_id, documents[25:], through=59)
        for query in QUERIES:
            counted = await index.count(log_id, CountRequest(query, FACETS, 10, edges=edges))
            assert counted == tally(documents, query, edges), query

    async def test_few_values_are_told_with_what_they_leave_unsaid(self, index: EventIndex) -> None:
        log_id = fresh_log()
        documents = [document(seq)._replace(actor=f"u{min(seq // 3, 7)}") for seq in range(30)]
        await index.append(log_id, documents, through=29)
        counted = await index.count(log_id, CountRequest(MatchAll(), ("actor",), 2))
        assert top(counted.rankings["actor"], 2) == ((("u7", 9), ("u0", 3)), True)
        assert counted.rankings["actor"].unseen == 3

    async def test_nothing_is_counted_of_a_log_that_was_never_indexed(self, index: EventIndex) -> None:
        counted = await index.count(fresh_log(), CountRequest(MatchAll(), FACETS, 10, edges=(0, 1, 2)))
        assert counted == Counts(0, dict.fromkeys(FACETS, Ranking()), (0, 0), -1)

    async def test_appending_again_changes_nothing(self, index: SearchIndex) -> None:
        log_id = fresh_log()
        documents = varied(20)
        assert await index.append(log_id, documents[:12], through=11) == -1
        assert await index.append(log_id, documents[5:], through=19) == 11
        assert await index.append(log_id, documents, through=19) == 19
        assert await index.append(log_id, documents[:3], through=2) == 19
        await assert_pages(index, log_id, documents, MatchAll(), limit=50)
        state = await index.state(log_id)
        assert (state.through, state.documents) == (19, 20)

    @pytest.mark.parametrize("generation", [None, "g2"])
    async def test_what_would_leave_a_hole_is_refused(self, index: SearchIndex, generation: str | None) -> None:
        log_id = fresh_log()
        documents = varied(20)
        await index.append(log_id, documents[:10], through=9, after=-1, generation=generation)
        with pytest.raises(IndexBehindError) as behind:
            await index.append(log_id, documents[11:], through=19, after=10, generation=generation)
        assert behind.value.through == 9
        state = await index.state(log_id, generation=generation)
        assert (state.through, state.documents) == (9, 10)
        await index.append(log_id, documents[10:], through=19, after=9, generation=generation)
        assert (await index.state(log_id, generation=generation)).documents == 20

    async def test_what_goes_on_where_nothing_is_is_refused(self, index: SearchIndex) -> None:
        log_id = fresh_log()
        with pytest.raises(IndexBehindError) as behind:
            await index.append(log_id, varied(20)[10:], through=19, after=9)
        assert behind.value.through == -1
        hits = await index.search(log_id, SearchRequest(MatchAll(), "newest", 10))
        assert (hits.hits, hits.through) == ((), -1)

    async def test_through_passes_what_was_removed(self, index: SearchIndex) -> None:
        log_id = fresh_log()
        await index.append(log_id, [document(3), document(9)], through=14)
        hits = await index.search(log_id, SearchRequest(MatchAll(), "oldest", 10))
        assert [hit.seq for hit in hits.hits] == [3, 9]
        assert hits.through == 14
        await index.append(log_id, [], through=20)
        assert (await index.state(log_id)).through == 20
        await index.append(log_id, [document(21)], through=21)
        assert (await index.state(log_id)).documents == 3

    async def test_many_events_of_one_moment(self, index: SearchIndex) -> None:
        log_id = fresh_log()
        documents = [document(seq, 5_000 if 100 <= seq < 1_900 else seq * 10_000) for seq in range(2_000)]
        await index.append(log_id, documents, through=1_999)
        await assert_pages(index, log_id, documents, Consecutive("text", ("login",)), limit=190)

    async def test_the_ends_of_time(self, index: SearchIndex) -> None:
        log_id = fresh_log()
        moments = (-2_208_988_800_000_000, -1, 0, 1, 253_402_300_799_999_999)
        documents = [document(seq, moment) for seq, moment in enumerate(moments)]
        await index.append(log_id, documents, through=4)
        await assert_pages(index, log_id, documents, MatchAll(), limit=2)
        await assert_pages(index, log_id, documents, Occurred(-1, 1), limit=2)

    async def test_logs_do_not_see_each_other(self, index: SearchIndex) -> None:
        one, other = fresh_log(), fresh_log()
        await index.append(one, varied(10), through=9)
        await index.append(other, [document(0, text="login secret")], through=0)
        assert await all_pages(index, one, Consecutive("text", ("secret",)), "newest", 5) == []
        await index.drop(other)
        await assert_pages(index, one, varied(10), MatchAll(), limit=5)
        assert (await index.state(other)).through == -1
        await index.append(other, [document(0)], through=0)
        assert (await index.state(other)).documents == 1

    async def test_a_generation_is_built_aside_and_takes_over_at_once(self, index: SearchIndex) -> None:
        log_id = fresh_log()
        await index.append(log_id, varied(10), through=9)
        better = [document(seq, text="better") for seq in range(30)]
        await index.append(log_id, better[:15], through=14, generation="g2")
        await index.append(log_id, better[15:], through=29, generation="g2")
        await assert_pages(index, log_id, varied(10), MatchAll(), limit=5)
        assert (await index.state(log_id, generation="g2")).through == 29
        assert (await index.state(log_id)).through == 9
        await index.swap(log_id, "g2")
        await assert_pages(index, log_id, better, MatchAll(), limit=50)
        await index.swap(log_id, "g2")
        assert (await index.state(log_id)).through == 29
        await index.append(log_id, [document(30, text="later")], through=30)
        assert len(await all_pages(index, log_id, MatchAll(), "newest", 50)) == 31

    async def test_a_generation_is_given_up(self, index: SearchIndex) -> None:
        log_id = fresh_log()
        await index.append(log_id, varied(10), through=9)
        await index.append(log_id, varied(5), through=4, generation="g2")
        await index.drop(log_id, generation="g2")
        assert (await index.state(log_id, generation="g2")).through == -1
        await assert_pages(index, log_id, varied(10), MatchAll(), limit=5)

    async def test_what_was_swapped_in_is_no_longer_given_up(self, index: SearchIndex) -> None:
        log_id = fresh_log()
        documents = varied(5)
        await index.append(log_id, documents, through=4, generation="g2")
        await index.swap(log_id, "g2")
        await index.drop(log_id, generation="g2")
        await assert_pages(index, log_id, documents, MatchAll(), 10)
        assert (await index.state(log_id)).through == 4

    async def test_the_longest_terms(self, index: SearchIndex) -> None:
        log_id = fresh_log()
        term = "ß" * 199
        documents = [document(0, text=f"{term}a {term}b"), document(1, text=f"{term}b {term}a")]
        await index.append(log_id, documents, through=1)
        for query in (Consecutive("text", (f"{term}a",)), Consecutive("text", (f"{term}a", f"{term}b"))):
            await assert_pages(index, log_id, documents, query, limit=5)

    async def test_a_prefix_of_very_many_words(self, index: SearchIndex) -> None:
        log_id = fresh_log()
        documents = [document(seq) for seq in range(3_000)]
        await index.append(log_id, documents, through=2_999)
        for query in (Consecutive("text", ("n",), prefix=True), Consecutive("text", ("login", "n"), prefix=True)):
            assert len(await all_pages(index, log_id, query, "newest", 1_000)) == 3_000

    async def test_a_search_vouches_for_what_it_has_seen(self, index: SearchIndex) -> None:
        log_id = fresh_log()
        batches = [[document(seq) for seq in range(start, start + 40)] for start in range(0, 400, 40)]

        async def write() -> None:
            for batch in batches:
                await index.append(log_id, batch, through=batch[-1].seq)

        async def read() -> None:
            while not writing.done():
                page = await index.search(log_id, SearchRequest(MatchAll(), "newest", 1_000))
                assert [hit.seq for hit in page.hits] == list(range(page.through, -1, -1))

        writing = asyncio.create_task(write())
        await asyncio.gather(writing, read(), read())
        page = await index.search(log_id, SearchRequest(MatchAll(), "newest", 1_000))
        assert page.through == 399

    async def test_what_was_forgotten_is_not_found_by_anything(self, index: EventIndex) -> None:
        log_id = fresh_log()
        documents = varied(60)
        await index.append(log_id, documents[:40], through=39)
        await index.append(log_id, documents[40:], through=59)
        gone = [(0, 9), (17, 17), (30, 44)]
        for _ in range(2):
            await index.forget(log_id, gone)
            left = [each for each in documents if not any(low <= each.seq <= high for low, high in gone)]
            for query in (MatchAll(), Consecutive("text", ("login",)), Without(HasAny(("no",)))):
                await assert_pages(index, log_id, left, query, limit=7)
            counted = await index.count(log_id, CountRequest(MatchAll(), FACETS, 100, edges=(0, 20_000, 60_000)))
            assert counted == tally(left, MatchAll(), (0, 20_000, 60_000))
            state = await index.state(log_id)
            assert (state.through, state.documents) == (59, len(left))

    async def test_a_log_goes_on_where_all_was_forgotten(self, index: EventIndex) -> None:
        log_id = fresh_log()
        await index.append(log_id, varied(30), through=29)
        await index.forget(log_id, [(0, 29)])
        assert await all_pages(index, log_id, MatchAll(), "newest", 5) == []
        assert (await index.state(log_id)).through == 29
        assert await index.append(log_id, [document(30)], through=30, after=29) == 29
        assert [hit.seq for hit in await all_pages(index, log_id, MatchAll(), "newest", 5)] == [30]

    async def test_a_generation_forgets_by_itself(self, index: EventIndex) -> None:
        log_id = fresh_log()
        await index.append(log_id, varied(10), through=9)
        await index.append(log_id, varied(10), through=9, generation="g2")
        await index.forget(log_id, [(0, 3)], generation="g2")
        await assert_pages(index, log_id, varied(10), MatchAll(), limit=5)
        await index.swap(log_id, "g2")
        await assert_pages(index, log_id, varied(10)[4:], MatchAll(), limit=5)

    async def test_nothing_is_forgotten_of_a_log_that_was_never_indexed(self, index: EventIndex) -> None:
        log_id = fresh_log()
        await index.forget(log_id, [(0, 5)])
        assert await index.purge(log_id)
        assert (await index.state(log_id)).through == -1
