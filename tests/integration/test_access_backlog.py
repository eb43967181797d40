"""What waits for an access log is stored once, also when the process ends in the middle of it."""

import asyncio
import time
from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry

from access_events import DEADLINE, recorded
from conftest import Connection
from doors import Door, open_door
from tallystick.access_log.backlog import MOST, AccessMetrics, Backlog
from tallystick.access_log.model import Actor, Deed, Place, access_event
from tallystick.errors import OverloadedError
from tallystick.settings import Settings

ACTOR = Actor(issuer="tallystick", subject="auditor@example.com")
DEED = Deed("list_events", "logs.list", "log", "events")
DAY_NS = 86_400 * 10**9
LOGS = "/api/v1/logs"
HELD = "select id from tallystick.logs where tenant_id = 'acme' and name = 'access' for update"


@pytest_asyncio.fixture
async def place(door: Door) -> Place:
    tenant = await door.services.directory.find("acme")
    assert tenant is not None
    return Place("acme", tenant.logs["access"])


@pytest_asyncio.fixture
async def backlog(door: Door) -> AsyncGenerator[Backlog]:
    backlog = Backlog(door.services.writer, AccessMetrics(CollectorRegistry()))
    running = asyncio.create_task(backlog.run())
    yield backlog
    backlog.close()
    await asyncio.wait_for(running, DEADLINE)


def put(backlog: Backlog, place: Place, count: int) -> None:
    for number in range(count):
        backlog.put(place, access_event(place, ACTOR, DEED, "outcome", {"number": number}))


def tell(door: Door, place: Place, number: int) -> None:
    door.services.access_log.tell(ACTOR, DEED, "completed", {"number": number}, [place])


async def waiting(door: Door, events: int) -> None:
    """Until the writer holds so many."""
    metric = "tallystick_append_waiting_events"
    async with asyncio.timeout(DEADLINE):
        while door.services.registry.get_sample_value(metric) != events:  # noqa: ASYNC110 - of the writer
            await asyncio.sleep(0.01)
    held = door.services.registry.get_sample_value("tallystick_append_waiting_bytes")
    assert held is not None
    assert (held > 0) is (events > 0), "and what they weigh"


async def test_what_is_being_stored_when_the_process_ends_is_stored_once(
    door: Door, backlog: Backlog, place: Place, owner: Connection
) -> None:
    async with owner.transaction():
        await owner.fetchval(HELD)
        put(backlog, place, 120)
        await waiting(door, 120)
        backlog.close()
        put(backlog, place, 1)
    async with asyncio.timeout(DEADLINE):
        while len(await recorded(owner)) < 121:  # noqa: ASYNC110 - of the database
            await asyncio.sleep(0.02)
    told = [each["metadata"]["number"] for each in await recorded(owner)]
    assert sorted(told) == sorted([*range(120), 0])


async def test_one_that_is_refused_takes_no_other_with_it(door: Door, place: Place, owner: Connection) -> None:
    registry = CollectorRegistry()
    backlog = Backlog(door.services.writer, AccessMetrics(registry))
    put(backlog, place, 2)
    tomorrow_ms = (time.time_ns() + DAY_NS) // 1_000_000
    backlog.put(place, access_event(place, ACTOR, DEED, "outcome", {"number": 2}, occurred_ms=tomorrow_ms))
    put(backlog, place, 2)
    backlog.close()
    await asyncio.wait_for(backlog.run(), DEADLINE)
    assert sorted(each["metadata"]["number"] for each in await recorded(owner)) == [0, 0, 1, 1]
    assert registry.get_sample_value("tallystick_access_events_lost_total") == 1


async def test_what_cannot_be_stored_now_is_tried_again(settings: Settings, owner: Connection) -> None:
    quick = settings.database.model_copy(update={"lock_timeout": 0.1})
    async with open_door(settings.model_copy(update={"database": quick})) as door:
        await door.make_tenant("acme")
        tenant = await door.services.directory.find("acme")
        assert tenant is not None
        async with owner.transaction():
            await owner.fetchval(HELD)
            for number in range(3):
                tell(door, Place("acme", tenant.logs["access"]), number)
            # Refused once by now: only what is refused leaves the writer while the row is held.
            await waiting(door, 3)
            await waiting(door, 0)
    assert [each["metadata"]["number"] for each in await recorded(owner)] == [0, 1, 2]


async def test_a_full_backlog_lets_nothing_begin_that_would_add_to_it(door: Door, owner: Connection) -> None:
    tenant = await door.services.directory.find("acme")
    assert tenant is not None
    place = Place("acme", tenant.logs["access"])
    async with owner.transaction():
        await owner.fetchval(HELD)
        for number in range(MOST):
            tell(door, place, number)
        answer = await door.client.get(LOGS, headers=door.bearer())
        assert answer.status_code == 503, answer.text
        assert int(answer.headers["retry-after"]) > 0
        with pytest.raises(OverloadedError):
            door.services.access_log.intend(ACTOR, DEED, [place])
