"""How streams end, and which never begin: tokens, tenants, limits, and clients that read too slowly."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncGenerator
from typing import Any
from urllib.parse import urlsplit

import jwt
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import InvalidStatus

from appending import post
from conftest import Connection
from doors import LiveDoor, live_door
from factories import event
from stored_events import fill_log
from streams import DEADLINE, append, ended, first, items, log_of, receive
from tallystick.auth.service import identify, revoke_token
from tallystick.runtime.websocket import StreamingProtocol
from tallystick.settings import Settings

FAST = 1.0
"""Seconds in which a slow client is cut off here."""


def changed(settings: Settings, **api: Any) -> Settings:
    return settings.model_copy(update={"api": settings.api.model_copy(update=api)})


async def refused(live: LiveDoor, token: str | None, **options: Any) -> tuple[int, dict[str, Any]]:
    """The answer to a request that is not upgraded."""
    with pytest.raises(InvalidStatus) as caught:
        await live.watch(token, **options)
    response = caught.value.response
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["x-request-id"]
    return response.status_code, json.loads(response.body or b"")


async def authenticate(stream: ClientConnection, token: str) -> None:
    await stream.send(json.dumps({"type": "authenticate", "token": token}))


@pytest.mark.parametrize(
    ("params", "parameter"),
    [
        ({"q": "("}, "q"),
        ({"severity": "LOUD"}, "severity"),
        ({"after_seq": "-2"}, "after_seq"),
        ({"after_seq": "0"}, "after_seq"),
        ({"limit": "5"}, "limit"),
        ({"token": "x"}, "token"),
        ({"access_token": "x"}, "access_token"),
        ({"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, "to"),
    ],
)
async def test_a_bad_question_is_refused_before_or_after_the_upgrade(
    live: LiveDoor, params: dict[str, str], parameter: str
) -> None:
    token = live.door.token()
    status, problem = await refused(live, token, params=params)
    assert status == 422
    assert [flaw["parameter"] for flaw in problem["errors"]] == [parameter]
    async with live.watch(params=params) as stream:
        await authenticate(stream, token)
        code, reason = await ended(stream)
        assert code == 4400
        assert reason.startswith(f"{parameter}: ")


async def test_without_a_valid_token_nothing_begins(live: LiveDoor) -> None:
    forged = live.door.token()[:-8] + "AAAAAAAA"
    assert (await refused(live, forged))[0] == 401
    assert (await refused(live, None, subprotocols=["tallystick.v1", f"bearer.{forged}"]))[0] == 401
    assert (await refused(live, live.door.token(), subprotocols=[f"bearer.{forged}"]))[0] == 400
    async with live.watch() as stream:
        await authenticate(stream, forged)
        assert (await ended(stream))[0] == 4401


@pytest.mark.parametrize(
    "message",
    [
        "",
        "null",
        "[]",
        "{}",
        '{"type":"authenticate"}',
        '{"type":"authenticate","token":1}',
        '{"type":"x","token":"y"}',
    ],
)
async def test_a_first_message_of_another_form_is_refused(live: LiveDoor, message: str) -> None:
    async with live.watch() as stream:
        await stream.send(message)
        assert (await ended(stream))[0] == 4400
    async with live.watch() as stream:
        await stream.send(message.encode())
        assert (await ended(stream))[0] == 4400


async def test_a_client_that_never_authenticates_is_closed(live: LiveDoor) -> None:
    async with live.watch() as stream:
        code, reason = await ended(stream)
    assert code == 4401
    assert "within 5 seconds" in reason


async def test_a_client_that_leaves_before_it_authenticates_makes_room(settings: Settings) -> None:
    async with live_door(changed(settings, max_streams=1)) as live:
        async with live.watch() as waiting:
            assert (await refused(live, None))[0] == 503
            await waiting.close()
        async with live.watch() as stream:
            await authenticate(stream, live.door.token())
            assert await first(stream) == -1


async def test_another_tenant_is_refused(live: LiveDoor) -> None:
    await live.door.make_tenant("globex")
    token = live.door.token("auditor")
    assert (await refused(live, token, params={"tenant_id": "globex"}))[0] == 403
    assert (await refused(live, token, params={"tenant_id": "nobody"}))[0] == 403
    async with live.watch(params={"tenant_id": "globex"}) as stream:
        await authenticate(stream, token)
        assert (await ended(stream))[0] == 4403
    platform = live.door.token("admin", platform=True)
    assert (await refused(live, platform, params={"tenant_id": "nobody"}))[0] == 404


async def test_a_stream_ends_when_its_token_expires(live: LiveDoor) -> None:
    token = live.door.token(ttl=2)
    expires_at: int = jwt.decode(token, options={"verify_signature": False})["exp"]
    async with live.watch(token) as stream:
        await first(stream)
        code, reason = await ended(stream)
        now = time.time()
    assert code == 4401
    assert "expired" in reason
    assert now >= expires_at


async def test_a_suspended_tenant_ends_its_streams_and_no_others(live: LiveDoor) -> None:
    await live.door.make_tenant("globex")
    platform = live.door.token("admin", platform=True)
    async with (
        live.watch(live.door.token()) as ours,
        live.watch(platform, params={"tenant_id": "acme"}) as admins,
        live.watch(live.door.token("admin", "globex")) as others,
    ):
        for stream in (ours, admins, others):
            await first(stream)
        answer = await live.door.client.patch(
            "/api/v1/tenants/acme", json={"suspended": True}, headers={"authorization": f"Bearer {platform}"}
        )
        assert answer.status_code == 200, answer.text
        assert (await ended(ours))[0] == 4403
        assert (await ended(admins))[0] == 4403
        globex = live.door.bearer("admin", "globex")
        assert (await post(live.door, event(tenant_id="globex"), token=globex)).status_code == 201
        await items(others, 1)
    assert (await refused(live, live.door.token()))[0] == 403


async def test_a_revoked_token_ends_its_streams_and_no_others(live: LiveDoor) -> None:
    revoked, kept = live.door.token(), live.door.token()
    async with live.watch(revoked) as ours, live.watch(kept) as others:
        await first(ours)
        await first(others)
        _, token_id, _ = identify(revoked)
        await revoke_token(live.door.services.database, live.door.services.settings.auth, token_id)
        assert (await ended(ours))[0] == 4401
        await append(live)
        await items(others, 1)


async def test_a_principal_has_so_many_streams_and_a_process_too(settings: Settings) -> None:
    async with live_door(changed(settings, max_streams=3, max_streams_per_principal=2)) as live:
        ada, bob = (live.door.token(subject=name) for name in ("ada", "bob"))
        async with live.watch(ada) as one, live.watch(ada):
            status, problem = await refused(live, ada)
            assert status == 429
            assert "close one" in problem["detail"]
            async with live.watch() as stream:
                await authenticate(stream, ada)
                assert (await ended(stream))[0] == 4429
            async with live.watch(bob):
                assert (await refused(live, live.door.token(subject="eve")))[0] == 503
                async with live.watch() as stream:
                    await authenticate(stream, bob)
                    assert (await ended(stream))[0] == 1013
            await one.close()
            async with live.watch(ada) as again:
                assert await first(again) == -1


def stuck(live: LiveDoor, token: str, query: str = "") -> socket.socket:
    """A client that takes next to nothing, and reads nothing."""
    place = urlsplit(live.url)
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024)
    connection.connect((place.hostname, place.port))
    lines = [
        f"GET /api/v1/logs/stream{query} HTTP/1.1",
        f"host: {place.netloc}",
        "connection: Upgrade",
        "upgrade: websocket",
        "sec-websocket-version: 13",
        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
        f"authorization: Bearer {token}",
    ]
    connection.sendall("\r\n".join([*lines, "", ""]).encode())
    return connection


def frames_of(data: bytes) -> list[tuple[int, bytes]]:
    """Opcode and payload of each frame that came whole, behind the head of the answer."""
    data = data.partition(b"\r\n\r\n")[2]
    found: list[tuple[int, bytes]] = []
    while len(data) >= 2:
        size, begin = data[1], 2
        if size == 126:
            size, begin = int.from_bytes(data[2:4], "big"), 4
        elif size == 127:
            size, begin = int.from_bytes(data[2:10], "big"), 10
        if len(data) < begin + size:
            break
        found.append((data[0] & 15, data[begin : begin + size]))
        data = data[begin + size :]
    return found


def read_to_the_end(connection: socket.socket) -> bytes:
    connection.settimeout(DEADLINE)
    received = bytearray()
    try:
        while part := connection.recv(1 << 20):
            received += part
    except ConnectionResetError:
        pass
    return bytes(received)


@pytest.mark.parametrize("why", ["buffer", "patience"])
async def test_who_reads_too_slowly_is_told_where_to_go_on(settings: Settings, owner: Connection, why: str) -> None:
    limits = {"stream_buffer": 64 * 1024} if why == "buffer" else {"read_timeout": FAST}
    async with live_door(changed(settings, **limits)) as live:
        token = live.door.token()
        log_id = await log_of(owner)
        with stuck(live, token) as connection:
            async with live.watch(token, max_size=None) as quick:
                await first(quick)
                for _ in range(20):
                    await fill_log(owner, log_id, 100, message="x" * 3_000)
                # Who reads is not held up by who does not.
                assert [each["seq"] for each in await items(quick, 2_000)] == list(range(2_000))
                if why == "patience":
                    await asyncio.sleep(2 * FAST)
            *frames, (opcode, payload) = frames_of(await asyncio.to_thread(read_to_the_end, connection))
        assert (opcode, int.from_bytes(payload[:2], "big")) == (8, 4408)
        received = [json.loads(payload) for opcode, payload in frames if opcode == 1]
        through = int(payload[2:])
        assert through == received[-1]["seq"] < 1_999
        found = [each["seq"] for frame in received for each in frame.get("items", ())]
        async with live.watch(token, after=through, max_size=None) as stream:
            await first(stream)
            found += [each["seq"] for each in await items(stream, 1_999 - through)]
        assert found == list(range(2_000))


async def test_pings_of_who_reads_nothing_are_not_answered_for_ever(live: LiveDoor) -> None:
    with stuck(live, live.door.token()) as connection:
        (protocol,) = await connections_of(live)
        connection.settimeout(0)
        masked = bytes([0x89, 0x80 | 125, 0, 0, 0, 0]) + bytes(125)
        sent = 0
        async with asyncio.timeout(2 * DEADLINE):
            while sent < 8 * 1024 * 1024:
                try:
                    sent += connection.send(masked * 500)
                except BlockingIOError:
                    await asyncio.sleep(0)
                assert protocol.buffered < 256 * 1024


async def connections_of(live: LiveDoor) -> list[StreamingProtocol]:
    """The open streams, once there is one."""
    async with asyncio.timeout(DEADLINE):
        while True:
            found = [each for each in live.server.server_state.connections if isinstance(each, StreamingProtocol)]
            if found:
                return found
            await asyncio.sleep(0.01)


async def test_a_message_in_very_many_parts_is_refused(live: LiveDoor) -> None:
    async with live.watch() as stream:

        async def parts() -> AsyncGenerator[str]:
            for _ in range(100):
                yield ""

        await stream.send(parts())
        assert (await ended(stream))[0] == 1009


async def test_who_has_not_said_who_they_are_when_the_server_stops_comes_again(live: LiveDoor) -> None:
    async with live.watch() as stream:
        await connections_of(live)
        live.server.should_exit = True
        assert await ended(stream) == (1013, "the server stops")


async def test_a_replay_that_is_not_read_is_cut_off(settings: Settings, owner: Connection) -> None:
    async with live_door(changed(settings, read_timeout=FAST)) as live:
        await fill_log(owner, await log_of(owner), 3_000, message="x" * 3_000)
        with stuck(live, live.door.token(), "?after_seq=-1") as connection:
            await asyncio.sleep(2 * FAST)
            *frames, (opcode, payload) = frames_of(await asyncio.to_thread(read_to_the_end, connection))
        assert (opcode, int.from_bytes(payload[:2], "big")) == (8, 4408)
        assert int(payload[2:]) == json.loads(frames[-1][1])["seq"]


async def test_streams_go_on_after_an_outage(live: LiveDoor, owner: Connection, superuser: Connection) -> None:
    name = await owner.fetchval("select current_database()")
    async with live.watch(live.door.token()) as stream:
        await first(stream)
        await append(live)
        await items(stream, 1)
        await superuser.execute(f'alter database "{name}" allow_connections false')
        await superuser.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1 and usename <> $2",
            name,
            "tallystick_owner",
        )
        assert (await post(live.door, event())).status_code == 503
        await superuser.execute(f'alter database "{name}" allow_connections true')
        async with asyncio.timeout(DEADLINE):
            while (await post(live.door, event())).status_code != 201:  # noqa: ASYNC110  # no signal
                await asyncio.sleep(0.05)
        assert (await items(stream, 1))[0]["seq"] == 1
        assert (await receive(stream))["type"] == "heartbeat"
