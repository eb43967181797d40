"""The worker's own door: `/metrics`, `/healthz` and `/readyz`, for whoever watches it."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, TypeAlias

import orjson
import structlog
import uvicorn
from prometheus_client import CollectorRegistry

from tallystick.errors import UnavailableError
from tallystick.runtime.listener import listen, url_of
from tallystick.runtime.metrics import render
from tallystick.runtime.pulse import Pulse
from tallystick.runtime.serving import Server
from tallystick.settings import WorkerSettings

CHECK_TIMEOUT: Final = 3.0
"""Seconds that the check of `/readyz` may take."""

_JSON: Final = "application/json"

_Event: TypeAlias = MutableMapping[str, Any]
_Answer: TypeAlias = tuple[int, bytes, str]


class WorkerDoor:
    """An ASGI application of three paths. It needs no token, so let only your monitoring reach it.

    Args:
        registry: Where the worker's metrics are.
        pulse: Of its loops.
        reach: Reaches what the worker cannot work without; raises `UnavailableError` where it does not answer.
    """

    def __init__(self, registry: CollectorRegistry, pulse: Pulse, reach: Callable[[], Awaitable[None]]) -> None:
        self._registry = registry
        self._pulse = pulse
        self._reach = reach

    async def __call__(
        self,
        scope: _Event,
        _: Callable[[], Awaitable[_Event]],
        send: Callable[[_Event], Awaitable[None]],
    ) -> None:
        """Answer one request; what is sent with it is not looked at."""
        status, body, content_type = await self._answer(scope["path"])
        headers = [
            (b"content-type", content_type.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    async def _answer(self, path: str) -> _Answer:
        if path == "/metrics":
            return 200, *await asyncio.to_thread(render, self._registry)
        if path == "/healthz":
            return self._health()
        if path == "/readyz":
            return await self._readiness()
        return 404, b'{"detail":"there are /metrics, /healthz and /readyz"}', _JSON

    def _health(self) -> _Answer:
        """Alive is who turns: a worker that does not is to be started anew."""
        if stalled := self._pulse.stalled():
            return 503, orjson.dumps({"status": "stalled", "loops": stalled}), _JSON
        return 200, b'{"status":"alive"}', _JSON

    async def _readiness(self) -> _Answer:
        try:
            async with asyncio.timeout(CHECK_TIMEOUT):
                await self._reach()
        except UnavailableError as error:
            return 503, orjson.dumps({"status": "not ready", "detail": error.detail}), _JSON
        except TimeoutError:
            return 503, orjson.dumps({"status": "not ready", "detail": f"no answer within {CHECK_TIMEOUT:g} s"}), _JSON
        return 200, b'{"status":"ready"}', _JSON


def open_worker_socket(settings: WorkerSettings) -> socket.socket | None:
    """Listen where the settings say; None where they name no port.

    Raises:
        ConfigurationError: The port is taken or not allowed, or the address is not this machine's.
    """
    if settings.metrics_port is None:
        return None
    listener = listen(settings.metrics_host, settings.metrics_port, "TALLYSTICK_WORKER__METRICS")
    structlog.get_logger("tallystick.worker").info("door_open", url=url_of(listener))
    return listener


async def serve_door(door: WorkerDoor, listener: socket.socket) -> None:
    """Serve until cancelled."""
    config = uvicorn.Config(
        door,
        loop="none",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=100,
        timeout_graceful_shutdown=1,
    )
    server = Server(config)
    serving = asyncio.ensure_future(server.serve(sockets=[listener]))
    try:
        await asyncio.shield(serving)
    finally:
        server.should_exit = True
        await serving
