"""Streams over real sockets: what is stored is sent, to those who may see it, in order and once."""

import asyncio
import json
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from appending import LOGS, post
from conftest import Connection
from doors import LiveDoor
from factories import event
from stored_events import fill_log, remove
from streams import DEADLINE, append, ended, first, items, log_of, receive


async def test_what_is_stored_is_sent_as_get_answers_it(live: LiveDoor) -> None:
    await append(live, 3)
    async with live.watch(live.door.token()) as stream:
        assert await first(stream) == 2
        ids = await append(live, 5)
        found = await items(stream, 5)
    assert [each["seq"] for each in found] == [3, 4, 5, 6, 7]
    assert [each["id"] for each in found] == ids
    answer = await live.door.client.get(f"{LOGS}/{ids[0]}", headers=live.door.bearer())
    assert answer.json() == found[0]


async def test_the_very_bytes_of_an_event_are_sent(live: LiveDoor) -> None:
    async with live.watch(live.door.token()) as stream:
        await first(stream)
        (event_id,) = await append(live, 1, metadata={"weight": 1.10, "name": "Zoë"})
        async with asyncio.timeout(DEADLINE):
            frame = await stream.recv(decode=False)
    answer = await live.door.client.get(f"{LOGS}/{event_id}", headers=live.door.bearer())
    assert frame == b'{"type":"events","items":[' + answer.content + b'],"seq":0}'


@pytest.mark.parametrize("way", ["header", "subprotocol", "message"])
async def test_a_token_comes_in_one_of_three_ways(live: LiveDoor, way: str) -> None:
    token = live.door.token()
    offered = {"header": [], "subprotocol": ["tallystick.v1", f"bearer.{token}"], "message": ["tallystick.v1"]}[way]
    async with live.watch(token if way == "header" else None, subprotocols=offered or None) as stream:
        assert stream.subprotocol == (None if way == "header" else "tallystick.v1")
        if way == "message":
            await stream.send(json.dumps({"type": "authenticate", "token": token}))
        assert await first(stream) == -1
        await append(live)
        await items(stream, 1)


async def test_after_a_seq_the_past_comes_before_the_present(live: LiveDoor, owner: Connection) -> None:
    log_id = await log_of(owner)
    await fill_log(owner, log_id, 3_000)
    async with live.watch(live.door.token(), after=1_234, max_size=None) as stream:
        assert await first(stream) == 1_234
        await append(live, 3)
        found = await items(stream, 3_003 - 1_235)
    assert [each["seq"] for each in found] == list(range(1_235, 3_003))


async def test_a_log_that_grows_while_its_past_is_sent_has_no_gap(live: LiveDoor, owner: Connection) -> None:
    log_id = await log_of(owner)
    await fill_log(owner, log_id, 5_000)

    async def watch() -> list[int]:
        async with live.watch(live.door.token(), after=-1, max_size=None) as stream:
            await first(stream)
            return [each["seq"] for each in await items(stream, 5_200)]

    watching = [asyncio.create_task(watch()) for _ in range(4)]
    await append(live, 200)
    for found in await asyncio.gather(*watching):
        assert found == list(range(5_200))


FILTERS = [
    {"action": "user.delete"},
    {"action": ["user.delete", "user.merge"], "min_severity": "ERROR"},
    {"q": "zebra"},
    {"q": "metadata.colour:green OR zebra"},
    {"q": "metadata.weight:[3 TO 5]"},
    {"ip": "10.0.0.0/8"},
    {"from": "2026-01-01T00:00:00Z", "q": "NOT zebra", "severity": "CRITICAL"},
]


