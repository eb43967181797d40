"""Bounds what a client sends beside bodies, in bytes and in the time it may take: uvicorn bounds neither.

A client that sends a head a byte a minute holds a connection, one that never ends it holds memory. So do trailers,
which follow a body in chunks, and a body that goes on when its request is answered.
"""

import asyncio
from typing import Any, Final, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

MOST_BYTES: Final = 64 * 1024
"""Largest request line with its headers, and most that is taken between them and a body, or after it.

What arrives in one piece may be as large as that piece is.
"""

_TIMED_OUT: Final = (408, "Request Timeout", "the head of the request did not arrive in time")
_TOO_LARGE: Final = (431, "Request Header Fields Too Large", "the head of a request may have 64 KiB")


class HeadConfig(uvicorn.Config):
    """Uvicorn's configuration, how long a head may take, and whether connections are still kept.

    Args:
        head_timeout: Seconds, from the first byte of a head, and for the first one from the connection's begin.

    Attributes:
        draining: Set once the server is to stop: each answer from then on is the last of its connection, and says so.
    """

    def __init__(self, app: Any, *, head_timeout: float, **options: Any) -> None:  # noqa: ANN401 - as uvicorn has it
        super().__init__(app, **options)
        self.head_timeout = head_timeout
        self.draining = False


class HeadBoundProtocol(HttpToolsProtocol):
    """Uvicorn's HTTP/1.1 protocol that gives up a head which is too large or takes too long, and passes over trailers.

    A head that arrives in one piece, as nearly all do, costs no timer.

    Attributes:
        waiting: Runs out while a head is awaited or under way, and while what arrives belongs to no request that is
            being answered.
    """

    def __init__(self, config: uvicorn.Config, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as uvicorn has it
        super().__init__(config, *args, **kwargs)
        self._config = config if isinstance(config, HeadConfig) else None
        self.waiting: asyncio.TimerHandle | None = None
        self._in_head = False
        self._useful = False
        self._other_bytes = 0
        self._upgraded = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin a connection, and wait for its first head."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """End a connection."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what arrived, unless too much came that is neither a whole head nor of a body."""
        self._useful = False
        super().data_received(data)
        if self._upgraded:
            return
        self._other_bytes = 0 if self._useful else self._other_bytes + len(data)
        if self._other_bytes > MOST_BYTES:
            self._give_up(*_TOO_LARGE)
        elif self.waiting is None and (self._in_head or self._idle):
            self._wait()

    def handle_websocket_upgrade(self) -> None:
        """Leave the connection to the protocol of WebSockets."""
        self._upgraded = True
        super().handle_websocket_upgrade()

    def on_message_begin(self) -> None:
        """Begin a head."""
        super().on_message_begin()
        self._in_head = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header. What comes after the head is a trailer, which must not pass for one (RFC 9110 §6.5.1)."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """End a head."""
        self._in_head = False
        self._useful = True
        self._stop_waiting()
        super().on_headers_complete()
        if self._config is not None and self._config.draining and self._cycle is not None:
            self._cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Take a part of a body."""
        self._useful = True
        super().on_body(body)

    @property
    def _cycle(self) -> "RequestResponseCycle | None":
        """The last request; None before the first, whatever is declared."""
        return cast("RequestResponseCycle | None", self.cycle)

    @property
    def _idle(self) -> bool:
        """Whether no request is being answered."""
        return self._cycle is None or self._cycle.response_complete

    def _wait(self) -> None:
        if self._config is not None:
            self.waiting = self.loop.call_later(self._config.head_timeout, self._run_out)

    def _stop_waiting(self) -> None:
        if self.waiting is not None:
            self.waiting.cancel()
            self.waiting = None

    def _run_out(self) -> None:
        self.waiting = None
        if self._in_head:
            self._give_up(*_TIMED_OUT)
        else:
            self.transport.close()  # nothing was asked, so nothing is answered

    def _give_up(self, status: int, phrase: str, told: str) -> None:
        """Answer and close, unless an answer to an earlier request is under way: then close."""
        self._in_head = False
        self._stop_waiting()
        if self.transport.is_closing():
            return
        if self._idle:
            head = f"HTTP/1.1 {status} {phrase}\r\ncontent-type: text/plain; charset=utf-8\r\n"
            rest = f"content-length: {len(told)}\r\nconnection: close\r\n\r\n{told}"
            self.transport.write((head + rest).encode())
        self.transport.close()
