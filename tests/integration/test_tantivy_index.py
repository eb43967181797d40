"""The search index in Tantivy, over real files."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping
from itertools import product
from pathlib import Path

import pytest

from search_conformance import SearchConformance, all_pages, assert_pages, document, expected, fresh_log, varied
from tallystick.adapters.tantivy.index import TantivyIndex
from tallystick.errors import InvalidError
from tallystick.ports import CorruptIndexError, SearchRequest
from tallystick.query.terms import AllOf, AnyOf, Consecutive, HasAny, MatchAll, Occurred, TermQuery, Without
from tallystick.settings import SearchSettings


@pytest.fixture(params=[1_000_000, 1_000], ids=["one roll", "several rolls"])
async def index(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[TantivyIndex]:
    async with TantivyIndex(tmp_path, SearchSettings(roll_events=request.param)) as made:
        yield made


class TestConformance(SearchConformance):
    pass


MANY = 30_000
SPREADS: Mapping[str, Callable[[int], int]] = {
    "even": lambda seq: seq * 1_000,
    "reversed": lambda seq: (MANY - seq) * 1_000,
    "crowded": lambda seq: seq // 10_000,
    "burst": lambda seq: seq if seq % 1_000 else seq * 1_000_000_000,
    "scattered": lambda seq: seq * 7_919 % MANY,
}
FREQUENT: tuple[TermQuery, ...] = (
    MatchAll(),
    Consecutive("text", ("login",)),
    Consecutive("text", ("login", "seldom")),
    AllOf((Consecutive("text", ("login",)), HasAny(("=severity:3",)))),
    AllOf((HasAny(("?action",)), Occurred(2, 25_000_000))),
    Without(HasAny(("=severity:3",))),
    AnyOf((HasAny(("=severity:1", "=severity:2")), Consecutive("text", ("seld",), prefix=True))),
)


@pytest.mark.parametrize("spread", SPREADS.values(), ids=SPREADS.keys())
async def test_pages_of_what_is_frequent(tmp_path: Path, spread: Callable[[int], int]) -> None:
    """Where a roll has many matches, its end is looked at first, which must not show when they are spread unevenly."""
    documents = [
        document(seq, spread(seq), f"login {'often' if seq % 2_500 else 'seldom'}", f"?action =severity:{seq % 4}")
        for seq in range(MANY)
    ]
    log_id = fresh_log()
    async with TantivyIndex(tmp_path, SearchSettings()) as index:
        await index.append(log_id, documents, through=MANY - 1)
        for query, order in product(FREQUENT, ("newest", "oldest")):
            wanted = expected(documents, query, order)
            for begin in (0, 1, len(wanted) // 2, len(wanted) - 5):
                after = (wanted[begin - 1].occurred_us, wanted[begin - 1].seq) if begin else None
                found = (await index.search(log_id, SearchRequest(query, order, 40, after))).hits
                assert list(found) == wanted[begin : begin + 40], (query, order, begin)


async def test_a_roll_that_has_changed_is_asked_anew_what_is_in_it(tmp_path: Path) -> None:
    """How often a term comes in a roll is remembered until it changes."""
    log_id, word, roll_events = fresh_log(), Consecutive("text", ("seldom",)), 1_000
    documents = [document(seq, text=f"login {'seldom' if seq % 4 == 3 else 'often'}") for seq in range(roll_events + 8)]
    async with TantivyIndex(tmp_path, SearchSettings(roll_events=roll_events)) as index:
        for end in range(roll_events - 8, len(documents) + 1):
            await index.append(log_id, documents[:end], through=end - 1)
            for limit, order in product((2, 300), ("newest", "oldest")):
                found = await index.search(log_id, SearchRequest(word, order, limit))
                assert list(found.hits) == expected(documents[:end], word, order)[:limit]
        await index.forget(log_id, [(0, 3), (roll_events - 1, roll_events + 3)])
        left = await index.search(log_id, SearchRequest(word, "newest", 300))
        kept = [*documents[4 : roll_events - 1], *documents[roll_events + 4 :]]
        assert list(left.hits) == expected(kept, word, "newest")


async def test_few_matches_are_pages_in_order(tmp_path: Path) -> None:
    """Few of a roll are not sorted by Tantivy, whatever they have in common and wherever the page begins."""
    log_id, word = fresh_log(), Consecutive("text", ("seldom",))
    documents = [
        document(seq, (37 * seq % 5) * 1_000, f"login {'seldom' if seq % 100 == 7 else 'often'}")
        for seq in range(4_000)
    ]
    async with TantivyIndex(tmp_path, SearchSettings(roll_events=1_500)) as index:
        await index.append(log_id, documents, through=3_999)
        for query in (word, AllOf((word, Occurred(1_000, 4_000)))):
            for order, limit in product(("newest", "oldest"), (1, 14, 15, 39, 50)):
                assert await all_pages(index, log_id, query, order, limit) == expected(documents, query, order)


async def test_logs_that_take_turns_wait_for_each_other_to_close(tmp_path: Path) -> None:
    documents = varied(2_400)
    async with TantivyIndex(tmp_path, SearchSettings(open_indexes=1)) as index:

        async def grow(log_id: int) -> None:
            for end in range(100, len(documents) + 1, 100):
                await index.append(log_id, documents[:end], through=end - 1)
            assert (await index.state(log_id)).documents == len(documents)

        await asyncio.gather(*(grow(fresh_log()) for _ in range(6)))


async def test_another_process_sees_what_was_appended(tmp_path: Path) -> None:
    log_id = fresh_log()
    async with TantivyIndex(tmp_path, SearchSettings()) as writing, TantivyIndex(tmp_path, SearchSettings()) as reading:
        await writing.append(log_id, varied(10), through=9)
        await assert_pages(reading, log_id, varied(10), MatchAll(), limit=5)
        await writing.append(log_id, varied(20), through=19)
        await assert_pages(reading, log_id, varied(20), MatchAll(), limit=5)
        await writing.append(log_id, varied(30), through=29, generation="g2")
        await writing.swap(log_id, "g2")
        await assert_pages(reading, log_id, varied(30), MatchAll(), limit=5)
        await writing.drop(log_id)
        assert await all_pages(reading, log_id, MatchAll(), "newest", 5) == []


async def test_it_goes_on_after_a_restart(tmp_path: Path) -> None:
    log_id = fresh_log()
    for end in (700, 1_400, 2_100):
        async with TantivyIndex(tmp_path, SearchSettings(roll_events=1_000)) as index:
            await index.append(log_id, varied(end), through=end - 1)
            await assert_pages(index, log_id, varied(end), MatchAll(), limit=500)


async def test_a_crash_between_commit_and_list_loses_and_doubles_nothing(tmp_path: Path) -> None:
    log_id = fresh_log()
    rolls = tmp_path / str(log_id) / "first" / "rolls.json"
    async with TantivyIndex(tmp_path, SearchSettings()) as index:
        await index.append(log_id, varied(10), through=9)
        before = rolls.read_bytes()
        await index.append(log_id, varied(20), through=19)
    rolls.write_bytes(before)
    async with TantivyIndex(tmp_path, SearchSettings()) as index:
        await assert_pages(index, log_id, varied(10), MatchAll(), limit=3)
        await index.append(log_id, varied(30), through=29)
        await assert_pages(index, log_id, varied(30), MatchAll(), limit=7)


@pytest.mark.parametrize(
    "damage", ["rolls.json", "meta.json", "segment cut", "segment gone", "live generation gone", "other release"]
)
async def test_damage_is_told_and_set_aside(tmp_path: Path, damage: str) -> None:
    log_id, other = fresh_log(), fresh_log()
    async with TantivyIndex(tmp_path, SearchSettings()) as index:
        for each in (log_id, other):
            await index.append(each, varied(20), through=19)
    folder = tmp_path / str(log_id) / "first"
    segment = next(folder.glob("*/*.idx"))
    match damage:
        case "rolls.json":
            (folder / "rolls.json").write_bytes(b'{"version": 1, "through"')
        case "other release":
            listed = json.loads((folder / "rolls.json").read_text())
            (folder / "rolls.json").write_text(json.dumps({**listed, "version": listed["version"] - 1}))
        case "meta.json":
            next(folder.glob("*/meta.json")).write_bytes(b"{}")
        case "segment cut":
            os.truncate(segment, 10)
        case "segment gone":
            segment.unlink()
        case _:
            folder.rename(folder.with_name("elsewhere"))
    async with TantivyIndex(tmp_path, SearchSettings()) as index:
        with pytest.raises(CorruptIndexError):
            await index.search(log_id, SearchRequest(MatchAll(), "newest", 5))
        with pytest.raises(CorruptIndexError):
            await index.append(log_id, varied(30), through=29)
        await index.append(log_id, varied(10), through=9, generation="being-made")
        await index.drop(log_id)
        aside = sum(name.startswith(f"{log_id}.corrupt-") for name in os.listdir(tmp_path))  # noqa: PTH208
        assert aside == (damage not in ("live generation gone", "other release"))
        assert (await index.state(log_id, generation="being-made")).documents == 10
        await index.append(log_id, varied(30), through=29)
        await assert_pages(index, log_id, varied(30), MatchAll(), limit=9)
        await assert_pages(index, other, varied(20), MatchAll(), limit=9)


async def test_only_so_many_logs_are_open(tmp_path: Path) -> None:
    def open_files() -> int:
        found = (entry.readlink() for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink())
        return sum(target.is_relative_to(tmp_path) for target in found)

    async with TantivyIndex(tmp_path, SearchSettings(open_indexes=3)) as index:
        logs = [fresh_log() for _ in range(12)]
        for log_id in logs:
            await index.append(log_id, varied(5), through=4)
            await assert_pages(index, log_id, varied(5), MatchAll(), limit=3)
        locks = open_files()
        assert locks <= 3 * 3
        for log_id in logs:
            await index.append(log_id, varied(9), through=8)
            await assert_pages(index, log_id, varied(9), MatchAll(), limit=3)
    assert open_files() == 0


async def test_a_phrase_that_could_go_on_too_many_ways_is_refused(tmp_path: Path) -> None:
    log_id = fresh_log()
    async with TantivyIndex(tmp_path, SearchSettings()) as index:
        await index.append(log_id, [document(seq) for seq in range(20_000)], through=19_999)
        with pytest.raises(InvalidError):
            await index.search(log_id, SearchRequest(Consecutive("text", ("login", "n"), prefix=True), "newest", 5))
