"""Sends an export, piece by piece, for as long as its client reads."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import aclosing
from http import HTTPStatus
from typing import Any, Final

import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tallystick.errors import UnavailableError
from tallystick.export.formats import Coding, compressor
from tallystick.export.service import Export

_PART: Final = 64 * 1024
"""Bytes handed to the server at once: what a client that stops reading keeps in memory."""


class ExportResponse(Response):
    """An ASGI response that ends where its client is gone, reads nothing for too long, or the database fails.

    An answer that was broken off has no end: the connection is closed in the middle of the body, which every client
    tells from a whole one (RFC 9112 §8).

    Args:
        export: What to send.
        headers: Of the response.
        coding: How the body is compressed, or None.
        patience: Seconds that a client may read nothing.
        release: Called when all is over.
    """

    def __init__(
        self,
        export: Export,
        headers: Mapping[str, str],
        coding: Coding | None,
        patience: float,
        release: Callable[[], None],
    ) -> None:
        self.status_code = HTTPStatus.OK
        self.init_headers(headers)
        self._export = export
        self._coding: Coding | None = coding
        self._patience = patience
        self._release = release
        self._log: Any = structlog.get_logger("tallystick.export")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        gone = asyncio.create_task(_disconnected(receive))
        try:
            async with aclosing(self._export.pieces):
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                if not scope["state"]["head"]:
                    await self._send(send, gone)
                if not gone.done():
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            self._log.warning("export_broken_off", reason="its client reads nothing")
        except UnavailableError as error:
            self._log.warning("export_broken_off", reason=error.slug)
        finally:
            gone.cancel()
            self._release()

    async def _send(self, send: Send, gone: "asyncio.Task[None]") -> None:
        squeeze = None if self._coding is None else compressor(self._coding)
        async for piece in self._export.pieces:
            data = piece if squeeze is None else await asyncio.to_thread(squeeze.compress, piece)
            await self._hand_over(send, gone, data)
            if gone.done():
                return
        if squeeze is not None:
            await self._hand_over(send, gone, squeeze.flush())

    async def _hand_over(self, send: Send, gone: "asyncio.Task[None]", data: bytes) -> None:
        for start in range(0, len(data), _PART):
            if gone.done():
                return
            async with asyncio.timeout(self._patience):
                await send({"type": "http.response.body", "body": data[start : start + _PART], "more_body": True})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
