"""Requests over a few connections, each sending its next one once the former is answered: clients that wait."""

import asyncio
import time
from collections.abc import Iterator

from tallystick.bench.answers import Answers, Judge, any_body
from tallystick.bench.requests import Connection, Request


async def send_for(
    url: str, requests: Iterator[Request], *, seconds: float, connections: int, judge: Judge = any_body
) -> Answers:
    """Send requests for some seconds.

    Args:
        url: Where to; only host and port count.
        requests: Endless; each is taken once.
        seconds: After which no more are sent; those on their way are waited for.
        connections: Keep-alive connections, each with one request at a time.
        judge: Looks at each successful answer, after its clock has stopped.
    """
    answers = Answers()
    clock = time.perf_counter
    begin = clock()

    async def work() -> None:
        connection = Connection(url)
        try:
            while (sent := clock()) < begin + seconds:
                request = next(requests)
                answer = await connection.exchange(request)
                answers.count(request, answer, clock() - sent, judge)
        finally:
            connection.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(work())
    answers.elapsed = clock() - begin
    return answers
