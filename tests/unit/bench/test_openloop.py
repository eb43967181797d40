"""Requests at a constant rate: a slow server must show in the figures of those who waited."""

import pytest

from canned_answers import CHUNKED, CLOSING, OK, REFUSED, serving
from tallystick.bench.answers import Answers
from tallystick.bench.openloop import send_at
from tallystick.bench.requests import Answer, Request, get, post
from tallystick.errors import ConfigurationError


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
    answers.count(Request("x", b"", expect=201), Answer(201, b""), 0.5)
    answers.insist()
    assert answers.seconds == {"x": [0.5]}
