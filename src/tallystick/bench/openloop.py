"""Requests at a constant rate, due whether or not the earlier ones were answered: a slow answer delays nobody's clock.

A closed loop sends less when the server is slow, and so hides the very waits it should show (coordinated omission).
Here each response time counts from the moment the request was due, its wait for a free connection included. Written for
hundreds of requests a second, not for thousands: it shares the machine with the server.
"""

import asyncio
import time
from collections.abc import Iterable

from tallystick.bench.answers import Answers, Judge, any_body
from tallystick.bench.requests import Connection, Request


async def send_at(
    url: str,
    requests: Iterable[Request],
    *,
    rate: float,
    connections: int,
    grace: float = 30.0,
    judge: Judge = any_body,
) -> Answers:
    """Send requests, one every ``1 / rate`` seconds.

    Args:
        url: Where to; only host and port count.
        requests: In the order of sending; made before the clock starts.
        rate: Requests a second.
        connections: Keep-alive connections over which they go, each one request at a time.
        grace: Seconds after the last due moment within which all must be answered, else they count as failed.
        judge: Looks at each successful answer as soon as it is there.
    """
    prepared = list(requests)
    answers = Answers()
    due: asyncio.Queue[tuple[float, Request]] = asyncio.Queue()
    clock = time.perf_counter
    pending = len(prepared)
    finished = asyncio.Event()

    async def work() -> None:
        nonlocal pending
        connection = Connection(url)
        try:
            while True:
                moment, request = await due.get()
                answer = await connection.exchange(request)
                answers.count(request, answer, clock() - moment, judge)
                pending -= 1
                if pending == 0:
                    finished.set()
        finally:
            connection.close()

    workers = [asyncio.create_task(work()) for _ in range(connections)]
    begin = answers.began = clock() + 0.05
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
