"""The API from outside: what a hostile client puts into bytes, headers and paths, over a real connection."""

import asyncio
import gzip
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from urllib.parse import urlsplit

import httpx
import pytest
import pytest_asyncio
import zstandard
from websockets.asyncio.client import connect
from websockets.typing import Origin

from doors import LiveDoor, live_door
from factories import event
from tallystick.runtime.heads import HeadBoundProtocol
from tallystick.settings import ApiSettings, Settings

LOGS = "/api/v1/logs"
DEADLINE = 20.0


@pytest_asyncio.fixture
async def client(live: LiveDoor) -> AsyncGenerator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=live.url, headers=live.door.bearer(), timeout=DEADLINE) as opened:
        yield opened


async def spoken(url: str, sent: bytes) -> bytes:
    """Everything that is answered to some bytes, until the server closes."""
    server = urlsplit(url)
    reader, writer = await asyncio.open_connection(server.hostname, server.port)
    try:
        writer.write(sent)
        await writer.drain()
        async with asyncio.timeout(DEADLINE):
            return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


def head(path: str, token: Mapping[str, str], *lines: str, method: str = "GET") -> bytes:
    told = (f"{method} {path} HTTP/1.1", "host: x", f"authorization: {token['authorization']}", *lines)
    return ("\r\n".join(told) + "\r\n").encode()


async def stored(client: httpx.AsyncClient) -> int:
    return len((await client.get(LOGS, params={"limit": "1000"})).json()["items"])


# Bodies


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (gzip.compress(bytes(64 << 20)), {"content-encoding": "gzip"}, 413),
        (zstandard.compress(bytes(64 << 20)), {"content-encoding": "zstd"}, 413),
        (gzip.compress(gzip.compress(bytes(1 << 20))), {"content-encoding": "gzip, gzip"}, 415),
        (gzip.compress(gzip.compress(b"{}")), {"content-encoding": "gzip"}, 422),
        (b"[" * 200_000, {}, 422),
        (b'{"a":' * 40_000, {}, 422),
        (json.dumps(event(metadata={"n": 1})).replace("1}", "1" + "0" * 5_000 + "}").encode(), {}, 422),
        (json.dumps(event(metadata={"n": 1})).replace("1}", "1e9999}").encode(), {}, 422),
        (json.dumps(event(metadata={"k" * 10_000: 1})).encode(), {}, 422),
        (json.dumps(event(action="a" * 200_000)).encode(), {}, 422),
        (json.dumps(event(metadata={"x": "x" * 300_000})).encode(), {}, 413),
        (b"\xff\xfe{}", {}, 422),
        (b'{"action":"a","action":"b","resource_type":"c"}', {}, 422),
    ],
    ids=(
        *("gzip bomb", "zstd bomb", "two encodings", "nested", "deep arrays", "deep objects", "huge integer"),
        *("infinite number", "long key", "long text", "large event", "other charset", "repeated key"),
    ),
)
async def test_a_hostile_body_is_refused_and_stores_nothing(
    client: httpx.AsyncClient, body: bytes, headers: dict[str, str], status: int
) -> None:
    answer = await client.post(LOGS, content=body, headers={"content-type": "application/json", **headers})
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(answer.content) < 16_384
    assert await stored(client) == 0


# Heads


async def test_a_head_that_never_ends_is_given_up(settings: Settings) -> None:
    hurried = settings.model_copy(update={"api": ApiSettings(head_timeout=1)})
    async with live_door(hurried) as live:
        token = live.door.bearer()
        whole = head("/healthz", token)
        # Nothing at all, a part of a first head, and a part of a second one on a connection that was kept.
        for sent in (b"", whole[:20], whole, whole + b"\r\n" + whole):
            answered = await spoken(live.url, sent)
            assert answered.count(b"HTTP/1.1 408") == (1 if sent else 0)
            assert answered.count(b"HTTP/1.1 200") == (1 if len(sent) > len(whole) else 0)
        # A kept connection has no time to keep until its next head begins.
        async with httpx.AsyncClient(base_url=live.url) as client:
            assert (await client.get("/healthz")).status_code == 200
            kept = [each for each in live.server.server_state.connections if isinstance(each, HeadBoundProtocol)]
            assert [each.waiting for each in kept] == [None]


async def test_a_head_that_is_too_large_is_refused(live: LiveDoor) -> None:
    token = live.door.bearer()
    for line in ("x-long: " + "x" * 300_000, "\r\n".join(f"x-{number}: x" for number in range(30_000))):
        answered = await spoken(live.url, head("/healthz", token, line) + b"\r\n")
        assert answered.split(b"\r\n")[0] in (b"HTTP/1.1 431 Request Header Fields Too Large", b"")
    answered = await spoken(live.url, head("/" + "x" * 300_000, token) + b"\r\n")
    assert answered[:12] in (b"HTTP/1.1 431", b"")
    large = head("/healthz", token, "x-long: " + "x" * 30_000, "connection: close")
    assert (await spoken(live.url, large + b"\r\n")).startswith(b"HTTP/1.1 200")


