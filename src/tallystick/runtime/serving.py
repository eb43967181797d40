"""One API process: uvicorn over a socket of its own or an inherited one, and an end that loses no answer."""

import asyncio
import math
import resource
import socket
import ssl
import sys
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager, suppress

import uvicorn

from tallystick.runtime.coalescing import CoalescingProtocol
from tallystick.runtime.garbage import settle_garbage
from tallystick.runtime.heads import HeadConfig
from tallystick.runtime.listener import listen
from tallystick.runtime.stopping import stop_event
from tallystick.runtime.tls import server_context
from tallystick.runtime.websocket import PING_SECONDS, PONG_SECONDS, StreamingProtocol
from tallystick.settings import Settings

_SWITCH_SECONDS = 0.0002
"""A search runs in a thread and asks for the interpreter a few times; each time it would wait 5 ms for a busy loop."""

_MESSAGE_BYTES = 1024
"""What a client's only message has beside its token."""


class Server(uvicorn.Server):
    """Leaves signals to us: uvicorn raises them anew at its end, before the writer has committed what it holds."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """See uvicorn."""
        yield


def open_socket(settings: Settings, descriptor: int | None) -> socket.socket:
    """The listening socket: the inherited one, else one of our own."""
    if descriptor is None:
        return listen(settings.host, settings.port)
    return socket.socket(fileno=descriptor)


def server_config(app: Callable[..., Awaitable[None]], settings: Settings) -> HeadConfig:
    """How uvicorn serves the application.

    Raises:
        ConfigurationError: See `runtime.tls.server_context`.
    """
    tls = server_context(settings.api)
    return HeadConfig(
        app,
        head_timeout=settings.api.head_timeout,
        loop="none",
        http=CoalescingProtocol,
        ws=StreamingProtocol,
        ws_max_size=settings.auth.max_token_bytes + _MESSAGE_BYTES,
        ws_per_message_deflate=False,
        ws_ping_interval=PING_SECONDS,
        ws_ping_timeout=PONG_SECONDS,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # `api.forwarded` reads them
        ssl_context_factory=None if tls is None else _always(tls),
        timeout_keep_alive=settings.api.keep_alive,
        timeout_graceful_shutdown=math.ceil(settings.api.drain_timeout),
    )


def _always(context: ssl.SSLContext) -> Callable[[uvicorn.Config, Callable[[], ssl.SSLContext]], ssl.SSLContext]:
    """A factory as uvicorn asks for one, whose own settings would be older ciphers."""
    return lambda _config, _default: context


def _allow_connections() -> None:
    """Take as many open files as the system lets us: every stream is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def serve(
    app: Callable[..., Awaitable[None]],
    settings: Settings,
    listener: socket.socket,
    watched: int | None,
    drain: Callable[[], None],
) -> None:
    """Serve until told to stop; requests in flight then get `api.drain_timeout` seconds to end.

    Between the two `api.drain_notice` seconds pass in which everything is answered, only readiness is denied, and each
    answer asks its client to come back by another connection: one that is idle at the end could take a request in the
    moment in which it is closed. A second signal ends that time; one after it ends the connections too.

    Args:
        app: The ASGI application.
        settings: Address and limits.
        listener: Closed at the end.
        watched: See `runtime.stopping`.
        drain: Called when told to stop, before anything is refused.
    """
    config = server_config(app, settings)
    server = Server(config)
    noticed = asyncio.Event()

    def hurry() -> None:
        if noticed.is_set():
            server.force_exit = True
        noticed.set()

    stop = stop_event(watched, hurry)

    async def end_when_told() -> None:
        await stop.wait()
        drain()
        config.draining = True
        with suppress(TimeoutError):
            await asyncio.wait_for(noticed.wait(), settings.api.drain_notice)
        noticed.set()
        server.should_exit = True

    ending = asyncio.create_task(end_when_told())
    settle_garbage()
    _allow_connections()
    sys.setswitchinterval(_SWITCH_SECONDS)
    try:
        await server.serve(sockets=[listener])
    finally:
        ending.cancel()
