"""Events that arrive at a constant rate beside what is measured, sent by a process of their own."""

import asyncio
import multiprocessing
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from itertools import cycle, islice
from typing import Final

import orjson
import uvloop

from tallystick.bench.answers import Answers
from tallystick.bench.instance import Instance
from tallystick.bench.openloop import send_at
from tallystick.bench.payloads import Payloads
from tallystick.bench.report import Figure, Latency
from tallystick.bench.requests import Request, post
from tallystick.log.turns import PER_CLIENT

ARRIVALS: Final = "events that arrive"

RATE: Final = 1_000
"""Events a second."""

UNANSWERED: Final = ("unanswered", 0)
"""What was due and not answered in time, as failures count it: the server is too slow for the rate."""

_CONNECTIONS: Final = 32
_BANK: Final = 2_000


class Arrivals:
    """What became of the events."""

    def __init__(self) -> None:
        self._figure: Figure | None = None

    def end(self, figure: Figure) -> None:
        """Note what was measured."""
        self._figure = figure

    @property
    def figure(self) -> Figure:
        """Their rate and latency, once the block has ended."""
        if self._figure is None:
            raise RuntimeError("events still arrive")
        return self._figure


@asynccontextmanager
async def arriving(
    instance: Instance, tenant_ids: Sequence[str], *, rate: float, seconds: float, together: int = 1
) -> AsyncGenerator[Arrivals]:
    """Send events of tenants in turn while the block runs, for so many seconds at least.

    Args:
        instance: Where to.
        tenant_ids: Each request is of the next.
        rate: Events a second.
        seconds: For how long.
        together: Events of a request; one is sent alone, more as an array, over as many connections as a client may
            have bulk requests on their way.

    Raises:
        ConfigurationError: A request was refused.
    """
    payloads = Payloads(seed=31)

    def request_of(tenant_id: str) -> Request:
        if together == 1:
            body = orjson.dumps(payloads.one(tenant_id))
            return post(instance.url, "/api/v1/logs", instance.token, body, "arrivals")
        return post(instance.url, "/api/v1/logs/bulk", instance.token, payloads.bulk(tenant_id, together), "arrivals")

    bank = [request_of(tenant_id) for tenant_id in islice(cycle(tenant_ids), max(_BANK // together, len(tenant_ids)))]
    arrivals = Arrivals()
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as processes:
        sending = asyncio.get_running_loop().run_in_executor(
            processes,
            _send,
            instance.url,
            bank,
            rate / together,
            seconds,
            _CONNECTIONS if together == 1 else PER_CLIENT,
        )
        yield arrivals
        answers = await sending
    late = answers.failures.pop(UNANSWERED, 0)
    answers.insist()
    times = answers.seconds["arrivals"]
    facts = {"wanted": rate, "together": together, "unanswered": late}
    count = len(times)
    per_second = count * together / answers.elapsed
    arrivals.end(Figure(ARRIVALS, per_second, answers.elapsed, count, Latency.of(times), facts=facts))


def _send(url: str, bank: list[Request], rate: float, seconds: float, connections: int) -> Answers:
    requests = islice(cycle(bank), int(seconds * rate))
    return uvloop.run(send_at(url, requests, rate=rate, connections=connections))
