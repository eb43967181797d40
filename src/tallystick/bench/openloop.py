"""Requests at a constant rate, due whether or not the earlier ones were answered: a slow answer delays nobody's clock.

A closed loop sends less when the server is slow, and so hides the very waits it should show (coordinated omission).
Here each response time counts from the moment the request was due, its wait for a free connection included. Written for
hundreds of requests a second, not for thousands: it shares the machine with the server.
"""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from tallystick.errors import ConfigurationError

_LENGTH: Final = b"content-length:"
_CHUNKED: Final = b"transfer-encoding: chunked"


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


def get(url: str, target: str, token: str, kind: str) -> Request:
    """Form a GET.

    Args:
        url: The server's URL.
        target: Path and query.
        token: Bearer token.
        kind: What it is counted under.
    """
    host = urlsplit(url).netloc
    return Request(kind, f"GET {target} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n".encode())


def post(url: str, target: str, token: str, body: bytes, kind: str) -> Request:
    """Form a POST of a JSON body, which must be answered 201."""
    head = (
        f"POST {target} HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return Request(kind, head.encode() + body, expect=201)


@dataclass(slots=True)
class Answers:
    """What came back.

    Attributes:
        seconds: Response times by kind, of successes only.
        failures: Answers of another status than expected, by kind and status; status 0 is a broken connection.
        elapsed: Seconds from the first due moment to the last answer.
    """

    seconds: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    failures: dict[tuple[str, int], int] = field(default_factory=dict[tuple[str, int], int])
    elapsed: float = 0.0

    def count(self, request: Request, status: int, seconds: float) -> None:
        """Note one answer."""
        if status == request.expect:
            self.seconds.setdefault(request.kind, []).append(seconds)
        else:
            key = (request.kind, status)
            self.failures[key] = self.failures.get(key, 0) + 1

    def insist(self) -> None:
        """Refuse figures with failures in them.

        Raises:
            ConfigurationError: There was one.
        """
        if self.failures:
            listed = ", ".join(f"{count} of {kind}: {status}" for (kind, status), count in self.failures.items())
            raise ConfigurationError(f"requests failed ({listed}): these figures are worth nothing")


class _Connection:
    """One keep-alive connection that sends a request and reads its answer to the end."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def exchange(self, raw: bytes) -> int:
        """Send and read; returns the status, 0 when the connection broke."""
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection(self._host, self._port, limit=1 << 24)
            reader, writer = self._streams
            writer.write(raw)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            status = int(head[9:12])
            if _CHUNKED in head:
                while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
                    await reader.readexactly(size + 2)
                await reader.readexactly(2)
            elif (begin := head.find(_LENGTH)) >= 0:
                end = head.index(b"\r\n", begin)
                await reader.readexactly(int(head[begin + len(_LENGTH) : end]))
            if b"connection: close" in head:
                self.close()
        except (OSError, asyncio.IncompleteReadError, ValueError):
            self.close()
            return 0
        return status

    def close(self) -> None:
        """Drop the connection; the next request opens another."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def send_at(
    url: str, requests: Iterable[Request], *, rate: float, connections: int, grace: float = 30.0
) -> Answers:
    """Send requests, one every ``1 / rate`` seconds.

    Args:
        url: Where to; only host and port count.
        requests: In the order of sending; made before the clock starts.
        rate: Requests a second.
        connections: Keep-alive connections over which they go, each one request at a time.
        grace: Seconds after the last due moment within which all must be answered, else they count as failed.
    """
    prepared = list(requests)
    parts = urlsplit(url)
    answers = Answers()
    due: asyncio.Queue[tuple[float, Request]] = asyncio.Queue()
    clock = time.perf_counter
    pending = len(prepared)
    finished = asyncio.Event()

    async def work() -> None:
        nonlocal pending
        connection = _Connection(parts.hostname or "127.0.0.1", parts.port or 80)
        try:
            while True:
                moment, request = await due.get()
                status = await connection.exchange(request.raw)
                answers.count(request, status, clock() - moment)
                pending -= 1
                if pending == 0:
                    finished.set()
        finally:
            connection.close()

    workers = [asyncio.create_task(work()) for _ in range(connections)]
    begin = clock() + 0.05
    try:
        for number, request in enumerate(prepared):
            moment = begin + number / rate
            if (wait := moment - clock()) > 0:
                await asyncio.sleep(wait)
            due.put_nowait((moment, request))
        async with asyncio.timeout(grace):
            await finished.wait()
    except TimeoutError:
        answers.failures["unanswered", 0] = pending
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    answers.elapsed = clock() - begin
    return answers
