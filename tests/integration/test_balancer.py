"""HAProxy as it is shipped: what it lets in, what it says of a request, and what it does when a server is gone."""

import asyncio
import json
import socket
import ssl
import warnings
from collections.abc import AsyncGenerator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from aiohttp import web
from websockets.asyncio.client import connect

from appending import created
from balancers import DEADLINE, Backend, Edge, backend, haproxy
from doors import LiveDoor, live_door
from factories import event
from picture.balancer import states_of
from tallystick.settings import ApiSettings, DatabaseSettings, Settings

CLIENT, FORGED = "127.0.0.2", "6.6.6.6"
AMAZON = "1-67891233-abcdef012345678912345678"
TWENTY_MEBIBYTES = 20 * 1024 * 1024


@pytest_asyncio.fixture
async def live(database_settings: DatabaseSettings, tmp_path: Path) -> AsyncGenerator[LiveDoor]:
    """The API as it stands behind a balancer on its own machine."""
    api = ApiSettings.model_validate({"trusted_proxies": ["127.0.0.1"], "hsts": 600})
    async with live_door(Settings(home=tmp_path, database=database_settings, api=api)) as opened:
        yield opened


@pytest_asyncio.fixture
async def edge(live: LiveDoor) -> AsyncGenerator[Edge]:
    address = live.url.removeprefix("http://")
    async with haproxy(address, address) as opened:
        yield opened


@pytest_asyncio.fixture
async def pair() -> AsyncGenerator[tuple[Backend, Backend]]:
    async with backend() as first, backend() as second:
        yield first, second


def problem(answer: httpx.Response, status: int) -> dict[str, object]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-request-id"]
    told = answer.json()
    assert told["status"] == status
    return told


async def test_the_api_records_who_came_whatever_they_say_of_themselves(live: LiveDoor, edge: Edge) -> None:
    headers = {
        **live.door.bearer("admin"),
        "x-forwarded-for": FORGED,
        "x-real-ip": FORGED,
        "forwarded": f"for={FORGED}",
        "x-request-id": "asked-by-the-client",
    }
    async with edge.client(CLIENT) as client:
        stored = created(await client.post("/api/v1/logs", json=event(), headers=headers))
        assert (await client.get(f"/api/v1/logs/{stored['id']}", headers=headers)).status_code == 200
        listed = await client.get("/api/v1/access-logs", headers=headers)
    assert listed.headers["x-request-id"] == "asked-by-the-client"
    assert listed.headers["strict-transport-security"] == "max-age=600", "as its settings say"
    recorded = [each for each in listed.json()["items"] if each["action"] == "logs.read"]
    assert [each["ip_address"] for each in recorded] == [CLIENT]
    assert [each["request_id"] for each in recorded] == ["asked-by-the-client"]


async def test_a_stream_goes_through(live: LiveDoor, edge: Edge) -> None:
    headers = live.door.bearer("admin")
    url = edge.balancer.url.replace("https", "wss") + "/api/v1/logs/stream"
    async with (
        asyncio.timeout(DEADLINE),
        edge.client() as client,
        connect(url, ssl=edge.trust, additional_headers=headers, compression=None) as stream,
    ):
        assert json.loads(await stream.recv())["type"] == "heartbeat"
        stored = created(await client.post("/api/v1/logs", json=event(), headers=headers))
        assert [each["id"] for each in json.loads(await stream.recv())["items"]] == [stored["id"]]


@pytest.mark.parametrize("path", ["/metrics", "/%6detrics", "/metri%63s?a=b", "/metrics%0a"])
async def test_metrics_stay_inside(live: LiveDoor, edge: Edge, path: str) -> None:
    async with httpx.AsyncClient(base_url=live.url) as inside, edge.client() as client:
        assert (await inside.get(path)).status_code == 200, "it is the balancer that refuses it"
        problem(await client.get(path), 404)


async def test_the_refusal_of_a_body_that_is_too_large_reaches_its_client(live: LiveDoor, edge: Edge) -> None:
    body, headers = bytes(TWENTY_MEBIBYTES), live.door.bearer("admin")
    async with edge.client() as client:
        answers = [await client.post("/api/v1/logs/bulk", content=body, headers=headers) for _ in range(3)]
    assert {problem(each, 413)["type"] for each in answers} == {"/problems/too-large"}


async def test_plain_http_is_sent_to_tls(edge: Edge) -> None:
    async with httpx.AsyncClient(base_url=edge.balancer.http_url) as client:
        answer = await client.get("/api/v1/logs?limit=1")
    assert (answer.status_code, answer.headers["location"]) == (308, f"{edge.balancer.url}/api/v1/logs?limit=1")


