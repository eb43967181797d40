"""One event by its id."""

import pytest

from factories import make_log
from stored_events import Connection, Put, Row, now_us, partitions_back, put, remove
from tallystick.auth.keys import SigningKeys
from tallystick.database.pools import Database
from tallystick.errors import GoneError, NotFoundError
from tallystick.log.identity import make_id
from tallystick.log.reader import LogReader
from tallystick.query.ast import Equals, Everything
from tallystick.query.cursor import CursorCodec
from tallystick.settings import Settings
from tallystick_tlog import verify_event

EVERYTHING = Everything()
ADA = Equals("user_id", "ada")


@pytest.fixture
def reader(database: Database) -> LogReader:
    return LogReader(database, CursorCodec(SigningKeys("k1", {"k1": b"k" * 32})), Settings())


@pytest.fixture
async def events(owner: Connection, log_id: int) -> list[Put]:
    begin, now = await partitions_back(owner, 2), now_us()
    rows = [Row(begin, begin, {"user_id": "ada", "message": "Zo\u00eb \u2713"}), Row(now, begin, {"user_id": "bob"})]
    return await put(owner, log_id, rows)


async def test_it_is_found_byte_for_byte(reader: LogReader, log_id: int, events: list[Put]) -> None:
    for event in events:
        found = await reader.get(log_id, EVERYTHING, event.id)
        assert (found.item, found.leaf_hash) == (event.item, event.leaf_hash)
        assert verify_event(found.item)


async def test_the_case_of_an_id_does_not_matter(reader: LogReader, log_id: int, events: list[Put]) -> None:
    assert (await reader.get(log_id, EVERYTHING, events[0].id.upper())).item == events[0].item


async def test_another_log_does_not_have_it(
    reader: LogReader, owner: Connection, log_id: int, events: list[Put]
) -> None:
    other = await make_log(owner)
    await put(owner, other, [Row(events[0].received_us, 0, {"salt": "another"})])
    with pytest.raises(NotFoundError):
        await reader.get(other, EVERYTHING, events[1].id)
    assert (await reader.get(log_id, EVERYTHING, events[1].id)).item == events[1].item


async def test_an_id_that_differs_in_its_random_bits_alone_is_not_found(
    reader: LogReader, log_id: int, events: list[Put]
) -> None:
    event = events[0]
    with pytest.raises(NotFoundError):
        await reader.get(log_id, EVERYTHING, make_id(event.received_us // 1000, event.seq, 12345))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "0",
        "019ab6f4-1c2b-4000-8000-12d0a3f4b5c6",
        "ffffffff-ffff-7fff-bfff-ffffffffffff",
        make_id(0, 0, 0),
        make_id(1, 2**40 - 1, 0),
        "\u0661" * 36,
    ],
)
async def test_what_is_no_id_of_the_log_is_not_found(reader: LogReader, log_id: int, text: str) -> None:
    with pytest.raises(NotFoundError):
        await reader.get(log_id, EVERYTHING, text)


async def test_what_a_principal_may_not_see_is_not_found(reader: LogReader, log_id: int, events: list[Put]) -> None:
    assert (await reader.get(log_id, ADA, events[0].id)).item == events[0].item
    with pytest.raises(NotFoundError):
        await reader.get(log_id, ADA, events[1].id)


async def test_what_was_removed_is_gone(reader: LogReader, owner: Connection, log_id: int, events: list[Put]) -> None:
    await remove(owner, log_id, 0, 0)
    with pytest.raises(GoneError):
        await reader.get(log_id, EVERYTHING, events[0].id)
    assert (await reader.get(log_id, EVERYTHING, events[1].id)).item == events[1].item


async def test_a_narrowed_principal_is_not_told_of_a_removal(
    reader: LogReader, owner: Connection, log_id: int, events: list[Put]
) -> None:
    await remove(owner, log_id, 0, 0)
    with pytest.raises(NotFoundError):
        await reader.get(log_id, ADA, events[0].id)
