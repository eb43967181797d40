"""Uvicorn's WebSocket protocol, opened to whoever sends one frame to many: bytes in, how much waits, an end in time."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.http11 import Request

from tallystick.runtime.coalescing import CoalescingTransport
from tallystick.stream.model import GOING_ON_ELSEWHERE, SOCKET, TOO_LARGE, TOO_SLOW, TRY_LATER

PING_SECONDS: Final = 20.0
"""Seconds between two pings."""

PONG_SECONDS: Final = 60.0
"""Seconds in which a ping must be answered: a client that reads slowly is told so before."""

_CLOSE_SECONDS: Final = 5.0
_HIGH_WATER: Final = 64 * 1024
_MOST_PARTS: Final = 16

_quiet = logging.getLogger("tallystick.websocket")
_quiet.setLevel(logging.WARNING)
"""The library logs headers and uvicorn query strings: neither may be."""


class StreamingProtocol(WebSocketsSansIOProtocol):
    """Implements `stream.model.Socket`, which the application finds in its scope's extensions."""

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401  # as uvicorn's
        super().__init__(*arguments, **options)
        self.logger = _quiet
        self.conn.logger = _quiet
        self.conn.debug = False
        self._end: Callable[[int], None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection over from the HTTP protocol; frames are held back by their sender, not here."""
        if isinstance(transport, CoalescingTransport):
            transport = transport.unwrapped()
        super().connection_made(transport)
        self.transport.set_write_buffer_limits(high=_HIGH_WATER)

    def handle_connect(self, event: Request) -> None:
        """Hand the request to the application, with this socket."""
        super().handle_connect(event)
        scope = cast("dict[str, Any] | None", getattr(self, "scope", None))  # none where it is no handshake
        if scope is not None:
            scope["extensions"][SOCKET] = self

    async def send(self, message: Any) -> None:  # noqa: ANN401  # as uvicorn's
        """See uvicorn, which takes a handshake that was refused for one that never ended."""
        await super().send(message)
        if self.close_sent:
            self.handshake_complete = True

    def handle_ping(self) -> None:
        """Answer a ping, unless the client does not take what was sent before: it could fill the memory with pongs."""
        if self.buffered > _HIGH_WATER:
            self.conn.data_to_send()
        else:
            super().handle_ping()

    def handle_cont(self, event: Frame) -> None:
        """Take in a part of a message. All that a client has to say fits into a few."""
        if len(self.frames) < _MOST_PARTS:
            super().handle_cont(event)
        else:
            self.close(TOO_LARGE, "a message in too many parts")

    @property
    def buffered(self) -> int:
        """See `Socket`."""
        return self.transport.get_write_buffer_size()

    def write(self, frames: bytes) -> None:
        """See `Socket`."""
        if not self.close_sent and not self.transport.is_closing():
            self.transport.write(frames)

    async def drained(self) -> None:
        """See `Socket`."""
        await self.writable.wait()

    def close(self, code: int, reason: str) -> None:
        """See `Socket`."""
        if self.close_sent or self.transport.is_closing():
            return
        self.stop_keepalive()
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.conn.send_close(code, reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self.close_timer = self.loop.call_later(_CLOSE_SECONDS, self.transport.abort)

    def on_end(self, end: Callable[[int], None]) -> None:
        """See `Socket`."""
        self._end = end

    def shutdown(self) -> None:
        """The server stops: tell a stream where to go on."""
        if self._end is not None and not self.close_sent:
            self._end(GOING_ON_ELSEWHERE)
        elif self.handshake_complete and not self.close_sent:
            self.close(TRY_LATER, "the server stops")
        else:
            super().shutdown()

    def keepalive_timeout(self) -> None:
        """The client answers no ping: it is gone, or reads nothing."""
        if self._end is None:
            super().keepalive_timeout()
        else:
            self._end(TOO_SLOW)
