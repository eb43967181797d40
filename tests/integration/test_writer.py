"""The writer on a real PostgreSQL: gap-free seqs, retries, refusals, fairness, shutdown."""

import asyncio
from collections.abc import AsyncGenerator
from typing import TypeAlias

import asyncpg
import orjson
import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry

from factories import append, digests, make_log, prepared
from tallystick.database.pools import Database
from tallystick.errors import ConflictError, InvalidError, OverloadedError, UnavailableError
from tallystick.log.identity import parse_id
from tallystick.log.retries import RequestKey
from tallystick.log.writer import Writer, WriterMetrics
from tallystick.settings import DatabaseSettings, WriterSettings
from tallystick_tlog import leaf_hash

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


@pytest_asyncio.fixture
async def writer(database: Database) -> AsyncGenerator[Writer]:
    writer = Writer(database, WriterSettings(), digests(), WriterMetrics(CollectorRegistry()))
    await writer.start()
    yield writer
    await writer.close()


async def stored_bodies(owner: Connection, log_id: int) -> list[bytes]:
    rows = await owner.fetch("select seq, body from tallystick.events where log_id = $1 order by seq", log_id)
    assert [row["seq"] for row in rows] == list(range(len(rows)))
    assert await owner.fetchval("select size from tallystick.logs where id = $1", log_id) == len(rows)
    return [row["body"].encode() for row in rows]


async def test_an_event_is_stored_as_it_is_answered(writer: Writer, owner: Connection, log_id: int) -> None:
    outcome = await writer.append(append(log_id, prepared(timestamp=None, message="naïve ☂")))

    (place,) = outcome.stored
    assert place is not None
    (body,) = await stored_bodies(owner, log_id)
    event = orjson.loads(body)
    assert leaf_hash(body).hex() == place.leaf_hash
    assert event["id"] == place.id
    assert event["received_at"] == event["timestamp"] == place.received_at
    assert event["severity"] == "INFO"
    assert event["message"] == "naïve ☂"
    assert parse_id(place.id).seq == place.seq == 0
    row = await owner.fetchrow("select * from tallystick.events where log_id = $1", log_id)
    assert row is not None
    assert row["received_at"] == row["occurred_at"]
    assert round(row["received_at"].timestamp() * 1000) == parse_id(place.id).received_ms


async def test_seqs_have_no_gap_and_follow_the_order_of_arrival(writer: Writer, owner: Connection, log_id: int) -> None:
    outcomes = await asyncio.gather(*(writer.append(append(log_id, prepared(), prepared())) for _ in range(200)))

    seqs = [place.seq for outcome in outcomes for place in outcome.stored if place]
    assert sorted(seqs) == list(range(400))
    arrivals = [orjson.loads(body)["received_at"] for body in await stored_bodies(owner, log_id)]
    assert arrivals == sorted(arrivals)


async def test_a_large_request_is_one_transaction(writer: Writer, owner: Connection, log_id: int) -> None:
    outcome = await writer.append(append(log_id, *(prepared() for _ in range(3_000))))

    assert [place.seq for place in outcome.stored if place] == list(range(3_000))
    assert await owner.fetchval("select count(distinct xmin::text) from tallystick.events") == 1


async def test_the_same_event_id_and_content_is_stored_once(writer: Writer, owner: Connection, log_id: int) -> None:
    first = await writer.append(append(log_id, prepared(event_id="e-1", resource_id="r")))
    again = await writer.append(append(log_id, prepared(event_id="e-1", resource_id="r")))

    assert again.answer == first.answer
    assert again.stored[0] is not None
    assert again.stored[0].known
    assert len(await stored_bodies(owner, log_id)) == 1


async def test_an_event_id_is_known_within_a_batch(writer: Writer, owner: Connection, log_id: int) -> None:
    outcomes = await asyncio.gather(
        *(writer.append(append(log_id, prepared(event_id="e-1", resource_id="r"))) for _ in range(20))
    )

    assert len({outcome.answer for outcome in outcomes}) == 1
    assert sum(not place.known for outcome in outcomes for place in outcome.stored if place) == 1
    assert len(await stored_bodies(owner, log_id)) == 1


async def test_an_event_id_is_known_within_a_request(writer: Writer, owner: Connection, log_id: int) -> None:
    same = [prepared(event_id="e-1", resource_id="r") for _ in range(3)]
    outcome = await writer.append(append(log_id, prepared(), *same, prepared()))

    assert [(place.seq, place.known) for place in outcome.stored if place] == [
        (0, False),
        (1, False),
        (1, True),
        (1, True),
        (2, False),
    ]
    assert len(await stored_bodies(owner, log_id)) == 3


