"""A span of each request: method, route template, status and request id, and nothing else of it."""

from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tallystick.api.middleware import known_method
from tallystick.auth.headers import header_of
from tallystick.tracing import Tracing

_UNTOLD: Final = frozenset({"/healthz", "/readyz", "/metrics"})
"""Paths that are asked all the time by machines."""

_FAILED: Final = 500


class TracedRequests:
    """A layer inside of `Edge`, which gives each request its id.

    Streams have no span: they last for hours.

    Args:
        app: The application inside.
        tracing: Where spans go.
    """

    def __init__(self, app: ASGIApp, tracing: Tracing) -> None:
        self._app = app
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"] in _UNTOLD:
            await self._app(scope, receive, send)
            return
        status = 0

        async def respond(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
            await send(message)

        method = "HEAD" if scope["state"]["head"] else known_method(scope["method"])
        told = {"http.request.method": method, "tallystick.request.id": scope["state"]["correlation_id"]}
        asked_by, believed = header_of(scope, b"traceparent"), scope["state"]["from_proxy"]
        with self._tracing.span(method, told, kind="server", parent=asked_by, believed=believed) as span:
            try:
                await self._app(scope, receive, respond)
            finally:
                route = getattr(scope.get("route"), "path_format", None)
                if route is not None:
                    span.rename(f"{method} {route}")
                    span.tell({"http.route": route})
                if status:
                    span.tell({"http.response.status_code": status})
                if status >= _FAILED:
                    span.fail(str(status))
