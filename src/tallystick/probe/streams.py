"""Probes a stream: whether it opens for another tenant, and whether another's events are sent on one's own."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Final, Self
from urllib.parse import urlencode

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from tallystick.errors import UnavailableError
from tallystick.probe.judging import holds
from tallystick.probe.model import Answer, Ask

STREAM: Final = "STREAM"
"""In place of a method."""

WAYS: Final = ("header", "subprotocol", "message")
"""How a client can bring its token."""

_MOST_BYTES: Final = 8 << 20


@asynccontextmanager
async def opened(url: str, asked: Ask, token: str | None, way: str = "header") -> AsyncGenerator[ClientConnection]:
    """A stream, open and authenticated.

    Raises:
        InvalidStatus: It was refused.
    """
    address = f"{url.replace('http', 'ws', 1)}{asked.path}?{urlencode(asked.query)}"
    headers = {"Authorization": f"Bearer {token}"} if way == "header" and token is not None else {}
    offered = [Subprotocol("tallystick.v1"), Subprotocol(f"bearer.{token}")] if way == "subprotocol" else None
    async with connect(
        address, additional_headers=headers, subprotocols=offered, compression=None, max_size=None, proxy=None
    ) as stream:
        if way == "message":
            await stream.send(json.dumps({"type": "authenticate", "token": token}))
        yield stream


async def attempt(url: str, asked: Ask, token: str | None, way: str, patience: float) -> Answer:
    """Try to open a stream: the status of its refusal, the code with which it was closed, or 101 once it told anything.

    Raises:
        UnavailableError: Neither came in time, or there was no connection.
    """
    try:
        async with asyncio.timeout(patience), opened(url, asked, token, way) as stream:
            return Answer(101, _bytes(await stream.recv()))
    except InvalidStatus as error:
        response = error.response
        head = "".join(f"{name}: {value}\n" for name, value in response.headers.raw_items()).encode()
        body = bytes(response.body or b"")
        return Answer(response.status_code, head + body, body)
    except ConnectionClosed as error:
        reason = "" if error.rcvd is None else error.rcvd.reason
        return Answer(0 if error.rcvd is None else error.rcvd.code, reason.encode())
    except (TimeoutError, OSError, InvalidHandshake) as error:
        raise UnavailableError(f"{asked.line}: {type(error).__name__}") from error


class Listener:
    """Takes in all that a stream sends until a word is in it; one that is read late is cut off as too slow.

    Args:
        stream: Open.
        word: What ends it; it stands whole in one frame.
    """

    def __init__(self, stream: ClientConnection, word: str) -> None:
        self._stream = stream
        self._word = word
        self._received = bytearray()
        self._found = False
        self._listening: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._listening = asyncio.create_task(self._listen())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)

    async def heard(self, patience: float) -> tuple[bytes, bool]:
        """Everything that came, and whether the word was in it, once it is or the seconds from now on are over."""
        if self._listening is not None:
            await asyncio.wait([self._listening], timeout=patience)
        return bytes(self._received), self._found

    async def _listen(self) -> None:
        with suppress(ConnectionClosed):
            while not self._found and len(self._received) < _MOST_BYTES:
                frame = _bytes(await self._stream.recv())
                self._received += frame
                self._found = holds(frame, self._word)


def _bytes(frame: str | bytes) -> bytes:
    return frame.encode() if isinstance(frame, str) else frame
