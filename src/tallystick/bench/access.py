"""What recording a read costs: the same reads of a process that records them and of one that does not, in turns."""

import asyncio
import secrets
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from itertools import cycle, islice
from typing import Any, Final
from urllib.parse import urlencode

import asyncpg
import orjson

from tallystick.bench.answers import Answers
from tallystick.bench.arriving import UNANSWERED, arriving
from tallystick.bench.closedloop import send_for
from tallystick.bench.indexing import not_indexed_yet
from tallystick.bench.instance import Instance, ensure_tenants, token_for
from tallystick.bench.openloop import send_at
from tallystick.bench.payloads import Payloads
from tallystick.bench.report import Check, Figure, Latency, Report, median_of, ratio, under
from tallystick.bench.requests import Request, get, post
from tallystick.bench.unrecorded import SIDES, Door, Side, both_doors
from tallystick.bench.usage import Groups, Meter
from tallystick.errors import ConfigurationError

EVENTS: Final = 50_000
"""That are there to be read."""

TENANT: Final = "bench-access"
NEWEST: Final = "newest 50"
BY_ID: Final = "by id"
SEARCH: Final = "search for words"
KINDS: Final = (NEWEST, BY_ID, SEARCH)
CONTROL: Final = "append, which nobody records"
"""What must cost the same on both sides. It also tells what a commit takes on this machine."""

CLIENTS: Final = (1, 8, 32)

TARGET_MS: Final = 3.0
"""What recording may add to the median of a read."""

_TITLES: Final[Mapping[Side, str]] = {"unrecorded": "not recorded", "recorded": "recorded"}
_PAGE: Final = 50
_BULK: Final = 500
_SAMPLE: Final = 200
_WARM_UP_SECONDS: Final = 0.5
"""Or half of what is measured, where that is less."""

_BESIDE_READS: Final = 48.0
"""Reads a second beside arrivals, of the three kinds in turn: what leaves them most of the machine."""

_BESIDE_CLIENTS: Final = 32
_FEW: Final = 500
"""Events that are not indexed yet and do not busy the worker."""

_LOOK_SECONDS: Final = 0.1
_PATIENCE_SECONDS: Final = 120.0
_COUNT_INTENTS: Final = """
select count(*)
  from tallystick.events
 where log_id = (select id from tallystick.logs where tenant_id = $1 and name = 'access')
   and body::jsonb -> 'metadata' ->> 'phase' = 'intent' and body::jsonb ->> 'user_id' = $2"""

Measure = Callable[[Door], Awaitable[Sequence[Figure]]]


@dataclass(frozen=True, slots=True)
class AccessPlan:
    """How the measurement goes.

    Attributes:
        events: Events to read, stored before.
        seconds: Of each kind of read by so many clients, on each side, in each round.
        rounds: Repetitions; medians count.
        rate: Events a second that arrive beside reads.
    """

    events: int
    seconds: float
    rounds: int
    rate: float


async def access(instance: Instance, plan: AccessPlan, progress: Callable[[int, int], None]) -> Report:
    """Measure reads with and without their recording, alone and while events arrive.

    Args:
        instance: The installation, beside whose API processes two more are started.
        plan: How.
        progress: Called with measurements made and those there are.

    Raises:
        ConfigurationError: A read failed, or an answer is not what it must be.
    """
    url = instance.postgres().url
    reader = f"benchmark-reader-{secrets.token_hex(4)}"  # its own, so that its intents can be counted
    ensure_tenants(instance, [TENANT])
    stored = await asyncio.to_thread(_store, instance, plan.events)
    reads = _Reads(instance, plan, token_for(instance, [TENANT], reader), stored)
    measurements = reads.measurements()
    figures: dict[str, dict[Side, list[Figure]]] = {}
    done = 0
    with both_doors(instance) as doors:
        for turn in range(plan.rounds):
            for measure in measurements:
                # A B, then B A: neither is always first.
                for side in SIDES if turn % 2 == 0 else reversed(SIDES):
                    await _settled(url)
                    for figure in await measure(doors[side]):
                        figures.setdefault(figure.name, {}).setdefault(side, []).append(figure)
                    done += 1
                    progress(done, plan.rounds * len(measurements) * len(SIDES))
        answered = reads.answered[doors["recorded"].url]
    return _report(figures, answered, await _intents(url, reader))