async def test_an_event_id_with_other_content_fails_its_request_alone(
    writer: Writer, owner: Connection, log_id: int
) -> None:
    await writer.append(append(log_id, prepared(event_id="e-1", resource_id="r")))
    results = await asyncio.gather(
        writer.append(append(log_id, prepared(), prepared(event_id="e-1", resource_id="other"), bulk=True)),
        writer.append(append(log_id, prepared())),
        return_exceptions=True,
    )

    assert isinstance(results[0], ConflictError)
    assert [flaw.index for flaw in results[0].flaws] == [1]
    assert not isinstance(results[1], BaseException)
    assert len(await stored_bodies(owner, log_id)) == 2


async def test_conflicts_can_be_skipped(writer: Writer, owner: Connection, log_id: int) -> None:
    await writer.append(append(log_id, prepared(event_id="e-1", resource_id="r")))
    outcome = await writer.append(
        append(log_id, prepared(event_id="e-1", resource_id="x"), prepared(), skip_conflicts=True)
    )

    assert outcome.stored[0] is None
    assert outcome.stored[1] is not None
    assert len(await stored_bodies(owner, log_id)) == 2


async def test_a_request_key_answers_the_same_again(writer: Writer, owner: Connection, log_id: int) -> None:
    key = RequestKey("k-1", b"content")
    first, twin = await asyncio.gather(
        writer.append(append(log_id, prepared(), key=key)), writer.append(append(log_id, prepared(), key=key))
    )
    later = await writer.append(append(log_id, prepared(), key=key))

    assert first.answer == twin.answer == later.answer
    assert len(await stored_bodies(owner, log_id)) == 1
    with pytest.raises(ConflictError):
        await writer.append(append(log_id, prepared(), key=RequestKey("k-1", b"other content")))


async def test_the_same_key_in_another_log_is_another_key(writer: Writer, owner: Connection, log_id: int) -> None:
    other = await make_log(owner)
    await writer.append(append(log_id, prepared(event_id="e-1", resource_id="r")))
    outcome = await writer.append(append(other, prepared(event_id="e-1", resource_id="other")))

    assert outcome.stored[0] is not None
    assert not outcome.stored[0].known


async def test_what_the_database_refuses_fails_alone(writer: Writer, owner: Connection, log_id: int) -> None:
    two_hours_ahead = prepared(timestamp="2999-01-01T00:00:00Z", now_us=32_472_144_000_000_000)
    results = await asyncio.gather(
        *(writer.append(append(log_id, prepared())) for _ in range(5)),
        writer.append(append(log_id, two_hours_ahead)),
        *(writer.append(append(log_id, prepared())) for _ in range(5)),
        return_exceptions=True,
    )

    assert isinstance(results[5], InvalidError)
    assert len([result for result in results if isinstance(result, BaseException)]) == 1
    assert len(await stored_bodies(owner, log_id)) == 10


async def test_a_log_held_elsewhere_does_not_hold_up_others(writer: Writer, owner: Connection, log_id: int) -> None:
    free = await make_log(owner)
    async with owner.transaction():
        await owner.execute("select from tallystick.logs where id = $1 for no key update", log_id)
        held = [asyncio.create_task(writer.append(append(log_id, prepared()))) for _ in range(3)]
        async with asyncio.timeout(5):
            for _ in range(20):
                await asyncio.gather(*(writer.append(append(free, prepared())) for _ in range(5)))
        assert not any(task.done() for task in held)
    outcomes = await asyncio.gather(*held)

    assert [outcome.stored[0].seq for outcome in outcomes if outcome.stored[0]] == [0, 1, 2]
    assert len(await stored_bodies(owner, free)) == 100


async def test_a_caller_that_hangs_up_changes_nothing(writer: Writer, owner: Connection, log_id: int) -> None:
    tasks = [asyncio.create_task(writer.append(append(log_id, prepared()))) for _ in range(10)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)

    assert sum(isinstance(result, asyncio.CancelledError) for result in results) == 5
    await writer.append(append(log_id, prepared()))
    assert len(await stored_bodies(owner, log_id)) == 11


async def test_closing_stores_what_waits_and_refuses_what_comes(
    database: Database, owner: Connection, log_id: int
) -> None:
    writer = Writer(database, WriterSettings(), digests(), WriterMetrics(CollectorRegistry()))
    await writer.start()
    tasks = [asyncio.create_task(writer.append(append(log_id, prepared()))) for _ in range(50)]
    await asyncio.sleep(0)
    await writer.close()

    assert all(task.done() and task.exception() is None for task in tasks)
    with pytest.raises(UnavailableError):
        await writer.append(append(log_id, prepared()))
    assert len(await stored_bodies(owner, log_id)) == 50


async def test_a_full_queue_pushes_back_and_stores_nothing_of_it(
    database: Database, owner: Connection, log_id: int
) -> None:
    writer = Writer(database, WriterSettings(queue_events=100), digests(), WriterMetrics(CollectorRegistry()))
    tasks = [asyncio.create_task(writer.append(append(log_id, prepared()))) for _ in range(150)]
    await asyncio.sleep(0)
    await writer.start()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    await writer.close()

    refused = [result for result in results if isinstance(result, OverloadedError)]
    assert len(refused) == 70
    assert all(error.retry_after for error in refused)
    assert len(await stored_bodies(owner, log_id)) == 80