@pytest.mark.parametrize("params", FILTERS)
async def test_a_filter_finds_what_a_listing_finds(live: LiveDoor, params: dict[str, Any]) -> None:
    async with live.watch(live.door.token(), params=params) as stream:
        await first(stream)
        for number in range(30):
            await append(
                live,
                action=("user.delete", "user.merge", "user.add")[number % 3],
                severity=("INFO", "ERROR", "CRITICAL")[number // 3 % 3],
                message=f"the {'zebra' if number % 4 == 0 else 'okapi'} ran",
                metadata={"colour": ("green", "red")[number % 2], "weight": number % 7},
                ip_address=f"{10 + number % 3}.0.0.1",
            )
        listing = await live.door.client.get(LOGS, params={**params, "order": "seq"}, headers=live.door.bearer())
        expected = listing.json()["items"]
        assert 0 < len(expected) < 30
        assert await items(stream, len(expected)) == expected
    async with live.watch(live.door.token(), after=-1, params=params) as stream:
        await first(stream)
        assert await items(stream, len(expected)) == expected


async def test_a_user_sees_their_own_events_and_a_scope_its_types(live: LiveDoor) -> None:
    user = live.door.token("user", subject="ada@example.com")
    scoped = live.door.token("auditor", scopes=["logs:read:resource_type=invoice"])
    async with live.watch(user, after=-1) as own, live.watch(scoped, after=-1) as invoices:
        await first(own)
        await first(invoices)
        await append(live, user_id="ada@example.com", resource_type="note")
        await append(live, user_id="bob", resource_type="invoice")
        await append(live, user_id="bob", resource_type="note")
        await append(live, user_id="ada@example.com", resource_type="invoice")
        assert [each["seq"] for each in await items(own, 2)] == [0, 3]
        assert [each["seq"] for each in await items(invoices, 2)] == [1, 3]


async def test_another_tenants_events_are_never_sent(live: LiveDoor) -> None:
    await live.door.make_tenant("globex")
    async with live.watch(live.door.token("admin", "globex")) as theirs, live.watch(live.door.token()) as ours:
        await first(theirs)
        await first(ours)
        await append(live, 3)
        globex = live.door.bearer("admin", "globex")
        assert (await post(live.door, event(tenant_id="globex"), token=globex)).status_code == 201
        assert [each["tenant_id"] for each in await items(theirs, 1)] == ["globex"]
        assert [each["tenant_id"] for each in await items(ours, 3)] == ["acme"] * 3
    with pytest.raises(InvalidStatus) as refused:
        await live.watch(live.door.token(), params={"tenant_id": "globex"})
    assert refused.value.response.status_code == 403


async def test_what_was_removed_is_told_to_whom_it_is_all_visible(live: LiveDoor, owner: Connection) -> None:
    log_id = await log_of(owner)
    await fill_log(owner, log_id, 10, user_id="ada@example.com")
    await remove(owner, log_id, 2, 4)
    async with live.watch(live.door.token(), after=0) as stream:
        await first(stream)
        frame = await receive(stream)
        removed = [{"first_seq": 2, "last_seq": 4, "reason": "retention"}]
        assert frame == {"type": "removed", "removed": removed, "seq": 0}
        assert [each["seq"] for each in await items(stream, 6)] == [1, 5, 6, 7, 8, 9]
    user = live.door.token("user", subject="ada@example.com")
    async with live.watch(user, after=0) as stream:
        await first(stream)
        assert (await receive(stream))["type"] == "events"


async def test_the_seq_moves_on_over_what_a_filter_skips(live: LiveDoor) -> None:
    async with live.watch(live.door.token(), params={"action": "never"}) as stream:
        await first(stream)
        await append(live, 4)
        async with asyncio.timeout(DEADLINE):
            await until_watched(live, 3)
        live.server.should_exit = True
        assert await ended(stream) == (1012, "3")


async def until_watched(live: LiveDoor, seq: int) -> None:
    """Until everything up to a seq was read and judged: a stream with no filter tells."""
    async with live.watch(live.door.token(), after=seq - 1) as other:
        await first(other)
        await items(other, 1)


async def test_a_server_that_stops_tells_where_to_go_on(live: LiveDoor) -> None:
    async with live.watch(live.door.token()) as stream:
        await first(stream)
        await append(live, 2)
        await items(stream, 2)
        live.server.should_exit = True
        assert await ended(stream) == (1012, "1")


async def test_a_message_after_the_first_ends_a_stream(live: LiveDoor) -> None:
    async with live.watch(live.door.token()) as stream:
        await stream.send("hello")
        assert (await ended(stream))[0] == 4400


async def test_a_message_that_is_too_long_is_not_taken(live: LiveDoor) -> None:
    async with live.watch() as stream:
        await stream.send("x" * 20_000)
        assert (await ended(stream))[0] == 1009


@pytest.mark.slow
async def test_a_quiet_stream_beats(live: LiveDoor) -> None:
    async with live.watch(live.door.token(), params={"action": "never"}) as stream:
        await first(stream)
        begun = asyncio.get_running_loop().time()
        await append(live, 3)
        assert await receive(stream) == {"type": "heartbeat", "seq": 2}
        assert 14.5 < asyncio.get_running_loop().time() - begun < 18


async def test_it_is_counted(live: LiveDoor) -> None:
    async with live.watch(live.door.token()) as stream, live.watch(live.door.token()) as other:
        await first(stream)
        await first(other)
        await append(live, 1)
        await items(stream, 1)
        await items(other, 1)
        metrics = (await live.door.client.get("/metrics")).text
        assert "tallystick_streams_open 2.0" in metrics
        assert "tallystick_stream_frames_total 2.0" in metrics
        assert "tallystick_stream_events_total 2.0" in metrics
        assert "tallystick_stream_delay_seconds_count 1.0" in metrics
        await stream.send("x")
        await ended(stream)
    async with asyncio.timeout(DEADLINE):
        while 'closed_total{code="left"} 1.0' not in metrics:
            metrics = (await live.door.client.get("/metrics")).text
    assert 'tallystick_streams_closed_total{code="4400"} 1.0' in metrics
    assert "tallystick_streams_open 0.0" in metrics


async def test_a_client_that_comes_from_a_process_that_was_ahead_misses_nothing(
    live: LiveDoor, owner: Connection
) -> None:
    log_id = await log_of(owner)
    async with live.watch(live.door.token()) as other:
        await first(other)
        await fill_log(owner, log_id, 10)  # behind this process's back, which learns of it a moment later
        async with live.watch(live.door.token(), after=9) as stream:
            assert await first(stream) == 9
            (event_id,) = await append(live)
            assert [each["id"] for each in await items(stream, 1)] == [event_id]
        assert [each["seq"] for each in await items(other, 11)] == list(range(11))
