"""What surrounds every request: correlation id, common headers, the access line, metrics, and the answer to a bug.

One pure ASGI layer, the outermost, since each layer costs every request a call and a closure.
"""

import random
import re
from collections.abc import Iterable
from time import perf_counter
from typing import Any, TypeAlias

import structlog
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tallystick.api.forwarded import NO_PROXIES, Proxies
from tallystick.api.metrics import HttpMetrics
from tallystick.api.problems import internal_error, problem_response
from tallystick.errors import TooLargeError
from tallystick.runtime.logging import REQUEST_ID

Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]

_numbers = random.Random()  # noqa: S311  # an id is to be unlike others, not hard to guess: a client may choose its own
_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")
_TRACEPARENT = re.compile(rb"00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_AMAZON_ROOT = re.compile(rb"(?:^|;) *Root=(1-[0-9a-f]{8}-[0-9a-f]{24})(?:;|$)")
_CLIENT_CLOSED = 499
_UPGRADED = 101
_STARTS = frozenset({"http.response.start", "websocket.http.response.start", "websocket.accept"})
_FAILED = {"type": "websocket.close", "code": 1011, "reason": "an unexpected failure: try again"}
_MOST_DIGITS = 18
_TLS = frozenset({"https", "wss"})
_UNMATCHED = "unmatched"
_COMMON: Headers = ((b"x-content-type-options", b"nosniff"),)
_NO_STORE = (b"cache-control", b"no-store")
_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})


def correlation_id(request_id: bytes | None, traceparent: bytes | None, amazon: bytes | None = None) -> str:
    """Choose the id by which one request is found again in answers and log lines.

    Args:
        request_id: `X-Request-Id` as sent: taken when it is 1 to 128 visible ASCII characters.
        traceparent: W3C Trace Context §3.2: its trace id is taken otherwise.
        amazon: `X-Amzn-Trace-Id` of an Application Load Balancer: its `Root`, which the balancer's own log has, too, is
            taken where neither is there.

    Returns:
        The first of those that is well formed, or else 32 random hexadecimal digits.
    """
    if request_id is not None and _REQUEST_ID.fullmatch(request_id):
        return request_id.decode("ascii")
    if traceparent is not None and (match := _TRACEPARENT.fullmatch(traceparent)):
        return match[1].decode("ascii")
    if amazon is not None and (match := _AMAZON_ROOT.search(amazon)):
        return match[1].decode("ascii")
    return f"{_numbers.getrandbits(128):032x}"


def known_method(method: str) -> str:
    """A method of HTTP as it is told of: what a client made up is `OTHER`."""
    return method if method in _METHODS else "OTHER"


def _exceeds(length: bytes, limit: int) -> bool:
    """Whether a `Content-Length` is over a limit; what is no number is for the server below to refuse."""
    return length.isdigit() and (len(length) > _MOST_DIGITS or int(length) > limit)