_CHUNKED = "transfer-encoding: chunked"


async def held(url: str, *pieces: bytes) -> bytes:
    """What is answered where pieces are sent one by one, each when something was answered to those before."""
    server = urlsplit(url)
    reader, writer = await asyncio.open_connection(server.hostname, server.port)
    try:
        async with asyncio.timeout(DEADLINE):
            answered = b""
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                answered += await reader.read(4096)
            return answered + await reader.read()
    finally:
        writer.close()


async def test_a_connection_that_was_answered_is_not_held(settings: Settings) -> None:
    hurried = settings.model_copy(update={"api": ApiSettings(head_timeout=1)})
    async with live_door(hurried) as live:
        token = live.door.bearer()
        whole = head("/healthz", token) + b"\r\n"
        lasting = b"POST /api/v1/logs HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n"
        for first, then in ((whole, b"\r\n"), (lasting, b"{")):
            answered = await held(live.url, first, then)
            assert answered.count(b"HTTP/1.1") == 1


async def test_a_trailer_is_no_header(live: LiveDoor) -> None:
    bearer = f"authorization: {live.door.bearer()['authorization']}"
    lines = ("POST /api/v1/logs HTTP/1.1", "host: x", "content-type: application/json", _CHUNKED, "connection: close")
    body = json.dumps(event()).encode()
    sent = "\r\n".join(lines).encode() + f"\r\n\r\n{len(body):x}\r\n".encode() + body
    answered = await spoken(live.url, sent + f"\r\n0\r\n{bearer}\r\n\r\n".encode())
    assert answered.startswith(b"HTTP/1.1 401")


async def test_trailers_without_end_are_given_up(live: LiveDoor) -> None:
    begun = f"POST /api/v1/logs HTTP/1.1\r\nhost: x\r\n{_CHUNKED}\r\n\r\n0\r\n".encode()
    server = urlsplit(live.url)
    reader, writer = await asyncio.open_connection(server.hostname, server.port)
    try:
        async with asyncio.timeout(DEADLINE):
            writer.write(begun)
            assert (await reader.read(12)) == b"HTTP/1.1 401"
            (kept,) = [each for each in live.server.server_state.connections if isinstance(each, HeadBoundProtocol)]
            with suppress(ConnectionError):
                for _ in range(100):
                    writer.write(b"x-more: " + b"x" * 100_000 + b"\r\n")
                    await writer.drain()
                await reader.read()
        assert len(kept.headers) == 2
        assert kept.transport.is_closing()
    finally:
        writer.close()


@pytest.mark.parametrize(
    "lines",
    [
        ("content-length: 5", _CHUNKED),
        (_CHUNKED, "content-length: 5"),
        ("content-length: 5", "content-length: 6"),
        ("content-length: +5",),
        ("content-length: 5, 5",),
        ("content-length: 0x5",),
        ("transfer-encoding: chunked, identity",),
        ("transfer-encoding: xchunked",),
        ("transfer-encoding : chunked",),
        (" folded: x",),
        ("x-bad\0name: x",),
        ("x-bad: a\0b",),
        ("no colon",),
    ],
    ids=lambda value: value[0],
)
async def test_what_proxies_may_read_otherwise_is_refused(
    live: LiveDoor, client: httpx.AsyncClient, lines: tuple[str, ...]
) -> None:
    """Request smuggling (RFC 9112 §11.2): where two readings exist, there is none here, and the connection ends."""
    smuggled = head("/healthz", live.door.bearer()) + b"\r\n"
    answered = await spoken(
        live.url, head(LOGS, live.door.bearer(), *lines, method="POST") + b"\r\n0\r\n\r\n" + smuggled
    )
    assert answered.startswith(b"HTTP/1.1 400"), answered
    assert answered.count(b"HTTP/1.1") == 1
    assert b"Traceback" not in answered
    assert await stored(client) == 0


# Paths, methods, hosts and parameters


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/logs/../tenants",
        "/api/v1/logs/%2e%2e/tenants",
        "/api/v1/logs/..%2ftenants",
        "//api/v1/tenants",
        "/api//v1/tenants",
        "/api/v1/tenants/",
        "/API/V1/TENANTS",
        "/api/v1/tenants;x=1",
        "/api/v1/tenants%00",
        "/docs/../../../etc/passwd",
        "/docs/..%2f..%2fetc%2fpasswd",
        "/problems/..%2f..%2fetc%2fpasswd",
    ],
)
async def test_a_path_is_taken_as_it_is(live: LiveDoor, path: str) -> None:
    token = live.door.bearer("admin", platform=True)
    answered = await spoken(live.url, head(path, token, "connection: close") + b"\r\n")
    assert answered.split(b" ")[1] in (b"404", b"422"), answered
    assert b"root:" not in answered
    assert b"location:" not in answered.lower()


