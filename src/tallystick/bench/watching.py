"""Clients of streams, cheap enough that hundreds of them leave the machine to the server."""

import asyncio
import base64
import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Self, cast
from urllib.parse import urlencode, urlsplit

from tallystick.errors import ConfigurationError

_TEXT, _CLOSE, _PING = 0x1, 0x8, 0x9
_NUMBER: Final = re.compile(rb'"request_id":"n(\d+)"')
_OPENING: Final = 100
"""Connections that are opened at once."""


@dataclass(slots=True)
class Receipts:
    """What all clients received.

    Attributes:
        batches: When a frame came, by `time.perf_counter`, and the numbers of its events.
        frames: Frames with events.
        closed: Streams that the server closed, by code.
    """

    batches: list[tuple[float, Sequence[int]]] = field(default_factory=list[tuple[float, Sequence[int]]])
    frames: int = 0
    closed: dict[int, int] = field(default_factory=dict[int, int])
    _seen: dict[tuple[str, bytes, int], Sequence[int]] = field(
        default_factory=dict[tuple[str, bytes, int], Sequence[int]]
    )

    def note(self, question: str, payload: bytes) -> None:
        """Note a frame; one that many clients get is looked through once."""
        now = time.perf_counter()
        if not payload.startswith(b'{"type":"events"'):
            return
        key = (question, payload[-16:], len(payload))
        numbers = self._seen.get(key)
        if numbers is None:
            numbers = self._seen[key] = [int(number) for number in _NUMBER.findall(payload)]
        self.frames += 1
        self.batches.append((now, numbers))

    @property
    def events(self) -> int:
        """Events received, each as often as it was."""
        return sum(len(numbers) for _, numbers in self.batches)


class _Client(asyncio.Protocol):
    """One stream: reads frames, answers pings (RFC 6455 §5)."""

    def __init__(self, head: bytes, question: str, receipts: Receipts, opened: "asyncio.Future[None]") -> None:
        self._head = head
        self._question = question
        self._receipts = receipts
        self._opened = opened
        self._data = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._head)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._opened.done():
            self._opened.set_exception(ConfigurationError(f"a stream was broken off before it began: {exc}"))

    def data_received(self, data: bytes) -> None:
        self._data += data
        if not self._opened.done():
            end = self._data.find(b"\r\n\r\n")
            if end < 0:
                return
            if not self._data.startswith(b"HTTP/1.1 101 "):
                said = self._data.decode(errors="replace")
                self._opened.set_exception(ConfigurationError(f"a stream was refused: {said}"))
                return
            del self._data[: end + 4]
            self._opened.set_result(None)
        while frame := self._next():
            self._take(*frame)

    def _next(self) -> tuple[int, bytes] | None:
        data = self._data
        if len(data) < 2:
            return None
        size, begin = data[1], 2
        if size == 126:
            size, begin = int.from_bytes(data[2:4], "big"), 4
        elif size == 127:
            size, begin = int.from_bytes(data[2:10], "big"), 10
        if len(data) < begin + size:
            return None
        opcode, payload = data[0] & 0x0F, bytes(data[begin : begin + size])
        del data[: begin + size]
        return opcode, payload

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == _TEXT:
            self._receipts.note(self._question, payload)
        elif opcode == _PING and self._transport is not None:
            self._transport.write(b"\x8a" + bytes((0x80 | len(payload),)) + bytes(4) + payload)  # masked with zeros
        elif opcode == _CLOSE:
            code = int.from_bytes(payload[:2], "big")
            self._receipts.closed[code] = self._receipts.closed.get(code, 0) + 1

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


@dataclass(frozen=True, slots=True)
class Watcher:
    """A stream to be opened: whose, and what it asks for."""

    token: str
    query: Mapping[str, str]


class Watchers:
    """Streams that are open until the block ends.

    Args:
        url: The server's URL.
        wanted: Which.
        receipts: Where they note what they receive.
    """

    def __init__(self, url: str, wanted: Sequence[Watcher], receipts: Receipts) -> None:
        self._url = urlsplit(url)
        self._host = self._url.hostname or "127.0.0.1"
        self._port = self._url.port or 80
        self._wanted = wanted
        self._receipts = receipts
        self._clients: list[_Client] = []

    async def __aenter__(self) -> Self:
        for start in range(0, len(self._wanted), _OPENING):
            await asyncio.gather(*map(self._open, self._wanted[start : start + _OPENING]))
        return self

    async def __aexit__(self, *_: object) -> None:
        for client in self._clients:
            client.close()

    async def _open(self, watcher: Watcher) -> None:
        loop = asyncio.get_running_loop()
        opened: asyncio.Future[None] = loop.create_future()
        query = urlencode(watcher.query)
        lines = [
            f"GET /api/v1/logs/stream?{query} HTTP/1.1",
            f"Host: {self._url.netloc}",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
            f"Authorization: Bearer {watcher.token}",
        ]
        head = "\r\n".join([*lines, "", ""]).encode()
        client = _Client(head, query, self._receipts, opened)
        self._clients.append(client)
        await loop.create_connection(lambda: client, self._host, self._port)
        await opened
