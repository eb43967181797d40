"""One system call for a response: what a connection writes in one round of the event loop goes out together.

Uvicorn writes a response's head and its body separately, and each write is sent at once. For small answers those two
calls were a fifth of all CPU of an API process.
"""

import asyncio
from typing import Any, Final, cast

from tallystick.export.response import ABORT
from tallystick.log.intake import WHOLE
from tallystick.runtime.heads import HeadBoundProtocol

_MOST_HELD: Final = 64 * 1024
"""Bytes that are held back at most; so a stream's backpressure stays what it is."""


class CoalescingTransport:
    """A transport that writes once per round of the loop. All else is the wrapped transport's."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> None:
        """Hold the bytes until the loop's next round, or send what is held when that is enough."""
        if not self._held:
            self._loop.call_soon(self.flush)
        self._held.append(data)
        self._size += len(data)
        if self._size > _MOST_HELD:
            self.flush()

    def flush(self) -> None:
        """Send what is held."""
        if self._held:
            data = b"".join(self._held)
            self._held.clear()
            self._size = 0
            self._transport.write(data)

    def close(self) -> None:
        """Send what is held, then close."""
        self.flush()
        self._transport.close()

    def unwrapped(self) -> asyncio.Transport:
        """The wrapped transport, from now on written to directly."""
        self.flush()
        return self._transport

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand the connection to another protocol, as an upgrade to WebSocket does."""
        self.flush()
        self._transport.set_protocol(protocol)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # whatever the wrapped one has
        return getattr(self._transport, name)


class CoalescingProtocol(HeadBoundProtocol):
    """Uvicorn's HTTP/1.1 protocol over a transport that writes once per round."""

    _extensions: dict[str, dict[object, object]]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin a connection."""
        wrapped = CoalescingTransport(transport, asyncio.get_running_loop())
        super().connection_made(cast("asyncio.Transport", wrapped))

    def on_message_begin(self) -> None:
        """Begin a request, whose application may break the connection off (see `ABORT`)."""
        super().on_message_begin()
        self._extensions = {ABORT: {"now": self.transport.abort}}
        self.scope["extensions"] = self._extensions

    def on_message_complete(self) -> None:
        """End a request. Most end in the piece that they begin in, before their application runs (see `WHOLE`)."""
        self._extensions[WHOLE] = {}
        super().on_message_complete()
