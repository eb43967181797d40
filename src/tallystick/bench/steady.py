"""Events that arrive at a constant rate until told to stop, each with the moment it was due, to look at any stretch.

They are sent by a process of its own, in an open loop: what blocks one does not delay the clock of the others.
"""

import asyncio
import multiprocessing
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from itertools import cycle, islice
from multiprocessing.connection import Connection as Pipe
from typing import Final, NamedTuple

import orjson
import uvloop

from tallystick.bench.instance import Instance
from tallystick.bench.payloads import Payloads
from tallystick.bench.report import Figure, Latency
from tallystick.bench.requests import Connection, Request, post
from tallystick.errors import ConfigurationError

_CONNECTIONS: Final = 64
_BANK: Final = 2_000
_LOOK_SECONDS: Final = 0.1
_GRACE_SECONDS: Final = 30.0
_STORED: Final = 201
_UNANSWERED: Final = 0


class Sent(NamedTuple):
    """One request.

    Attributes:
        due: When it was, by `time.perf_counter`, which all processes of a machine share.
        seconds: From then to its whole answer.
        status: Of the answer; 0 where none came.
    """

    due: float
    seconds: float
    status: int


class Writers:
    """What became of the events."""

    def __init__(self) -> None:
        self._sent: Sequence[Sent] = ()

    def end(self, sent: Sequence[Sent]) -> None:
        """Note what was sent."""
        self._sent = sent

    @property
    def stored(self) -> int:
        """How many events were acknowledged, once the block has ended."""
        return sum(each.status == _STORED for each in self._sent)

    @property
    def refused(self) -> int:
        """How many were answered otherwise."""
        return sum(each.status not in (_STORED, _UNANSWERED) for each in self._sent)

    @property
    def unanswered(self) -> int:
        """How many were not answered in time: the machine is too slow for the rate."""
        return sum(each.status == _UNANSWERED for each in self._sent)

    def between(self, name: str, begin: float, end: float) -> Figure:
        """Those that were due in a stretch of time.

        Raises:
            ConfigurationError: None was, or none was stored.
        """
        due = [each for each in self._sent if begin <= each.due < end]
        times = [each.seconds for each in due if each.status == _STORED]
        if not times:
            raise ConfigurationError(f"no event was stored: {name}")
        statuses: dict[str, int] = {}
        for each in due:
            if each.status != _STORED:
                statuses[str(each.status)] = statuses.get(str(each.status), 0) + 1
        seconds = end - begin
        return Figure(name, len(times) / seconds, seconds, len(times), Latency.of(times), statuses)


@asynccontextmanager
async def writing_steadily(instance: Instance, tenant_ids: Sequence[str], rate: float) -> AsyncGenerator[Writers]:
    """Store events of tenants in turn, a request each, so many a second, while the block runs.

    Raises:
        ConfigurationError: The process that sends them died.
    """
    payloads = Payloads(seed=71)
    bank = [
        post(instance.url, "/api/v1/logs", instance.token, orjson.dumps(payloads.one(tenant_id)), "steady")
        for tenant_id in islice(cycle(tenant_ids), max(_BANK, len(tenant_ids)))
    ]
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_run, args=(theirs, instance.url, bank, rate), daemon=True)
    process.start()
    theirs.close()
    writers = Writers()
    try:
        yield writers
        ours.send(None)
        writers.end(await asyncio.to_thread(_take, ours))
        await asyncio.to_thread(process.join, _GRACE_SECONDS)
    finally:
        process.kill()
        process.join()


def _take(pipe: Pipe) -> list[Sent]:
    try:
        return [Sent(*each) for each in pipe.recv()]
    except EOFError:
        raise ConfigurationError("the process that sends events died: these figures are worth nothing") from None


def _run(pipe: Pipe, url: str, bank: list[Request], rate: float) -> None:
    pipe.send(uvloop.run(_send(pipe, url, bank, rate)))


async def _send(pipe: Pipe, url: str, bank: list[Request], rate: float) -> list[tuple[float, float, int]]:
    """Send until the other end says so, or is gone."""
    clock = time.perf_counter
    due: asyncio.Queue[tuple[float, Request]] = asyncio.Queue()
    sent: list[tuple[float, float, int]] = []

    async def work() -> None:
        connection = Connection(url)
        try:
            while True:
                moment, request = await due.get()
                answer = await connection.exchange(request)
                sent.append((moment, clock() - moment, answer.status))
                due.task_done()
        finally:
            connection.close()

    workers = [asyncio.create_task(work()) for _ in range(_CONNECTIONS)]
    begin = looked = clock()
    for number, request in enumerate(cycle(bank)):
        moment = begin + number / rate
        if (wait := moment - clock()) > 0:
            await asyncio.sleep(wait)
        due.put_nowait((moment, request))
        if moment - looked >= _LOOK_SECONDS:
            looked = moment
            if pipe.poll():
                break
    try:
        async with asyncio.timeout(_GRACE_SECONDS):
            await due.join()
    except TimeoutError:
        unanswered = [due.get_nowait()[0] for _ in range(due.qsize())]
        sent += [(moment, clock() - moment, _UNANSWERED) for moment in unanswered]
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    return sent