def handshake(edge: Edge, version: ssl.TLSVersion, ciphers: str) -> str | None:
    """Greet as an old client does: the version that both agree on, or the reason of an alert."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that nobody should is the point
        context.minimum_version = context.maximum_version = version
    host, _, port = edge.balancer.url.removeprefix("https://").partition(":")
    try:
        with socket.create_connection((host, int(port)), DEADLINE) as raw, context.wrap_socket(raw) as tls:
            return tls.version()
    except ssl.SSLError as error:
        return error.reason


async def test_old_tls_is_refused(edge: Edge) -> None:
    async def greet(version: ssl.TLSVersion, ciphers: str = "ALL") -> str | None:
        return await asyncio.to_thread(handshake, edge, version, ciphers)

    assert await greet(ssl.TLSVersion.TLSv1_3) == "TLSv1.3"
    assert await greet(ssl.TLSVersion.TLSv1_2) == "TLSv1.2"
    assert await greet(ssl.TLSVersion.TLSv1_1) == "TLSV1_ALERT_PROTOCOL_VERSION"
    assert await greet(ssl.TLSVersion.TLSv1_2, "ECDHE+AES+SHA1") == "SSLV3_ALERT_HANDSHAKE_FAILURE", "no AEAD"


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ({"x-request-id": "mine"}, "mine"),
        ({"x-request-id": "two words"}, None),
        (
            {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
            "4bf92f3577b34da6a3ce929d0e0e4736",  # pragma: allowlist secret
        ),
        ({"x-amzn-trace-id": "Self=1-2-3;Root=1-67891233-abcdef012345678912345678;Sampled=1"}, AMAZON),
        ({"x-amzn-trace-id": "Root=1-67891233"}, None),
        ({}, None),
    ],
)
async def test_each_request_has_one_id(
    pair: tuple[Backend, Backend], sent: dict[str, str], expected: str | None
) -> None:
    async with haproxy(*(each.address for each in pair)) as edge, edge.client() as client:
        told = (await client.get("/", headers=sent)).json()["headers"]
        found = [value for name, value in told if name == "x-request-id"]
        assert len(found) == 1
        assert found[0] == expected if expected else len(found[0]) == 36, "a UUID"


async def test_a_balancer_before_it_is_believed_and_nobody_else(pair: tuple[Backend, Backend]) -> None:
    async with haproxy(*(each.address for each in pair), TALLYSTICK_EDGE_PROXIES="10.0.0.0/8 127.0.0.3") as edge:
        told: list[list[str]] = []
        for address in ("127.0.0.3", CLIENT):
            async with edge.client(address) as client:
                answer = await client.get("/", headers={"x-forwarded-for": FORGED})
            told.append([value for name, value in answer.json()["headers"] if name == "x-forwarded-for"])
    assert told == [[f"{FORGED}, 127.0.0.3"], [CLIENT]]


async def test_a_flood_of_one_token_or_address_ends_at_the_edge(pair: tuple[Backend, Backend]) -> None:
    async with haproxy(*(each.address for each in pair), TALLYSTICK_EDGE_RATE="20") as edge, edge.client() as client:
        for headers in ({"authorization": "Bearer of-one"}, {}):
            answers = [await client.get("/", headers=headers) for _ in range(21)]
            assert [each.status_code for each in answers[:20]] == [200] * 20
            assert answers[20].headers["retry-after"] == "10"
            assert problem(answers[20], 429)["type"] == "/problems/rate-limited"
        assert (await client.get("/", headers={"authorization": "Bearer of-another"})).status_code == 200


async def test_nobody_takes_all_connections(pair: tuple[Backend, Backend]) -> None:
    async with haproxy(*(each.address for each in pair), TALLYSTICK_EDGE_CONNECTIONS="3") as edge:
        host, _, port = edge.balancer.url.removeprefix("https://").partition(":")
        silent = [await asyncio.open_connection(host, int(port)) for _ in range(3)]  # not even a greeting
        async with edge.client() as client:
            with pytest.raises(httpx.TransportError):
                await client.get("/")
        async with edge.client(CLIENT) as client:
            assert (await client.get("/")).status_code == 200, "others are let through"
        for _, writer in silent:
            writer.close()


async def test_connections_of_a_balancer_before_it_are_not_counted(pair: tuple[Backend, Backend]) -> None:
    servers = [each.address for each in pair]
    async with (
        haproxy(*servers, TALLYSTICK_EDGE_CONNECTIONS="1", TALLYSTICK_EDGE_PROXIES="127.0.0.1") as edge,
        edge.client() as first,
        edge.client() as second,
    ):
        assert [(await each.get("/")).status_code for each in (first, second)] == [200, 200]


async def test_a_token_is_the_same_however_it_is_sent(pair: tuple[Backend, Backend]) -> None:
    sent = ["Bearer of-one", "bearer of-one", "Bearer   of-one", "Bearer \tof-one"]
    async with haproxy(*(each.address for each in pair), TALLYSTICK_EDGE_RATE="3") as edge, edge.client() as client:
        answers = [await client.get("/", headers={"authorization": value}) for value in sent]
        assert [each.status_code for each in answers] == [200, 200, 200, 429]
        assert (await client.get("/", headers={"authorization": "of-another"})).status_code == 200


async def test_who_guesses_tokens_is_stopped(pair: tuple[Backend, Backend]) -> None:
    async def refuse(_: web.Request) -> web.StreamResponse:
        return web.Response(status=401)

    for each in pair:
        each.handle = refuse
    async with haproxy(*(each.address for each in pair), TALLYSTICK_EDGE_FAULTS="20") as edge:
        async with edge.client() as client:
            answers = [await client.get("/", headers={"authorization": f"Bearer {guess}"}) for guess in range(22)]
        assert [each.status_code for each in answers] == [401] * 21 + [429]
        async with edge.client(CLIENT) as client:
            assert (await client.get("/")).status_code == 401, "others are let through"


async def test_addresses_of_one_network_of_ipv6_count_together(pair: tuple[Backend, Backend]) -> None:
    servers = [each.address for each in pair]
    async with (
        haproxy(*servers, TALLYSTICK_EDGE_RATE="5", TALLYSTICK_EDGE_PROXIES="127.0.0.1") as edge,
        edge.client() as client,
    ):

        async def ask(address: str) -> int:
            return (await client.get("/", headers={"x-forwarded-for": address})).status_code

        assert [await ask(f"2001:db8::{number}:9") for number in range(6)] == [200] * 5 + [429]
        assert await ask("2001:db8:0:1::9") == 200, "another network is another client"
        assert [await ask(f"203.0.113.{number}") for number in range(6)] == [200] * 6, "of IPv4 each address counts"


async def test_what_a_server_may_have_got_is_sent_to_no_other(pair: tuple[Backend, Backend]) -> None:
    first, second = pair

    async def die(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    first.handle = die
    answers: dict[str, httpx.Response] = {}
    async with haproxy(first.address, second.address) as edge:
        for path in map("/{}".format, range(10)):
            async with edge.client() as client:  # on a connection that was used before, it is cut off without a word
                answers[path] = await client.post(path, json={})
    assert sorted(first.asked + second.asked) == sorted(answers), "each came once"
    assert first.asked
    for path in first.asked:
        assert answers[path].headers["retry-after"]
        assert "same key" in str(problem(answers[path], 502)["detail"])
    assert {answers[path].status_code for path in second.asked} == {200}


async def test_what_no_server_got_is_sent_to_another(pair: tuple[Backend, Backend]) -> None:
    first, second = pair
    async with haproxy(first.address, second.address) as edge, edge.client() as client:
        await first.stop()
        answers = await asyncio.gather(*(client.post(f"/{number}", json={}) for number in range(10)))
    assert {each.status_code for each in answers} == {200}


async def test_a_server_that_drains_ends_what_it_has_and_gets_no_more(pair: tuple[Backend, Backend]) -> None:
    first, second = pair
    entered, let_go = asyncio.Event(), asyncio.Event()

    async def wait(_: web.Request) -> web.StreamResponse:
        entered.set()
        await let_go.wait()
        return web.Response(text="ended")

    async with asyncio.timeout(DEADLINE), haproxy(first.address, second.address) as edge, edge.client() as client:
        second.ready = False
        await until(edge, "api-2", "DOWN")
        first.handle = wait
        slow = asyncio.create_task(client.get("/slow"))
        await entered.wait()
        second.ready = True
        await until(edge, "api-2", "UP")
        first.ready = False
        await until(edge, "api-1", "DOWN")
        answers = [await client.get(f"/{number}") for number in range(10)]
        assert {each.json()["by"] for each in answers} == {second.address}
        let_go.set()
        assert (await slow).text == "ended"


async def until(edge: Edge, server: str, state: str) -> None:
    while (await states_of(edge.balancer.admin_socket))[server] != state:  # noqa: ASYNC110 - HAProxy sends no signal
        await asyncio.sleep(0.02)


async def test_without_any_server_it_says_when_to_come_back(pair: tuple[Backend, Backend]) -> None:
    for each in pair:
        each.ready = False
    async with (
        asyncio.timeout(DEADLINE),
        haproxy(*(each.address for each in pair), wait=False) as edge,
        edge.client() as client,
    ):
        for server in ("api-1", "api-2"):
            await until(edge, server, "DOWN")
        answer = await client.get("/", headers={"x-request-id": 'a"quote'})
    assert answer.headers["retry-after"] == "2"
    assert problem(answer, 503)["instance"] == "urn:tallystick:request:a%22quote"
