"""Pages by time: each event exactly once, in both directions, however late it came."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from factories import make_log
from stored_events import DAY_US, HOUR_US, Connection, Put, Row, now_us, partitions_back, put
from tallystick.auth.keys import SigningKeys
from tallystick.database.pools import Database
from tallystick.errors import InvalidError
from tallystick.log.reader import PAGE_BYTES, ListQuery, LogReader, Order, Page
from tallystick.query.ast import Equals
from tallystick.query.cursor import CursorCodec
from tallystick.settings import Settings


@pytest.fixture
def reader(database: Database) -> LogReader:
    return LogReader(database, CursorCodec(SigningKeys("k1", {"k1": b"k" * 32})), Settings())


async def walk(reader: LogReader, log_id: int, query: ListQuery) -> list[Page]:
    """All pages from the first to the last."""
    pages: list[Page] = []
    cursor = query.cursor
    while not pages or cursor is not None:
        pages.append(await reader.by_time(log_id, replace(query, cursor=cursor)))
        cursor = pages[-1].next
    return pages


async def walk_back(reader: LogReader, log_id: int, query: ListQuery, last: Page) -> list[Page]:
    """All pages from the last to the first, in that order."""
    pages = [last]
    while pages[-1].prev is not None:
        pages.append(await reader.by_time(log_id, replace(query, cursor=pages[-1].prev)))
    return pages


def items_of(pages: Sequence[Page]) -> list[bytes]:
    return [item for page in pages for item in page.items]


def in_order(events: Sequence[Put], order: Order) -> list[bytes]:
    ordered = sorted(events, key=lambda event: (event.occurred_us, event.seq), reverse=order == "newest")
    return [event.item for event in ordered]


arrivals = st.lists(
    st.tuples(
        st.integers(0, 5 * DAY_US // 1000),  # when it arrives, in milliseconds after the first partition begins
        st.sampled_from((-HOUR_US, 0, 1, HOUR_US // 2, DAY_US, 3 * DAY_US)),  # how long before it happened
        st.sampled_from((1, HOUR_US, DAY_US)),  # to what its occurrence is rounded, so that many coincide
    ),
    max_size=40,
)


def rows_of(begin: int, drawn: list[tuple[int, int, int]]) -> list[Row]:
    rows: list[Row] = []
    for arrival_ms, delay, rounding in sorted(drawn):
        received = begin + arrival_ms * 1000
        occurred = (received - delay) // rounding * rounding
        rows.append(Row(received, occurred))
    return rows


@pytest.fixture
async def begin(owner: Connection) -> int:
    """When the first of several partitions begins, in µs."""
    return await partitions_back(owner, 6)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    drawn=arrivals,
    order=st.sampled_from(("newest", "oldest")),
    limit=st.integers(1, 7),
    bounds=st.tuples(st.integers(-1, 5), st.integers(0, 6)),
)
async def test_every_event_comes_once_in_both_directions(
    reader: LogReader,
    owner: Connection,
    begin: int,
    drawn: list[tuple[int, int, int]],
    order: Order,
    limit: int,
    bounds: tuple[int, int],
) -> None:
    log_id = await make_log(owner)
    events = await put(owner, log_id, rows_of(begin, drawn))
    first, days = bounds
    from_us = None if first < 0 else begin + first * DAY_US
    to_us = None if days == 0 else begin + (max(first, 0) + days) * DAY_US
    query = ListQuery(order=order, from_us=from_us, to_us=to_us, limit=limit)
    expected = [
        event
        for event in events
        if (from_us is None or event.occurred_us >= from_us) and (to_us is None or event.occurred_us < to_us)
    ]
    pages = await walk(reader, log_id, query)
    assert items_of(pages) == in_order(expected, order)
    assert pages[0].prev is None
    assert all(len(page.items) == limit for page in pages[:-1])
    back = await walk_back(reader, log_id, query, pages[-1])
    assert [page.items for page in reversed(back)] == [page.items for page in pages]


async def test_the_next_of_a_prev_is_the_page_again(reader: LogReader, owner: Connection, log_id: int) -> None:
    now = now_us()
    await put(owner, log_id, [Row(now, now - second) for second in range(30)])
    query = ListQuery(limit=10)
    first, second, third = await walk(reader, log_id, query)
    again = await reader.by_time(log_id, replace(query, cursor=third.prev))
    assert again.items == second.items
    forth = await reader.by_time(log_id, replace(query, cursor=again.next))
    assert forth.items == third.items
    start = await reader.by_time(log_id, replace(query, cursor=again.prev))
    assert (start.items, start.prev) == (first.items, None)


async def test_an_event_that_came_late_shows_where_it_happened(
    reader: LogReader, owner: Connection, log_id: int, begin: int
) -> None:
    rows = [Row(begin + n * HOUR_US, begin + n * HOUR_US) for n in range(10)]
    *_, late = await put(owner, log_id, [*rows, Row(begin + 5 * DAY_US, begin + 5 * HOUR_US)])
    (page,) = await walk(reader, log_id, ListQuery(from_us=begin + 5 * HOUR_US, to_us=begin + 6 * HOUR_US))
    assert page.items[0] == late.item
    assert len(page.items) == 2


async def test_an_event_may_arrive_an_hour_before_its_time(
    reader: LogReader, owner: Connection, log_id: int, begin: int
) -> None:
    received = begin + DAY_US - HOUR_US
    (early,) = await put(owner, log_id, [Row(received, received + HOUR_US)])
    for order in ("newest", "oldest"):
        (page,) = await walk(reader, log_id, ListQuery(order=order, from_us=begin + DAY_US))
        assert page.items == (early.item,)


async def test_from_is_inclusive_and_to_is_not(reader: LogReader, owner: Connection, log_id: int) -> None:
    now = now_us()
    events = await put(owner, log_id, [Row(now, now + n) for n in range(3)])
    (page,) = await walk(reader, log_id, ListQuery(from_us=now, to_us=now + 2))
    assert page.items == (events[1].item, events[0].item)
    (page,) = await walk(reader, log_id, ListQuery(from_us=now, to_us=now))
    assert page.items == ()


async def test_an_event_of_the_last_representable_day_is_found(
    reader: LogReader, owner: Connection, log_id: int
) -> None:
    now = now_us()
    (old,) = await put(owner, log_id, [Row(now, -2_208_988_800_000_000)])
    (page,) = await walk(reader, log_id, ListQuery(from_us=-2_208_988_800_000_000, to_us=253_402_300_799_999_999))
    assert page.items == (old.item,)


async def test_other_logs_do_not_show(reader: LogReader, owner: Connection, log_id: int) -> None:
    now = now_us()
    mine = await put(owner, log_id, [Row(now, now)])
    await put(owner, await make_log(owner), [Row(now, now)])
    assert items_of(await walk(reader, log_id, ListQuery())) == [mine[0].item]


async def test_when_the_rest_was_removed_meanwhile_the_page_is_the_last(
    reader: LogReader, owner: Connection, log_id: int
) -> None:
    now = now_us()
    events = await put(owner, log_id, [Row(now, now + n) for n in range(4)])
    query = ListQuery(limit=2)
    first = await reader.by_time(log_id, query)
    await owner.execute("delete from tallystick.events where log_id = $1 and seq < 2", log_id)
    second = await reader.by_time(log_id, replace(query, cursor=first.next))
    assert (second.items, second.next) == ((), None)
    turned = await reader.by_time(log_id, replace(query, cursor=second.prev))
    assert turned.items == (events[3].item, events[2].item)


async def test_a_page_of_large_events_ends_early_and_goes_on(reader: LogReader, owner: Connection, log_id: int) -> None:
    now = now_us()
    large = {"message": "x" * (PAGE_BYTES // 4)}
    events = await put(owner, log_id, [Row(now, now + n, large) for n in range(10)])
    pages = await walk(reader, log_id, ListQuery(limit=10))
    assert [len(page.items) for page in pages] == [4, 4, 2]
    assert items_of(pages) == in_order(events, "newest")


async def test_filters_are_not_passed_over(reader: LogReader, log_id: int) -> None:
    with pytest.raises(ValueError, match="no filters"):
        await reader.by_time(log_id, ListQuery(filters=Equals("user_id", "ada")))


async def test_a_cursor_holds_for_its_log_and_query_alone(reader: LogReader, owner: Connection, log_id: int) -> None:
    now = now_us()
    other_log = await make_log(owner)
    for log in (log_id, other_log):
        await put(owner, log, [Row(now, now + n) for n in range(4)])
    query = ListQuery(limit=2, from_us=now)
    page = await reader.by_time(log_id, query)
    query = replace(query, cursor=page.next)
    await reader.by_time(log_id, replace(query, limit=1))
    refused: list[tuple[int, ListQuery]] = [
        (other_log, query),
        (log_id, replace(query, order="oldest")),
        (log_id, replace(query, from_us=now - 1)),
        (log_id, replace(query, to_us=now + 9)),
        (log_id, replace(query, cursor="forged")),
    ]
    for log, changed in refused:
        with pytest.raises(InvalidError) as caught:
            await reader.by_time(log, changed)
        assert [flaw.parameter for flaw in caught.value.flaws] == ["cursor"]