def _store(instance: Instance, events: int) -> list[dict[str, Any]]:
    """Store events to be read; returns the newest of them, as a reader gets them."""
    payloads = Payloads(seed=61)
    with instance.client() as client:
        for begin in range(0, events, _BULK):
            body = payloads.bulk(TENANT, min(_BULK, events - begin))
            answer = client.post("/logs/bulk", content=body, headers={"Content-Type": "application/json"})
            if answer.status_code != 201:
                raise ConfigurationError(f"POST /logs/bulk is refused: {answer.status_code} {answer.text}")
        answer = client.get("/logs", params={"tenant_id": TENANT, "limit": _SAMPLE})
        if not answer.is_success:
            raise ConfigurationError(f"GET /logs is refused: {answer.status_code} {answer.text}")
        return answer.json()["items"]


async def _settled(url: str) -> None:
    """Wait until the worker has followed what the last measurement left, so that the next does not pay for it."""
    until = time.monotonic() + _PATIENCE_SECONDS
    while await not_indexed_yet(url) > _FEW:
        if time.monotonic() > until:
            raise ConfigurationError("the worker does not get on with the index (see logs/worker.log)")
        await asyncio.sleep(_LOOK_SECONDS)


async def _intents(url: str, reader: str) -> int:
    """How many reads of somebody were recorded."""
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(_COUNT_INTENTS, TENANT, reader, timeout=600)
    finally:
        await connection.close()


@dataclass(slots=True)
class _Reads:
    """Asks either process the same.

    Attributes:
        answered: How many reads each answered, by its URL.
    """

    instance: Instance
    plan: AccessPlan
    token: str
    stored: Sequence[Mapping[str, Any]]
    answered: dict[str, int] = field(default_factory=dict[str, int])

    def measurements(self) -> list[Measure]:
        """Everything that is measured once on each side in each round."""
        reads = [self._alone(kind, clients) for clients in CLIENTS for kind in KINDS]
        return [self._alone(CONTROL, 1), *reads, self._beside]

    def _requests(self, kind: str, url: str) -> list[Request]:
        if kind == NEWEST:
            query = urlencode({"tenant_id": TENANT, "limit": _PAGE})
            return [get(url, f"/api/v1/logs?{query}", self.token, kind)]
        if kind == BY_ID:
            return [get(url, f"/api/v1/logs/{each['id']}?tenant_id={TENANT}", self.token, kind) for each in self.stored]
        if kind == CONTROL:
            events = Payloads(seed=67).many(TENANT, _SAMPLE)
            return [post(url, "/api/v1/logs", self.token, orjson.dumps(event), kind) for event in events]
        notes = [each["message"].partition(": ")[2] for each in self.stored]
        bodies = [orjson.dumps({"tenant_id": TENANT, "q": f'"{note}"', "limit": _PAGE}) for note in notes]
        return [post(url, "/api/v1/logs/search", self.token, body, kind, expect=200) for body in bodies]

    def _groups(self, door: Door) -> Groups:
        return {**self.instance.groups(), "api": [door.pid]}

    def _count(self, door: Door, answers: Answers) -> None:
        number = sum(len(times) for kind, times in answers.seconds.items() if kind != CONTROL)
        self.answered[door.url] = self.answered.get(door.url, 0) + number

    def _alone(self, kind: str, clients: int) -> Measure:
        name = f"{kind}, {clients} {'client' if clients == 1 else 'clients'}"

        async def measure(door: Door) -> Sequence[Figure]:
            warming = min(_WARM_UP_SECONDS, self.plan.seconds / 2)
            requests = cycle(self._requests(kind, door.url))
            warm = await send_for(door.url, requests, seconds=warming, connections=clients, judge=_flaw_of)
            meter = Meter(self._groups(door))
            meter.start()
            answers = await send_for(door.url, requests, seconds=self.plan.seconds, connections=clients, judge=_flaw_of)
            cpu = meter.stop()
            for each in (warm, answers):
                each.insist()
                self._count(door, each)
            times = answers.seconds[kind]
            rate = len(times) / answers.elapsed
            facts = {"api_cpu_ms": 1000 * cpu["api"] / rate}
            return [Figure(name, rate, answers.elapsed, len(times), Latency.of(times), cpu=cpu, facts=facts)]

        return measure

    async def _beside(self, door: Door) -> Sequence[Figure]:
        """Reads at a constant rate while events of the same tenant arrive at the same process."""
        seconds = 2 * self.plan.seconds
        kinds = [cycle(self._requests(kind, door.url)) for kind in KINDS]
        requests = [next(kind) for kind in islice(cycle(kinds), int(seconds * _BESIDE_READS))]
        served = replace(self.instance, url=door.url)
        async with AsyncExitStack() as stack:
            arrivals = await stack.enter_async_context(
                arriving(served, [TENANT], rate=self.plan.rate, seconds=seconds + 2 * _WARM_UP_SECONDS)
            )
            await asyncio.sleep(_WARM_UP_SECONDS)
            answers = await send_at(door.url, requests, rate=_BESIDE_READS, connections=_BESIDE_CLIENTS, judge=_flaw_of)
        late = answers.failures.pop(UNANSWERED, 0)
        answers.insist()
        self._count(door, answers)
        beside = f"beside {self.plan.rate:,.0f} events/s"
        figures = [
            Figure(
                f"{kind}, {beside}",
                len(times) / answers.elapsed,
                answers.elapsed,
                len(times),
                Latency.of(times),
                facts={"unanswered": late},
            )
            for kind, times in answers.seconds.items()
        ]
        return [*figures, arrivals.figure]


