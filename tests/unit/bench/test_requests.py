"""One connection: over TLS, and with servers that close it or ask for patience."""

import ssl
from pathlib import Path

from canned_answers import CLOSING, OK, serving
from certificates import Authority
from tallystick.bench.requests import Connection, get

PATIENT = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3\r\nContent-Length: 0\r\n\r\n"
DATED = b"HTTP/1.1 503 Busy\r\nRetry-After: Sun, 29 Nov 2026 00:00:00 GMT\r\nContent-Length: 0\r\n\r\n"


async def test_a_certificate_is_checked(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    shown = authority.certificate("server").context()
    async with serving(lambda _: OK, tls=shown) as url:
        trusting = Connection(url, ssl.create_default_context(cafile=authority.file))
        assert (await trusting.exchange(get(url, "/", None, "x"))).body == b"ok"
        trusting.close()
        doubting = Connection(url)
        assert (await doubting.exchange(get(url, "/", None, "x"))).status == 0


async def test_what_a_server_asks_to_wait_is_told_where_it_is_a_number() -> None:
    answers = iter((PATIENT, DATED, OK))
    async with serving(lambda _: next(answers)) as url:
        connection = Connection(url)
        told = [(await connection.exchange(get(url, "/", None, "x"))).retry_after for _ in range(3)]
        connection.close()
    assert told == [3.0, None, None]


async def test_a_connection_that_the_server_closed_between_two_requests_costs_none() -> None:
    hangup = CLOSING.replace(b"Connection: close\r\n", b"X-Then: close\r\n")  # it closes, and does not say so
    async with serving(lambda _: hangup) as url:
        connection = Connection(url)
        for _ in range(3):
            assert (await connection.exchange(get(url, "/", None, "x"))).status == 200
            streams = connection._streams  # pyright: ignore[reportPrivateUsage] - nothing else tells of the end
            assert streams is not None
            assert await streams[0].read() == b""
        connection.close()
