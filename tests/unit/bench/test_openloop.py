"""Requests at a constant rate: a slow server must show in the figures of those who waited."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import pytest

from tallystick.bench.openloop import Answers, Request, get, post, send_at
from tallystick.errors import ConfigurationError

Respond = Callable[[bytes], bytes]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n3;x=y\r\nyes\r\n0\r\n\r\n"
CLOSING = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
REFUSED = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


@asynccontextmanager
async def serving(respond: Respond, seconds: float = 0.0) -> AsyncGenerator[str]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next((int(x[15:]) for x in head.lower().split(b"\r\n") if x.startswith(b"content-length:")), 0)
                body = await reader.readexactly(length)
                if seconds:
                    await asyncio.sleep(seconds)
                answer = respond(head + body)
                writer.write(answer)
                if b"close" in answer:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def reads(url: str, count: int) -> list[Request]:
    return [get(url, f"/{number}", "token", "even" if number % 2 == 0 else "odd") for number in range(count)]


@pytest.mark.parametrize("answer", [OK, CHUNKED, CLOSING])
async def test_every_request_is_answered_and_counted_under_its_kind(answer: bytes) -> None:
    async with serving(lambda _: answer) as url:
        answers = await send_at(url, reads(url, 40), rate=400, connections=4)
    answers.insist()
    assert {kind: len(times) for kind, times in answers.seconds.items()} == {"even": 20, "odd": 20}


async def test_a_wait_for_a_free_connection_counts() -> None:
    async with serving(lambda _: OK, seconds=0.05) as url:
        answers = await send_at(url, reads(url, 10), rate=1000, connections=1)
    slowest = max(time for times in answers.seconds.values() for time in times)
    assert slowest > 9 * 0.05, "ten answers of 50 ms over one connection: the last was due half a second before"


async def test_requests_are_sent_when_they_are_due() -> None:
    async with serving(lambda _: OK) as url:
        answers = await send_at(url, reads(url, 50), rate=200, connections=8)
    assert answers.elapsed >= 49 / 200


async def test_posts_carry_their_body_and_must_be_created() -> None:
    received: list[bytes] = []

    def respond(request: bytes) -> bytes:
        received.append(request)
        return OK.replace(b"200 OK", b"201 Created")

    async with serving(respond) as url:
        answers = await send_at(url, [post(url, "/logs", "token", b'{"a":1}', "write")], rate=100, connections=1)
    answers.insist()
    assert received[0].endswith(b'\r\n\r\n{"a":1}')
    assert b"Authorization: Bearer token\r\n" in received[0]


async def test_other_statuses_are_failures() -> None:
    async with serving(lambda _: REFUSED) as url:
        answers = await send_at(url, reads(url, 2), rate=100, connections=1)
    assert answers.failures == {("even", 503): 1, ("odd", 503): 1}
    with pytest.raises(ConfigurationError, match="1 of even: 503"):
        answers.insist()


async def test_requests_that_stay_unanswered_are_failures() -> None:
    async with serving(lambda _: OK, seconds=30) as url:
        answers = await send_at(url, reads(url, 3), rate=1000, connections=3, grace=0.2)
    assert answers.failures == {("unanswered", 0): 3}


def test_answers_of_the_expected_status_are_no_failures() -> None:
    answers = Answers()
    answers.count(Request("x", b"", expect=201), 201, 0.5)
    answers.insist()
    assert answers.seconds == {"x": [0.5]}
