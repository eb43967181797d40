"""By seq, for those who keep a copy: every seq is answered, filtered out or told removed."""

from dataclasses import replace

import pytest

from factories import make_log
from stored_events import DAY_US, Connection, Put, Row, now_us, partitions_back, put, remove
from tallystick.auth.keys import SigningKeys
from tallystick.database.pools import Database
from tallystick.log.queries import Removed
from tallystick.log.reader import ListQuery, LogReader, Page
from tallystick.query.ast import Equals, Everything, Node
from tallystick.query.cursor import CursorCodec
from tallystick.settings import Settings

ADA = Equals("user_id", "ada")


def reader_of(database: Database, max_scan: int = 20_000) -> LogReader:
    return LogReader(database, CursorCodec(SigningKeys("k1", {"k1": b"k" * 32})), Settings(max_scan=max_scan))


@pytest.fixture
def reader(database: Database) -> LogReader:
    return reader_of(database)


@pytest.fixture
async def events(owner: Connection, log_id: int) -> list[Put]:
    """Twenty events over several partitions, every fifth of them ada's, occurred in reverse."""
    begin = await partitions_back(owner, 5)
    rows = [Row(begin + n * DAY_US // 4, begin - n * DAY_US, {"user_id": "bob" if n % 5 else "ada"}) for n in range(20)]
    return await put(owner, log_id, rows)


async def sync(
    reader: LogReader, log_id: int, query: ListQuery, narrowing: Node | None = None, *, by_cursor: bool = True
) -> list[Page]:
    """All pages, by the cursor or by `after_seq`."""
    pages = [await reader.by_seq(log_id, narrowing or Everything(), query)]
    while pages[-1].next is not None:
        after_seq = pages[-1].after_seq
        assert after_seq is not None
        further = replace(query, cursor=pages[-1].next) if by_cursor else replace(query, after_seq=after_seq)
        pages.append(await reader.by_seq(log_id, narrowing or Everything(), further))
    return pages


def items_of(pages: list[Page]) -> list[bytes]:
    return [item for page in pages for item in page.items]


@pytest.mark.parametrize("limit", [1, 3, 20, 21, 1000])
@pytest.mark.parametrize("by_cursor", [True, False])
async def test_every_event_comes_once_in_its_order(
    reader: LogReader, log_id: int, events: list[Put], limit: int, *, by_cursor: bool
) -> None:
    pages = await sync(reader, log_id, ListQuery(order="seq", limit=limit), by_cursor=by_cursor)
    assert items_of(pages) == [event.item for event in events]
    assert all(page.prev is None and page.removed == () for page in pages)
    assert pages[-1].after_seq == 19


@pytest.mark.parametrize(("after_seq", "first"), [(-1, 0), (0, 1), (18, 19)])
async def test_after_seq_is_exclusive(
    reader: LogReader, log_id: int, events: list[Put], after_seq: int, first: int
) -> None:
    (page,) = await sync(reader, log_id, ListQuery(order="seq", after_seq=after_seq))
    assert page.items[0] == events[first].item


@pytest.mark.parametrize("after_seq", [19, 20, 5000])
async def test_at_the_end_there_is_nothing_yet(
    reader: LogReader, log_id: int, events: list[Put], after_seq: int
) -> None:
    assert len(events) == 20
    (page,) = await sync(reader, log_id, ListQuery(order="seq", after_seq=after_seq))
    assert (page.items, page.next, page.after_seq) == ((), None, after_seq)


async def test_an_empty_log_is_at_its_end(reader: LogReader, log_id: int) -> None:
    (page,) = await sync(reader, log_id, ListQuery(order="seq"))
    assert (page.items, page.next, page.after_seq, page.removed) == ((), None, -1, ())


async def test_who_is_at_the_end_goes_on_when_more_has_come(
    reader: LogReader, owner: Connection, log_id: int, events: list[Put]
) -> None:
    query = ListQuery(order="seq", filters=ADA)
    (page,) = await sync(reader, log_id, query)
    assert len(page.items) == 4
    assert page.after_seq == len(events) - 1
    now = now_us()
    (late,) = await put(owner, log_id, [Row(now, now, {"user_id": "ada"})])
    (more,) = await sync(reader, log_id, replace(query, after_seq=page.after_seq))
    assert more.items == (late.item,)


async def test_what_was_removed_is_told_where_it_lay(
    reader: LogReader, owner: Connection, log_id: int, events: list[Put]
) -> None:
    await remove(owner, log_id, 0, 2)
    await remove(owner, log_id, 3, 4)
    await remove(owner, log_id, 10, 10, "cleanup")
    await remove(owner, log_id, 15, 19)
    (page,) = await sync(reader, log_id, ListQuery(order="seq"))
    assert page.items == tuple(event.item for event in events if event.seq in {5, 6, 7, 8, 9, 11, 12, 13, 14})
    assert page.removed == (Removed(0, 4, "retention"), Removed(10, 10, "cleanup"), Removed(15, 19, "retention"))
    assert page.after_seq == 19


async def test_only_what_lies_between_is_told(
    reader: LogReader, owner: Connection, log_id: int, events: list[Put]
) -> None:
    assert len(events) == 20
    await remove(owner, log_id, 2, 7)
    await remove(owner, log_id, 12, 12)
    pages = await sync(reader, log_id, ListQuery(order="seq", after_seq=4, limit=4))
    assert [page.removed for page in pages] == [
        (Removed(5, 7, "retention"),),
        (Removed(12, 12, "retention"),),
        (),
    ]


async def test_a_removal_of_scattered_seqs_is_told_exactly(
    reader: LogReader, owner: Connection, log_id: int, events: list[Put]
) -> None:
    assert len(events) == 20
    await owner.execute(
        "insert into tallystick.removed (log_id, first_seq, last_seq, seqs, reason)"
        " values ($1, 2, 9, '{[2,3),[5,7),[9,10)}', 'cleanup')",
        log_id,
    )
    (page,) = await sync(reader, log_id, ListQuery(order="seq", after_seq=5))
    assert page.removed == (Removed(6, 6, "cleanup"), Removed(9, 9, "cleanup"))


async def test_a_narrowed_principal_is_not_told_what_was_removed(
    reader: LogReader, owner: Connection, log_id: int, events: list[Put]
) -> None:
    await remove(owner, log_id, 0, 4)
    (page,) = await sync(reader, log_id, ListQuery(order="seq"), ADA)
    assert page.items == tuple(events[n].item for n in (5, 10, 15))
    assert page.removed is None


async def test_a_filtered_stretch_is_bounded_and_complete(database: Database, owner: Connection, log_id: int) -> None:
    now = now_us()
    rows = [Row(now, now, {"user_id": "ada" if n in (0, 450, 998) else "bob"}) for n in range(999)]
    events = await put(owner, log_id, rows)
    await remove(owner, log_id, 150, 159)
    reader, query = reader_of(database, max_scan=100), ListQuery(order="seq", filters=ADA)
    for by_cursor in (True, False):
        pages = await sync(reader, log_id, query, by_cursor=by_cursor)
        assert items_of(pages) == [events[n].item for n in (0, 450, 998)]
        assert len(pages) == 10
        assert [page.removed for page in pages if page.removed] == [(Removed(150, 159, "retention"),)]
        assert pages[0].after_seq == 99


async def test_a_time_range_filters_a_stretch(reader: LogReader, log_id: int, events: list[Put]) -> None:
    query = ListQuery(order="seq", from_us=events[12].occurred_us, to_us=events[8].occurred_us, limit=2)
    pages = await sync(reader, log_id, query)
    assert items_of(pages) == [events[n].item for n in (9, 10, 11, 12)]


async def test_the_stretch_of_another_log_is_its_own(
    reader: LogReader, owner: Connection, log_id: int, events: list[Put]
) -> None:
    other = await make_log(owner)
    await remove(owner, log_id, 0, 4)
    (page,) = await sync(reader, other, ListQuery(order="seq"))
    assert len(events) == 20
    assert (page.items, page.removed, page.after_seq) == ((), (), -1)
