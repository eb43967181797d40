"""Sends an export, piece by piece, for as long as its client reads."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, Final, Protocol

import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tallystick.errors import UnavailableError
from tallystick.export.formats import Coding, compressor

ABORT: Final = "tallystick.abort"
"""The ASGI extension by which a connection is broken off at once: its member `now` is a function that takes nothing."""

_PART: Final = 64 * 1024
"""Bytes handed to the server at once: what a client that stops reading keeps in memory."""


class Source(Protocol):
    """What can be sent."""

    @property
    def pieces(self) -> AsyncGenerator[bytes]:
        """The bytes, piece by piece; never an empty one."""
        ...

    async def aclose(self) -> None:
        """Read no further."""
        ...


class ExportResponse(Response):
    """An ASGI response that ends where its client is gone, reads nothing for too long, or the database fails.

    An answer that was broken off has no end: the connection is closed in the middle of the body, which every client
    tells from a whole one (RFC 9112 §8).

    Args:
        source: What to send.
        headers: Of the response.
        coding: How the body is compressed, or None.
        patience: Seconds in which a client must take 64 KiB.
        release: Called when all is over.
        status: Of the response.
    """

    def __init__(
        self,
        source: Source,
        headers: Mapping[str, str],
        coding: Coding | None,
        patience: float,
        release: Callable[[], None],
        *,
        status: int = 200,
    ) -> None:
        self.status_code = status
        self.background = None
        self.init_headers(headers)
        self._source = source
        self._coding: Coding | None = coding
        self._patience = patience
        self._release = release
        self._ended: Callable[[bool, int], None] = _untold
        self._sent = 0
        self._log: Any = structlog.get_logger("tallystick.export")

    def on_end(self, ended: Callable[[bool, int], None]) -> None:
        """Whom to tell, when all is over, whether the whole answer was sent, and of how many bytes."""
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        gone = asyncio.create_task(_disconnected(receive))
        completed = False
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            if not scope["state"]["head"]:
                await self._send(send, gone)
            if not gone.done():
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                completed = True
        except TimeoutError:
            self._log.warning("export_broken_off", reason="its client reads nothing")
            if ABORT in scope.get("extensions", {}):
                scope["extensions"][ABORT]["now"]()  # to close it would wait until all that was sent is read
                await gone
        except UnavailableError as error:
            self._log.warning("export_broken_off", reason=error.slug)
        finally:
            gone.cancel()
            self._ended(completed, self._sent)
            try:
                await self._source.aclose()
            finally:
                self._release()

    async def _send(self, send: Send, gone: "asyncio.Task[None]") -> None:
        squeeze = None if self._coding is None else compressor(self._coding)
        while piece := await self._next(gone):
            data = piece if squeeze is None else await asyncio.to_thread(squeeze.compress, piece)
            await self._hand_over(send, gone, data)
        if gone.done():
            return
        if squeeze is not None:
            await self._hand_over(send, gone, squeeze.flush())

    async def _next(self, gone: "asyncio.Task[None]") -> bytes | None:
        """The next piece; None where there is none, or nobody to send it to."""
        piece = asyncio.ensure_future(anext(self._source.pieces, None))
        try:
            await asyncio.wait({piece, gone}, return_when=asyncio.FIRST_COMPLETED)
            return None if gone.done() else await piece
        finally:
            if not piece.done():
                piece.cancel()
                await asyncio.wait({piece})

    async def _hand_over(self, send: Send, gone: "asyncio.Task[None]", data: bytes) -> None:
        for start in range(0, len(data), _PART):
            if gone.done():
                return
            async with asyncio.timeout(self._patience):
                await send({"type": "http.response.body", "body": data[start : start + _PART], "more_body": True})
            self._sent += len(data[start : start + _PART])


def _untold(_: bool, __: int) -> None:  # noqa: FBT001  # as `on_end` has it
    """Nobody is to be told."""


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
