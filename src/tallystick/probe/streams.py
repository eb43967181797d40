"""Probes a stream: whether it opens for another tenant, and whether another's events are sent on one's own."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Final
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


async def received_until(stream: ClientConnection, word: str, patience: float) -> tuple[bytes, bool]:
    """Everything that a stream sends until a word is in it, and whether that came in time."""
    received = bytearray()
    with suppress(TimeoutError, ConnectionClosed):
        async with asyncio.timeout(patience):
            while len(received) < _MOST_BYTES:
                frame = _bytes(await stream.recv())
                received += frame
                if holds(frame, word):  # events are whole in a frame, and all that came may be much
                    return bytes(received), True
    return bytes(received), False


def _bytes(frame: str | bytes) -> bytes:
    return frame.encode() if isinstance(frame, str) else frame
