import asyncio
import contextlib
import gc
import weakref
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.testing import capture_logs

from tallystick.api.metrics import HttpMetrics
from tallystick.api.middleware import Edge, correlation_id
from tallystick.runtime.logging import REQUEST_ID

TRACE = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


async def call(
    app: ASGIApp, method: str = "GET", registry: CollectorRegistry | None = None, **headers: str
) -> list[Message]:
    """Send one request through the outer layer; returns what it sent."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    raw = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": "/secret-path", "query_string": b"q=secret", "headers": raw}
    await Edge(app, HttpMetrics(registry or CollectorRegistry()), max_body_bytes=10)(scope, receive, send)
    return sent


def headers_of(sent: list[Message]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in sent[0]["headers"]}


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    scope["state"]["response_headers"]["RateLimit"] = '"tenant";r=1'
    await Response(b"hello")(scope, receive, send)


def test_a_request_id_that_is_well_formed_is_kept() -> None:
    assert correlation_id(b"abc-1", TRACE) == "abc-1"
    assert correlation_id(b"x" * 128, None) == "x" * 128


@pytest.mark.parametrize("bad", [b"", b"x" * 129, b"a b", b"a\n", b"\xff", b"\x7f"])
def test_another_gives_way_to_the_trace(bad: bytes) -> None:
    assert correlation_id(bad, TRACE) == "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize(
    "trace",
    [
        None,
        b"",
        b"00-" + b"0" * 32 + b"-00f067aa0ba902b7-01",
        b"00-4bf92f3577b34da6a3ce929d0e0e4736-" + b"0" * 16 + b"-01",
        b"ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        TRACE.upper(),
        TRACE + b"-x",
    ],
)
def test_without_either_one_is_made(trace: bytes | None) -> None:
    made = correlation_id(None, trace)
    assert len(made) == 32
    assert made != correlation_id(None, trace)


ROOT = "1-67891233-abcdef012345678912345678"


@pytest.mark.parametrize(
    "amazon",
    [
        f"Root={ROOT}",
        f"Root={ROOT};Parent=463ac35c9f6413ad;Sampled=1",
        f"Self=1-67891234-12456789abcdef012345678a;Root={ROOT}",
        f"Self=1-67891234-12456789abcdef012345678a; Root={ROOT};CalledFrom=app",
    ],
)
def test_the_root_of_an_application_load_balancer_is_taken_where_nothing_else_is(amazon: str) -> None:
    assert correlation_id(None, None, amazon.encode()) == ROOT
    assert correlation_id(b"", b"junk", amazon.encode()) == ROOT
    assert correlation_id(b"abc-1", None, amazon.encode()) == "abc-1"
    assert correlation_id(None, TRACE, amazon.encode()) == "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize("amazon", ["", ROOT, f"Root={ROOT}0", f"NoRoot={ROOT}", f"Root={ROOT.upper()}", "Root=1-2-3"])
def test_another_root_is_not(amazon: str) -> None:
    assert len(correlation_id(None, None, amazon.encode())) == 32


@given(st.binary(max_size=140), st.binary(max_size=60), st.binary(max_size=60))
def test_whatever_is_sent_the_id_is_visible_ascii(request_id: bytes, trace: bytes, amazon: bytes) -> None:
    made = correlation_id(request_id, trace, amazon)
    assert 1 <= len(made) <= 128
    assert all("\x21" <= letter <= "\x7e" for letter in made)


async def test_every_answer_carries_the_common_headers() -> None:
    headers = headers_of(await call(hello, x_request_id="abc"))
    assert headers["x-request-id"] == "abc"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert headers["ratelimit"] == '"tenant";r=1'


async def test_an_answer_may_say_itself_how_it_is_kept() -> None:
    async def kept(scope: Scope, receive: Receive, send: Send) -> None:
        await Response(headers={"Cache-Control": "private, no-cache"})(scope, receive, send)

    sent = await call(kept)
    assert [value for name, value in sent[0]["headers"] if name == b"cache-control"] == [b"private, no-cache"]


async def test_head_is_get_without_the_body() -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["method"])
        await Response(b"hello")(scope, receive, send)

    sent = await call(app, "HEAD")
    assert seen == ["GET"]
    assert headers_of(sent)["content-length"] == "5"
    assert b"".join(message.get("body", b"") for message in sent[1:]) == b""


async def test_a_body_that_is_said_to_be_too_large_is_not_read() -> None:
    async def never(*_: Any) -> None:
        raise AssertionError

    assert (await call(never, "POST", content_length="11"))[0]["status"] == 413
    assert (await call(never, "POST", content_length="9" * 5000))[0]["status"] == 413
    assert (await call(hello, "POST", content_length="10"))[0]["status"] == 200
    assert (await call(hello, "POST", content_length="junk"))[0]["status"] == 200


async def test_the_access_line_tells_nothing_personal() -> None:
    with capture_logs() as lines:
        await call(hello, authorization="Bearer secret", x_request_id="abc")
    (line,) = lines
    assert {"event": "request", "method": "GET", "route": "unmatched", "status": 200}.items() <= line.items()
    assert "secret" not in str(line)


async def test_the_id_is_bound_while_the_request_lasts_and_no_longer() -> None:
    bound: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        bound.append(REQUEST_ID.get())
        await hello(scope, receive, send)

    await asyncio.gather(*(call(app, x_request_id=f"r{number}") for number in range(5)))
    assert sorted(bound) == ["r0", "r1", "r2", "r3", "r4"]
    assert REQUEST_ID.get() is None


async def test_a_bug_after_the_answer_began_is_logged_and_cuts_it_off() -> None:
    async def app(_: Scope, __: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError

    with capture_logs() as lines:
        sent = await call(app)
    assert len(sent) == 1
    assert [line["log_level"] for line in lines] == ["error", "info"]
    assert lines[1]["status"] == 500


async def test_a_client_that_hung_up_is_no_failure() -> None:
    async def gone(*_: Any) -> None:
        raise ClientDisconnect

    async def waits(*_: Any) -> None:
        await asyncio.Event().wait()

    with capture_logs() as lines:
        assert await call(gone) == []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.01):
                await call(waits)
    assert [(line["log_level"], line["status"]) for line in lines] == [("info", 499), ("info", 499)]


async def test_durations_are_counted_by_what_clients_cannot_invent() -> None:
    registry = CollectorRegistry()
    metrics = HttpMetrics(registry)

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None: ...

    for method in ("GET", "PURGE", "X" * 50):
        scope: Scope = {"type": "http", "method": method, "path": "/x", "headers": []}
        await Edge(hello, metrics, 10)(scope, receive, send)
    labels = {"route": "unmatched", "status": "200"}
    name = "tallystick_http_request_seconds_count"
    assert registry.get_sample_value(name, {"method": "GET", **labels}) == 1
    assert registry.get_sample_value(name, {"method": "OTHER", **labels}) == 2


async def test_other_kinds_of_connection_pass_through() -> None:
    seen: list[str] = []

    async def app(scope: Scope, *_: Any) -> None:
        seen.append(scope["type"])

    async def nothing(*_: Any) -> Any: ...

    await Edge(app, HttpMetrics(CollectorRegistry()), 10)({"type": "lifespan"}, nothing, nothing)
    assert seen == ["lifespan"]


def test_nothing_of_a_request_waits_for_the_collector_of_garbage() -> None:
    """A collector that has much to free stops the process for as long as dozens of requests take."""
    left: list[weakref.ref[Request]] = []

    async def knows_its_request(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        scope["state"]["record"] = request.headers, request
        left.append(weakref.ref(request))
        await hello(scope, receive, send)

    gc.disable()
    try:
        asyncio.run(call(knows_its_request))
        assert [request() for request in left] == [None]
    finally:
        gc.enable()