class _Exchange:
    """One request and what is known of its response."""

    __slots__ = ("common", "correlation_id", "extra_headers", "head", "send", "started", "status")

    def __init__(self, correlation: str, send: Send, common: Headers, *, head: bool) -> None:
        self.common = common
        self.correlation_id = correlation
        self.extra_headers: dict[str, str] = {}
        self.head = head
        self.send = send
        self.started = False
        self.status = 0

    async def respond(self, message: Message) -> None:
        if message["type"] in _STARTS:
            self.started = True
            self.status = int(message.get("status", _UPGRADED))
            message["headers"] = self._headers(message.get("headers", ()))
        elif self.head:
            message = {**message, "body": b""}
        await self.send(message)

    def _headers(self, given: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        headers = [*given, *self.common, (b"x-request-id", self.correlation_id.encode("ascii"))]
        for name, value in self.extra_headers.items():
            headers.append((name.lower().encode("latin-1"), value.encode("latin-1")))
        for name, _ in headers:
            if name == b"cache-control":
                return headers
        headers.append(_NO_STORE)
        return headers


class Edge:
    """The outermost layer of the application.

    It gives each request `request.state.correlation_id`, `request.state.head` (whether only the head of the answer is
    asked for), `request.state.from_proxy` (whether a trusted proxy sent it) and `request.state.response_headers`, a
    dict whose entries are added to the response. The access line has no path, query or subject: those may be personal.

    Args:
        app: The application inside.
        metrics: Where durations are counted.
        max_body_bytes: A larger `Content-Length` is refused before anything is read; bodies of unknown length
            are counted by whoever reads them.
        proxies: Who may say where a request comes from.
        hsts: Seconds for which who came by https is to come by nothing else (RFC 6797); 0 says nothing of it.
    """

    def __init__(
        self,
        app: ASGIApp,
        metrics: HttpMetrics,
        max_body_bytes: int,
        proxies: Proxies = NO_PROXIES,
        *,
        hsts: int = 0,
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._max_body_bytes = max_body_bytes
        self._proxies = proxies
        self._secure: Headers = (
            (*_COMMON, (b"strict-transport-security", b"max-age=%d" % hsts)) if hsts > 0 else _COMMON
        )
        self._log: Any = structlog.get_logger("tallystick.access")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, which may be to become a WebSocket; what is neither passes through."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        begun = perf_counter()
        trusted = self._proxies.settle(scope)
        request_id = traceparent = amazon = length = None
        for name, value in scope["headers"]:
            if name == b"x-request-id":
                request_id = value
            elif name == b"traceparent":
                traceparent = value
            elif name == b"x-amzn-trace-id":
                amazon = value
            elif name == b"content-length":
                length = value
        method = scope.get("method", "GET")
        common = self._secure if scope.get("scheme") in _TLS else _COMMON
        exchange = _Exchange(correlation_id(request_id, traceparent, amazon), send, common, head=method == "HEAD")
        state = scope.setdefault("state", {})
        state["correlation_id"] = exchange.correlation_id
        state["response_headers"] = exchange.extra_headers
        state["head"] = exchange.head
        state["from_proxy"] = trusted
        if exchange.head:
            scope = {**scope, "method": "GET"}
        outer = REQUEST_ID.set(exchange.correlation_id)
        try:
            await self._serve(exchange, scope, receive, length)
        finally:
            self._account(exchange, scope, method, perf_counter() - begun)
            REQUEST_ID.reset(outer)
            # What lies there knows the request that holds it. Such a circle waits for the collector of garbage, which
            # stopped the process for 25 to 70 ms every other thousand requests.
            state.clear()

    async def _serve(self, exchange: _Exchange, scope: Scope, receive: Receive, length: bytes | None) -> None:
        try:
            if length is not None and _exceeds(length, self._max_body_bytes):
                refusal = TooLargeError(f"the body may have up to {self._max_body_bytes} bytes: send less at a time")
                await problem_response(refusal, exchange.correlation_id)(scope, receive, exchange.respond)
                return
            await self._app(scope, receive, exchange.respond)
        except ClientDisconnect:
            pass  # nobody is left to answer
        except Exception:  # noqa: BLE001 - the last place that can answer: log it and say nothing of it
            self._log.exception("a request failed unexpectedly")
            exchange.status = 500
            if not exchange.started:
                await internal_error(exchange.correlation_id)(scope, receive, exchange.respond)
            elif scope["type"] == "websocket":
                await exchange.send(_FAILED)

    def _account(self, exchange: _Exchange, scope: Scope, method: str, seconds: float) -> None:
        route = getattr(scope.get("route"), "path_format", _UNMATCHED)
        method = known_method(method)
        status = exchange.status or _CLIENT_CLOSED
        if status != _UPGRADED:  # a stream lasts for hours; it has metrics of its own
            self._metrics.observe(method, route, status, seconds)
        self._log.info(
            "request",
            method=method,
            route=route,
            status=status,
            ms=round(seconds * 1000, 2),
        )
