"""Requests as bytes, made before the clock starts, and a connection that sends them and reads their answers."""

import asyncio
import ssl
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, NamedTuple
from urllib.parse import urlsplit

_LENGTH: Final = b"content-length:"
_CHUNKED: Final = b"transfer-encoding: chunked"
_RETRY_AFTER: Final = b"\r\nretry-after:"
_LEAVE_SECONDS: Final = 5.0
_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Request:
    """One request, ready to be sent.

    Attributes:
        kind: What it is counted under.
        raw: All its bytes (HTTP/1.1, keep-alive).
        expect: The status that counts as success.
    """

    kind: str
    raw: bytes
    expect: int = 200


class Answer(NamedTuple):
    """What a request was answered.

    Attributes:
        status: 0 where the connection broke.
        body: Without its chunks' frames.
        retry_after: Seconds to wait before it is sent again, where the server says so.
    """

    status: int
    body: bytes
    retry_after: float | None = None


def get(url: str, target: str, token: str | None, kind: str) -> Request:
    """Form a GET.

    Args:
        url: The server's URL.
        target: Path and query.
        token: Bearer token, or None.
        kind: What it is counted under.
    """
    return Request(kind, _head("GET", url, target, token).encode() + b"\r\n")


def post(url: str, target: str, token: str, body: bytes, kind: str, *, expect: int = 201) -> Request:
    """Form a POST of a JSON body."""
    head = f"{_head('POST', url, target, token)}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return Request(kind, head.encode() + body, expect)


def _head(method: str, url: str, target: str, token: str | None) -> str:
    authorization = "" if token is None else f"Authorization: Bearer {token}\r\n"
    return f"{method} {target} HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\n{authorization}"


class Connection:
    """One keep-alive connection, opened when it is first used and anew after it broke.

    Args:
        url: The server's; only scheme, host and port count.
        tls: Whose certificates are trusted, for https; the system's without it.
    """

    def __init__(self, url: str, tls: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or "127.0.0.1"
        self._port = parts.port or _PORTS[parts.scheme]
        self._tls = (tls or True) if parts.scheme == "https" else None
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def exchange(self, request: Request) -> Answer:
        """Send a request and read its answer to the end."""
        if self._streams is not None and self._streams[0].at_eof():
            self.close()  # by the server, while nothing was on its way: no request has failed
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection(self._host, self._port, limit=1 << 24, ssl=self._tls)
            reader, writer = self._streams
            writer.write(request.raw)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            status = int(head[9:12])
            body = await _body(reader, head)
            if b"connection: close" in head:
                self.close()
        except (OSError, asyncio.IncompleteReadError, ValueError):
            self.close()
            return Answer(0, b"")
        return Answer(status, body, _retry_after(head) if status >= 400 else None)

    def close(self) -> None:
        """Drop the connection; the next request opens another."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def end(self) -> None:
        """Drop it for good, and wait until that is done: TLS takes leave of the server."""
        if self._streams is None:
            return
        writer = self._streams[1]
        self.close()
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(_LEAVE_SECONDS):
                await writer.wait_closed()


def _retry_after(head: bytes) -> float | None:
    """In seconds; a date, which RFC 9110 allows as well, counts as nothing."""
    _, found, rest = head.partition(_RETRY_AFTER)
    told = rest.partition(b"\r\n")[0].strip()
    return float(told) if found and told.isdigit() else None


async def _body(reader: asyncio.StreamReader, head: bytes) -> bytes:
    if _CHUNKED in head:
        chunks: list[bytes] = []
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            chunks.append(await reader.readexactly(size))
            await reader.readexactly(2)
        await reader.readexactly(2)
        return b"".join(chunks)
    if (begin := head.find(_LENGTH)) >= 0:
        end = head.index(b"\r\n", begin)
        return await reader.readexactly(int(head[begin + len(_LENGTH) : end]))
    return b""