async def test_metrics_know_what_waits_before_any_of_it_is_stored(database: Database, log_id: int) -> None:
    registry = CollectorRegistry()
    writer = Writer(database, WriterSettings(), digests(), WriterMetrics(registry))

    def told() -> list[float | None]:
        names = (
            "tallystick_accepted_events_total",
            "tallystick_append_waiting_events",
            "tallystick_appended_events_total",
        )
        return [registry.get_sample_value(name) for name in names]

    tasks = [asyncio.create_task(writer.append(append(log_id, prepared(), prepared()))) for _ in range(3)]
    async with asyncio.timeout(20):
        while told() != [6, 6, 0]:  # noqa: ASYNC110 - of the writer
            await asyncio.sleep(0.01)
    await writer.start()
    await asyncio.gather(*tasks)
    assert told() == [6, 0, 6]
    await writer.close()


async def test_a_lost_connection_fails_its_batch_and_the_next_one_goes_through(
    writer: Writer, owner: Connection, superuser: Connection, log_id: int
) -> None:
    await writer.append(append(log_id, prepared()))
    await superuser.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'tallystick writer'"
    )
    results = [
        result
        for _ in range(8)
        for result in await asyncio.gather(writer.append(append(log_id, prepared())), return_exceptions=True)
    ]

    stored = sum(not isinstance(result, BaseException) for result in results)
    assert all(isinstance(result, UnavailableError) for result in results if isinstance(result, BaseException))
    assert stored >= 4
    assert len(await stored_bodies(owner, log_id)) == stored + 1


async def test_a_key_is_kept_with_the_day_of_the_database_and_its_answer(
    writer: Writer, owner: Connection, log_id: int
) -> None:
    key = RequestKey("k-1", b"content", "issuer ada")
    outcome = await writer.append(append(log_id, prepared(event_id="é-1"), key=key))

    rows = await owner.fetch("select *, day = (now() at time zone 'UTC')::date as today from tallystick.retry_keys")
    kept = {row["scope"]: row for row in rows}
    assert kept["event"]["key"] == "é-1"
    assert kept["request"]["key"] == key.stored
    assert kept["request"]["answer"] == kept["event"]["answer"] == outcome.answer.decode()
    assert {(row["log_id"], row["key_id"], len(row["digest"]), row["today"]) for row in rows} == {
        (log_id, "k1", 32, True)
    }


async def test_no_partition_for_retry_keys_is_the_servers_fault(writer: Writer, owner: Connection, log_id: int) -> None:
    today = await owner.fetchval("select to_char(now() at time zone 'UTC', 'YYYYMMDD')")
    await owner.execute(f"alter table tallystick.retry_keys detach partition tallystick.retry_keys_{today}")

    with pytest.raises(UnavailableError, match="not prepared for today"):
        await writer.append(append(log_id, prepared(event_id="e-1")))
    await writer.append(append(log_id, prepared()))
    assert len(await stored_bodies(owner, log_id)) == 1


async def test_what_waits_behind_a_time_out_fails_with_it(
    database_settings: DatabaseSettings, owner: Connection, log_id: int
) -> None:
    settings = database_settings.model_copy(update={"append_timeout": 0.5, "writer_connections": 2})
    other = await make_log(owner)
    async with Database.from_settings(settings) as pools, asyncio.timeout(10):
        writer = Writer(pools, WriterSettings(), digests(), WriterMetrics(CollectorRegistry()))
        await writer.start()
        async with owner.transaction():
            await owner.execute("lock table tallystick.events in access exclusive mode")
            waiting = [asyncio.create_task(writer.append(append(log_id, prepared())))]
            await asyncio.sleep(0)
            waiting += [asyncio.create_task(writer.append(append(log, prepared()))) for log in (log_id, other) * 5]
            results = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(result, UnavailableError) for result in results)
        await writer.append(append(log_id, prepared()))
        await writer.close()
    assert len(await stored_bodies(owner, log_id)) == 1


async def test_who_asked_is_told_of_growth_after_the_commit(database: Database, owner: Connection, log_id: int) -> None:
    told: list[tuple[int, int]] = []

    def grown(log_id: int, size: int) -> None:
        told.append((log_id, size))

    writer = Writer(database, WriterSettings(), digests(), WriterMetrics(CollectorRegistry()), grown)
    await writer.start()
    other = await make_log(owner)
    await writer.append(append(log_id, prepared(), prepared()))
    assert told == [(log_id, 2)]
    await writer.append(append(log_id, prepared(event_id="e-1", resource_id="r")))
    await writer.append(append(log_id, prepared(event_id="e-1", resource_id="r")))
    assert told == [(log_id, 2), (log_id, 3)]
    await asyncio.gather(*(writer.append(append(each, prepared())) for each in (log_id, other) * 5))
    assert dict(told) == {log_id: 8, other: 5}
    await writer.close()
