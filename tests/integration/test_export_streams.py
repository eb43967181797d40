"""Exports over a socket: what becomes of one whose client is slow or gone, or whose database is."""

import asyncio
import json
import socket
from collections.abc import Generator
from contextlib import suppress
from urllib.parse import urlsplit

import httpx
import pytest

from conftest import Connection
from doors import Door, open_live_door
from factories import event
from tallystick.settings import Settings

EVENTS = 10_000
EXPORT = "/api/v1/logs/export"
DEADLINE = 30.0


@pytest.fixture
def live(settings: Settings) -> Generator[tuple[str, Door]]:
    """A server that sends one export at a time, and breaks it off when nothing is read for a second."""
    api = settings.api.model_copy(update={"max_exports": 1, "read_timeout": 1.0})
    with open_live_door(settings.model_copy(update={"api": api})) as opened:
        url, door = opened
        headers = door.bearer("admin", "fuzz")
        with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
            for start in range(0, EVENTS, 5_000):
                part = [event(tenant_id="fuzz", metadata={"n": start + n, "text": "x" * 2_000}) for n in range(5_000)]
                assert client.post("/api/v1/logs/bulk", json=part).status_code == 201
        yield opened


def begin(url: str, token: dict[str, str]) -> socket.socket:
    """Ask for an export over a connection that holds little, and read nothing."""
    place = urlsplit(url)
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
    connection.connect((place.hostname, place.port))
    lines = [
        f"GET {EXPORT}?tenant_id=fuzz HTTP/1.1",
        f"host: {place.netloc}",
        f"authorization: {token['authorization']}",
    ]
    connection.sendall(("\r\n".join([*lines, "", ""])).encode())
    return connection


async def until_another_is_let_in(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(DEADLINE):
        while (await client.get(EXPORT, params={"through_seq": 0})).status_code != 200:  # noqa: ASYNC110  # no signal
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("leaves", [True, False])
async def test_who_reads_nothing_or_leaves_makes_room(live: tuple[str, Door], leaves: bool) -> None:
    url, door = live
    token = door.bearer("admin", "fuzz")
    with begin(url, token) as connection:
        assert await asyncio.to_thread(connection.recv, 9, socket.MSG_PEEK) == b"HTTP/1.1 "
        async with httpx.AsyncClient(base_url=url, headers=token, timeout=60) as client:
            assert (await client.get(EXPORT)).status_code == 503
            if leaves:
                connection.close()
            await until_another_is_let_in(client)
        if not leaves:
            received = await asyncio.to_thread(read_to_the_end, connection)
            assert 0 < received.count(b'"seq":') < EVENTS
            assert not received.endswith(b"0\r\n\r\n")  # the last chunk of a whole answer


def read_to_the_end(connection: socket.socket) -> bytes:
    """What was sent before the connection was cut off."""
    connection.settimeout(DEADLINE)
    received = bytearray()
    with suppress(ConnectionResetError):
        while part := connection.recv(1 << 20):
            received += part
    return bytes(received)


async def test_a_slow_client_gets_all_of_it(live: tuple[str, Door]) -> None:
    url, door = live
    received = bytearray()
    async with (
        httpx.AsyncClient(base_url=url, headers=door.bearer("admin", "fuzz"), timeout=60) as client,
        client.stream("GET", EXPORT, headers={"accept-encoding": "identity"}) as answer,
    ):
        async for part in answer.aiter_raw():
            received += part
            await asyncio.sleep(0)
    assert [json.loads(line)["metadata"]["n"] for line in received.splitlines()] == list(range(EVENTS))


@pytest.mark.parametrize("selection", [{}, {"severity": "INFO"}])
async def test_a_database_that_goes_breaks_it_off_and_it_is_gone_on_with(
    live: tuple[str, Door],
    owner: Connection,
    superuser: Connection,
    selection: dict[str, str],
) -> None:
    url, door = live
    name = await owner.fetchval("select current_database()")
    received = bytearray()
    heads: list[httpx.Headers] = []

    async def read(client: httpx.AsyncClient) -> None:
        """Read on until it breaks off; once it began, the database is taken away."""
        asked = client.stream("GET", EXPORT, params=selection, headers={"accept-encoding": "identity"})
        async with asked as answer:
            heads.append(answer.headers)
            async for part in answer.aiter_raw():
                if not received:
                    await superuser.execute(f'alter database "{name}" allow_connections false')
                    await superuser.execute(
                        "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1", name
                    )
                received.extend(part)

    async with httpx.AsyncClient(base_url=url, headers=door.bearer("admin", "fuzz"), timeout=60) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await read(client)
        await superuser.execute(f'alter database "{name}" allow_connections true')
        whole = received[: received.rindex(b"\n")].splitlines()
        assert 0 < len(whole) < EVENTS
        await until_another_is_let_in(client)
        last = json.loads(whole[-1])["id"]
        rest = await client.get(
            EXPORT, params={"after_id": last, "through_seq": heads[0]["tallystick-through-seq"], **selection}
        )
    seqs = [json.loads(line)["seq"] for line in (*whole, *rest.content.splitlines())]
    assert seqs == list(range(EVENTS))