def _flaw_of(request: Request, body: bytes) -> str | None:
    """What is wrong with an answer: a page must have items, an event its place."""
    begins = {BY_ID: b'{"seq":', CONTROL: b"{"}.get(request.kind, b'{"items":[{')
    return None if body.startswith(begins) else "empty"


def _report(figures: Mapping[str, Mapping[Side, Sequence[Figure]]], answered: int, intents: int) -> Report:
    shown: list[Figure] = []
    checks = [
        Check(
            "each read of the recording process is recorded once, and none of the other's",
            intents == answered,
            f"{answered:,} answered, {intents:,} recorded",
        )
    ]
    ratios: dict[str, float] = {}
    for name, sides in figures.items():
        without, recorded = (median_of(sides[side]) for side in SIDES)
        added = _added(sides)
        shown += [
            replace(without, name=f"{name}: {_TITLES['unrecorded']}"),
            replace(
                recorded,
                name=f"{name}: {_TITLES['recorded']}",
                facts={**recorded.facts, "added_p50_ms": added[0], "added_p99_ms": added[1]},
            ),
        ]
        if name.startswith(KINDS):
            checks.append(under(f"{name}: added by the record to p50, ms", added[0], TARGET_MS))
            if "client" in name:
                ratios[f"{name}: reads a second, recorded to not"] = ratio(recorded, without)
    return Report("access", tuple(shown), tuple(checks), ratios)


def _added(sides: Mapping[Side, Sequence[Figure]]) -> tuple[float, float]:
    """By how much the recorded p50 and p99 are above the others: round by round, then the median."""
    pairs = [
        (one.latency, other.latency)
        for one, other in zip(sides["recorded"], sides["unrecorded"], strict=True)
        if one.latency is not None and other.latency is not None
    ]
    return (
        statistics.median(one.p50 - other.p50 for one, other in pairs),
        statistics.median(one.p99 - other.p99 for one, other in pairs),
    )
