"""Clients that wait for their answers, and answers that are looked at."""

from itertools import cycle

import pytest

from canned_answers import CHUNKED, OK, REFUSED, serving
from tallystick.bench.closedloop import send_for
from tallystick.bench.requests import Request, get
from tallystick.errors import ConfigurationError


async def test_each_connection_waits_for_its_answer() -> None:
    async with serving(lambda _: OK, seconds=0.02) as url:
        answers = await send_for(url, cycle([get(url, "/", "token", "read")]), seconds=0.2, connections=2)
    answers.insist()
    assert 2 <= len(answers.seconds["read"]) <= 2 * 11, "a connection sends one every 20 ms at most"
    assert min(answers.seconds["read"]) >= 0.02
    assert answers.elapsed >= 0.2


async def test_the_whole_body_is_judged_and_a_flaw_is_no_success() -> None:
    def judge(_request: Request, body: bytes) -> str | None:
        return "not what it must be" if body == b"okyes" else None

    async with serving(lambda _: CHUNKED) as url:
        requests = cycle([get(url, "/", None, "read")])
        answers = await send_for(url, requests, seconds=0.05, connections=1, judge=judge)
    assert not answers.seconds
    assert set(answers.flaws) == {("read", "not what it must be")}
    with pytest.raises(ConfigurationError, match="of read: not what it must be"):
        answers.insist()


async def test_other_statuses_are_failures_and_are_not_judged() -> None:
    async with serving(lambda _: REFUSED) as url:
        requests = cycle([get(url, "/", None, "read")])
        answers = await send_for(url, requests, seconds=0.05, connections=1, judge=lambda _request, _body: "judged")
    assert set(answers.failures) == {("read", 503)}
    assert not answers.flaws


async def test_a_connection_that_nobody_takes_is_a_failure() -> None:
    async with serving(lambda _: OK) as url:
        pass
    answers = await send_for(url, iter([get(url, "/", None, "read")] * 1_000), seconds=0.01, connections=1)
    assert set(answers.failures) == {("read", 0)}
