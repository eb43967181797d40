"""Requests over a few connections, each sending its next one once the former is answered: clients that wait."""

import asyncio
import time
from collections.abc import Iterator
from typing import Final

from tallystick.bench.answers import Answers, Judge, any_body
from tallystick.bench.report import Figure, Latency, percentile
from tallystick.bench.requests import Connection, Request
from tallystick.bench.usage import Groups, Meter

CONNECTIONS: Final = 4
"""Clients that keep two cores busy."""


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


async def measure_answers(  # what is measured, and how
    name: str,
    url: str,
    groups: Groups,
    requests: Iterator[Request],
    *,
    seconds: float,
    warm_up: float,
    connections: int = CONNECTIONS,
    judge: Judge = any_body,
) -> Figure:
    """Measure requests of one kind by a few clients: how long an answer takes, and what CPU.

    Args:
        name: Of the figure.
        url: Where to.
        groups: Whose CPU is counted.
        requests: As of `send_for`.
        seconds: For how long.
        warm_up: Seconds of sending before it is measured.
        connections: As of `send_for`.
        judge: As of `send_for`.

    Raises:
        ConfigurationError: A request failed.
    """
    await send_for(url, requests, seconds=warm_up, connections=connections)
    meter = Meter(groups)
    meter.start()
    answers = await send_for(url, requests, seconds=seconds, connections=connections, judge=judge)
    cpu = meter.stop()
    answers.insist()
    (times,) = answers.seconds.values()
    rate = len(times) / answers.elapsed
    facts = {"p95_ms": 1000 * percentile(sorted(times), 95), "cpu_ms": 1000 * sum(cpu.values()) / rate}
    return Figure(name, rate, answers.elapsed, len(times), Latency.of(times), cpu=cpu, facts=facts)