async def test_a_method_cannot_be_overridden(client: httpx.AsyncClient) -> None:
    stored_id = (await client.post(LOGS, json=event())).json()["id"]
    for name in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
        for query in ({}, {"_method": "DELETE"}):
            answer = await client.get(f"{LOGS}/{stored_id}", headers={name: "DELETE"}, params=query)
            assert answer.status_code == (422 if query else 200)
    for method in ("TRACE", "CONNECT", "PROPFIND", "DELETE"):
        answer = await client.request(method, LOGS)
        assert answer.status_code in (400, 405)
        assert "authorization" not in answer.text.lower()


async def test_the_host_decides_nothing(client: httpx.AsyncClient) -> None:
    for headers in ({"host": "evil.example"}, {"x-forwarded-host": "evil.example"}, {"forwarded": "host=evil.example"}):
        for answer in (
            await client.post(LOGS, json=event(), headers=headers),
            await client.get(LOGS, params={"limit": "1"}, headers=headers),
            await client.get("/docs", headers=headers),
            await client.get("/nowhere", headers=headers),
        ):
            assert "evil" not in answer.text
            assert "evil" not in str(answer.headers)


async def test_forwarded_headers_of_strangers_are_ignored(client: httpx.AsyncClient) -> None:
    answer = await client.get("/healthz", headers={"x-forwarded-for": "203.0.113.9", "x-forwarded-proto": "https"})
    assert answer.status_code == 200


@pytest.mark.parametrize("second", ["acme", "other"])
async def test_a_parameter_that_is_repeated_is_refused(client: httpx.AsyncClient, second: str) -> None:
    for query in (
        f"tenant_id=acme&tenant_id={second}",
        "limit=1&limit=1000",
        f"tenant_id[]={second}",
        "cursor=&cursor=",
    ):
        assert (await client.get(f"{LOGS}?{query}")).status_code == 422
    assert (await client.get(f"{LOGS}?tenant_id=acme;tenant_id={second}")).status_code == 403
    body = b'{"tenant_id":"acme","tenant_id":"%s","action":"a","resource_type":"b"}' % second.encode()
    assert (await client.post(LOGS, content=body, headers={"content-type": "application/json"})).status_code == 422


# Browsers


async def test_no_other_origin_is_let_in(live: LiveDoor, client: httpx.AsyncClient) -> None:
    for origin in ("https://evil.example", "null", live.url):
        asked = {"origin": origin, "access-control-request-method": "POST", "access-control-request-headers": "x"}
        for answer in (
            await client.options(LOGS, headers=asked),
            await client.get(LOGS, headers=asked),
            await client.get("/openapi.json", headers=asked),
            await client.get(f"{LOGS}/x", headers=asked),
        ):
            assert not [name for name in answer.headers if name.startswith("access-control-")]


async def test_nobody_is_let_in_by_a_cookie(live: LiveDoor, client: httpx.AsyncClient) -> None:
    """So no page of another origin acts or watches as its visitor: neither by forms nor over a WebSocket."""
    token = live.door.token()
    async with httpx.AsyncClient(base_url=live.url) as bare:
        for cookie in (f"token={token}", f"authorization=Bearer {token}", f"access_token={token}"):
            assert (await bare.get(LOGS, headers={"cookie": cookie})).status_code == 401
        form = await bare.post(LOGS, data={"action": "a"}, headers={"origin": "https://evil.example"})
        assert form.status_code == 401
    options = {"additional_headers": {"cookie": f"token={token}"}, "compression": None}
    address = f"{live.url.replace('http', 'ws')}{LOGS}/stream"
    async with connect(address, origin=Origin("https://evil.example"), **options) as stream:  # type: ignore[arg-type]
        await stream.send(json.dumps({"type": "authenticate", "token": ""}))
        async with asyncio.timeout(DEADLINE):
            await stream.wait_closed()
    assert stream.close_code in (4400, 4401)
    # The origin of somebody with a token decides nothing, either.
    async with live.watch(token, origin=Origin("https://console.example")) as stream:
        assert json.loads(await stream.recv())["type"] == "heartbeat"
    for path in (LOGS, "/docs", "/healthz", "/metrics"):
        assert "set-cookie" not in (await client.get(path)).headers
    # What a page may send anywhere without being asked first is not taken.
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        sent = await client.post(LOGS, content=json.dumps(event()), headers={"content-type": kind})
        assert sent.status_code == 415


async def test_answers_tell_browsers_to_keep_and_guess_nothing(client: httpx.AsyncClient) -> None:
    stored_id = (await client.post(LOGS, json=event())).json()["id"]
    for path in (
        LOGS,
        f"{LOGS}/{stored_id}",
        f"{LOGS}/stats",
        f"{LOGS}/export",
        "/api/v1/jobs",
        "/nowhere",
        "/metrics",
    ):
        headers = (await client.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "no-store" in headers["cache-control"] or headers["cache-control"] == "private, no-cache"
        assert "server" not in headers
        assert "x-powered-by" not in headers
    page = (await client.get("/docs")).headers
    assert "default-src 'none'" in page["content-security-policy"]
    assert "frame-ancestors 'none'" in page["content-security-policy"]
    assert "unsafe" not in page["content-security-policy"]
    assert page["referrer-policy"] == "no-referrer"
