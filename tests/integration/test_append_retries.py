"""Requests that are sent again: by their key, or by the ids of their events."""

import asyncio
import gzip
import json

import pytest

from appending import LOGS, Connection, bulk, created, flaws_of, post, stored
from doors import Door, open_door
from factories import event
from tallystick.settings import Settings


async def test_a_request_key_is_answered_again_byte_for_byte(door: Door, owner: Connection, settings: Settings) -> None:
    one, many = event(), [event(action=""), event(), event()]
    first = await post(door, one, idempotency_key="k-1")
    first_many = await bulk(door, many, skip=True, idempotency_key='"k-2"')
    async with open_door(settings) as restarted:
        for again in (door, restarted):
            response = await post(again, one, idempotency_key="k-1", token=door.bearer())
            assert (response.status_code, response.content) == (201, first.content)
            assert response.headers["location"] == first.headers["location"]
            body = gzip.compress(json.dumps(many).encode())
            response = await bulk(
                again, body, skip=True, idempotency_key="k-2", content_encoding="gzip", token=door.bearer()
            )
            assert (response.status_code, response.content) == (201, first_many.content)
    assert len(await stored(owner)) == 3


async def test_twins_of_one_batch_are_counted_once(door: Door, owner: Connection) -> None:
    sent = event()
    responses = await asyncio.gather(*(post(door, sent, idempotency_key="k-1") for _ in range(8)))

    assert len({(response.status_code, response.content, response.headers["location"]) for response in responses}) == 1
    assert len(await stored(owner)) == 1
    assert door.services.registry.get_sample_value("tallystick_appended_events_total") == 1


async def test_what_came_yesterday_is_known_today(door: Door, owner: Connection) -> None:
    sent = event(event_id="e-1")
    first = await post(door, sent, idempotency_key="k-1")
    assert await owner.execute("update tallystick.retry_keys set day = day - 1") == "UPDATE 2"

    for headers in ({}, {"idempotency_key": "k-1"}, {"idempotency_key": "k-2"}):
        response = await post(door, sent, token=door.bearer(), **headers)
        assert (response.status_code, response.content) == (201, first.content)
    assert len(await stored(owner)) == 1


async def test_a_request_key_with_another_request_is_a_conflict(door: Door, owner: Connection) -> None:
    one, many = event(), [event(), event()]
    created(await post(door, one, idempotency_key="k-1"))
    created(await bulk(door, many, idempotency_key="k-2"))
    conflicts = [
        await post(door, {**one, "message": "x"}, idempotency_key="k-1"),
        await post(door, json.dumps(one).encode() + b" ", idempotency_key="k-1"),
        await bulk(door, many, idempotency_key="k-1"),
        await bulk(door, many[:1], idempotency_key="k-2"),
    ]

    for response in conflicts:
        assert [flaw["parameter"] for flaw in flaws_of(response, 409)] == ["Idempotency-Key"]
    assert len(await stored(owner)) == 3


async def test_a_request_key_holds_whatever_was_to_be_done_on_error(door: Door, owner: Connection) -> None:
    created(await post(door, event(event_id="e-1", resource_id="r")))
    good, conflicting = [event(), event()], [event(), event(event_id="e-1", resource_id="other")]
    first = await bulk(door, good, idempotency_key="k-1")
    first_skipping = await bulk(door, conflicting, skip=True, idempotency_key="k-2")
    for response in (first, first_skipping):
        created(response)

    for skip in (False, True):
        assert (await bulk(door, good, skip=skip, idempotency_key="k-1")).content == first.content
        assert (await bulk(door, conflicting, skip=skip, idempotency_key="k-2")).content == first_skipping.content
    assert len(await stored(owner)) == 4


async def test_a_refused_request_does_not_use_up_its_key(door: Door, owner: Connection) -> None:
    flaws_of(await post(door, event(action=""), idempotency_key="k-1"), 422)
    flaws_of(await bulk(door, [event(action="")], idempotency_key="k-1"), 422)
    created(await post(door, event(), idempotency_key="k-1"))
    assert len(await stored(owner)) == 1


@pytest.mark.parametrize("key", ["", "a b", "é", '"open', "x" * 256, "a\tb", '""'])
async def test_what_is_no_request_key_is_refused(door: Door, owner: Connection, key: str) -> None:
    headers = {**door.bearer(), "idempotency-key": key.encode("latin-1")}
    response = await door.client.post(LOGS, json=event(), headers=headers)  # type: ignore[arg-type]

    assert [flaw["parameter"] for flaw in flaws_of(response, 422)] == ["Idempotency-Key"]
    assert await stored(owner) == []


async def test_an_event_id_is_answered_again_and_other_content_is_a_conflict(
    door: Door, owner: Connection, settings: Settings
) -> None:
    sent = event(event_id="e-1", after={"x": 1.5})
    first = await post(door, sent)
    created(first)
    reordered = json.dumps(dict(reversed(sent.items())), indent=2).replace("1.5", "15e-1").encode()
    async with open_door(settings) as restarted:
        for again in (door, restarted):
            response = await post(again, reordered, token=door.bearer("user", "acme"))
            assert (response.status_code, response.content) == (201, first.content)
            for other in ({**sent, "message": ""}, {**sent, "severity": "INFO"}, {**sent, "after": None}):
                flaws = flaws_of(await post(again, other, token=door.bearer()), 409)
                assert [flaw["pointer"] for flaw in flaws] == ["/event_id"]
    answer = created(await bulk(door, [event(), sent]))
    assert (answer["stored"], answer["known"]) == (1, 1)
    assert answer["ids"][1] == first.json()["id"]
    flaws = flaws_of(await bulk(door, [event(), {**sent, "message": ""}]), 409)
    assert [(flaw["index"], flaw["pointer"]) for flaw in flaws] == [(1, "/event_id")]
    assert len(await stored(owner)) == 2


async def test_the_same_event_id_of_another_tenant_is_another_event(door: Door, owner: Connection) -> None:
    await door.make_tenant("globex")
    created(await post(door, event(event_id="e", message="a"), idempotency_key="k"))
    created(
        await post(door, event(event_id="e", message="b"), idempotency_key="k", token=door.bearer("admin", "globex"))
    )
    assert [len(await stored(owner, tenant_id)) for tenant_id in ("acme", "globex")] == [1, 1]


async def test_a_bulk_of_one_that_conflicts_names_its_index(door: Door) -> None:
    first = event(event_id="only", resource_id="a")
    await bulk(door, [first])
    answer = await bulk(door, [{**first, "resource_id": "b"}])

    assert answer.status_code == 409
    assert [error["index"] for error in answer.json()["errors"]] == [0]


async def test_two_principals_may_use_the_same_request_key(door: Door, owner: Connection) -> None:
    ada, bob = door.bearer("user", subject="ada"), door.bearer("user", subject="bob")
    body = [event(resource_id="a")]

    first = await bulk(door, body, token=ada, idempotency_key="1")
    other = await bulk(door, [event(resource_id="b")], token=bob, idempotency_key="1")
    again = await bulk(door, body, token=ada, idempotency_key="1")

    assert (first.status_code, other.status_code) == (201, 201)
    assert again.content == first.content
    assert len(await stored(owner)) == 2
