"""How fast events are taken: single requests beside the baseline, bulk requests beside raw COPY, in turns."""

import contextlib
import resource
import secrets
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from typing import Final

import orjson

from tallystick.bench.baseline import own_database, running_baseline
from tallystick.bench.copying import copier
from tallystick.bench.indexing import not_indexed_yet
from tallystick.bench.instance import Instance, ensure_tenants, probe
from tallystick.bench.payloads import Payloads
from tallystick.bench.proof import check_log, log_size
from tallystick.bench.report import Check, Figure, Report, Say, at_least, median_of, ratio, under
from tallystick.bench.usage import Groups, Meter
from tallystick.bench.wrk import Load, Running, send

SINGLE_CONNECTIONS: Final = 32
BULK_CONNECTIONS: Final = 4
BULK_EVENTS: Final = 500
BESIDE_EVENTS: Final = 10_000

_SINGLE: Final = "bench-single"
_BULK: Final = "bench-bulk"
_BESIDE: Final = "bench-beside-single"
_BANK: Final = 2_000
_BULK_BODIES: Final = 16
_WARM_UP: Final = 2.0
_BASELINE_DATABASE: Final = "tallystick_bench_baseline"


def single_load(url: str, token: str | None, tenant_ids: Sequence[str], seconds: float) -> Load:
    """Single requests over 32 keep-alive connections, of the tenants in turn."""
    payloads = Payloads(seed=7)
    bodies = [orjson.dumps(payloads.one(tenant_ids[number % len(tenant_ids)])) for number in range(_BANK)]
    return Load(f"{url}/api/v1/logs", bodies, unique=True, token=token, connections=SINGLE_CONNECTIONS, seconds=seconds)


def bulk_load(url: str, token: str, tenant_ids: Sequence[str], seconds: float, *, events: int = BULK_EVENTS) -> Load:
    """Bulk requests over 4 keep-alive connections, of the tenants in turn."""
    payloads = Payloads(seed=11)
    count = max(len(tenant_ids), _BULK_BODIES * BULK_EVENTS // events, 1)
    bodies = [payloads.bulk(tenant_ids[number % len(tenant_ids)], events) for number in range(count)]
    return Load(
        f"{url}/api/v1/logs/bulk", bodies, unique=False, token=token, connections=BULK_CONNECTIONS, seconds=seconds
    )


def measure(name: str, load: Load, events_each: int, groups: Callable[[], Groups]) -> Figure:
    """Send a load after a short warm-up and measure it, the CPU of all processes included.

    Args:
        name: What it is called in the report.
        load: What to send.
        events_each: Events in one request.
        groups: Finds the processes; asked after the warm-up, when the server has its connections.

    Raises:
        ConfigurationError: A request failed, unless the load counts statuses.
    """
    if not load.count_statuses:
        send(replace(load, seconds=min(_WARM_UP, load.seconds)), f"w{secrets.token_hex(3)}")
    meter = Meter(groups())
    waited = _cpu_of_children()
    with Running(load, secrets.token_hex(3)) as running:
        meter.start()
        outcome = running.wait()
        cpu = meter.stop()
    stored = outcome.requests - outcome.failed
    return Figure(
        name,
        events_per_second=stored * events_each / outcome.seconds,
        seconds=outcome.seconds,
        requests=stored,
        latency=outcome.latency,
        statuses=outcome.statuses,
        cpu={**cpu, "wrk": (_cpu_of_children() - waited) / outcome.seconds},
    )


def _cpu_of_children() -> float:
    """CPU seconds of all child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how often.

    Attributes:
        seconds: Of one repetition.
        rounds: Repetitions of each measurement, in turns with what it is compared with.
    """

    seconds: float
    rounds: int


async def single(instance: Instance, plan: Plan, say: Say, *, baseline: bool, with_bulk: bool) -> Report:
    """Measure `POST /logs` over 32 connections, in turns with the baseline and beside another tenant's large bodies."""
    ensure_tenants(instance, [_SINGLE, _BESIDE])
    load = single_load(instance.url, instance.token, [_SINGLE], plan.seconds)
    probe(instance, load.bodies[0])
    url = instance.postgres().url
    before = await log_size(url, _SINGLE)
    ours: list[Figure] = []
    theirs: list[Figure] = []
    beside: list[Figure] = []
    async with contextlib.AsyncExitStack() as stack:
        plain = await stack.enter_async_context(_baseline(instance)) if baseline else None
        for number in range(1, plan.rounds + 1):
            say(f"single POST, round {number} of {plan.rounds}")
            ours.append(measure("single POST, 32 connections", load, 1, instance.groups))
            if plain is not None:
                say(f"baseline, round {number} of {plan.rounds}")
                theirs.append(measure_baseline(plain, plan.seconds))
            if with_bulk:
                say(f"single POST beside bulk, round {number} of {plan.rounds}")
                beside.append(_beside_bulk(instance, load))
    acknowledged = sum(figure.requests for figure in (*ours, *beside))
    checks = [await check_log(url, _SINGLE, before, acknowledged)]
    figure = median_of(ours)
    checks.append(at_least("single POST, events/s", figure.events_per_second, 4_000))
    if figure.latency is not None:
        checks.append(under("single POST, p99 ms", figure.latency.p99, 50))
    figures = [figure]
    ratios: dict[str, float] = {}
    if theirs:
        figures.append(median_of(theirs))
        ratios["single POST to the baseline"] = ratio(figure, figures[-1])
        checks.append(at_least("single POST to the baseline", ratios["single POST to the baseline"], 4))
    if beside:
        figures.append(median_of(beside))
        if (latency := figures[-1].latency) is not None:
            checks.append(under("single POST beside bulk, p99 ms", latency.p99, 50))
    return Report("single", tuple(figures), tuple(checks), ratios)


def _beside_bulk(instance: Instance, load: Load) -> Figure:
    with other_bulk(instance, load.seconds) as bulk:
        figure = measure("single POST beside bodies of 10,000", load, 1, instance.groups)
        sent = bulk.stop()
    return replace(figure, facts={"bulk_events_per_second": round(sent)})


class _OtherBulk:
    """Another tenant's bodies of 10,000 events, one after the other over one connection, until stopped."""

    def __init__(self, running: Running) -> None:
        self._running = running

    def stop(self) -> float:
        """Wait for the end; events a second that it got stored."""
        outcome = self._running.wait()
        return outcome.requests * BESIDE_EVENTS / outcome.seconds


@contextmanager
def other_bulk(instance: Instance, seconds: float) -> Generator[_OtherBulk]:
    """Send another tenant's bodies of 10,000 events beside the block, for as long as it measures with its warm-up."""
    load = bulk_load(instance.url, instance.token, [_BESIDE], seconds + _WARM_UP, events=BESIDE_EVENTS)
    with Running(replace(load, connections=1), "b") as running:
        yield _OtherBulk(running)


@dataclass(frozen=True, slots=True)
class _Plain:
    url: str
    pid: int
    postgres: Callable[[], Sequence[int]]


@asynccontextmanager
async def _baseline(instance: Instance) -> AsyncGenerator[_Plain]:
    server = instance.postgres()
    async with own_database(server, _BASELINE_DATABASE) as url:
        with running_baseline(url) as (application, pid):
            yield _Plain(application, pid, lambda: instance.groups()["postgres"])


def measure_baseline(plain: _Plain, seconds: float) -> Figure:
    """Send the baseline what Tallystick is sent."""
    load = single_load(plain.url, None, [_SINGLE], seconds)
    return measure("baseline, 32 connections", load, 1, lambda: {"app": [plain.pid], "postgres": plain.postgres()})


async def baseline(instance: Instance, plan: Plan, say: Say) -> Report:
    """Measure the baseline alone."""
    async with _baseline(instance) as plain:
        figures: list[Figure] = []
        for number in range(1, plan.rounds + 1):
            say(f"baseline, round {number} of {plan.rounds}")
            figures.append(measure_baseline(plain, plan.seconds))
    return Report("baseline", (median_of(figures),))


async def bulk(instance: Instance, plan: Plan, say: Say, *, raw_copy: bool) -> Report:
    """Measure bulk requests of 500 events over 4 connections, in turns with raw COPY."""
    ensure_tenants(instance, [_BULK])
    load = bulk_load(instance.url, instance.token, [_BULK], plan.seconds)
    probe(instance, load.bodies[0], "/logs/bulk")
    server = instance.postgres()
    before = await log_size(server.url, _BULK)
    ours: list[Figure] = []
    theirs: list[Figure] = []
    async with contextlib.AsyncExitStack() as stack:
        raw = await stack.enter_async_context(copier(server)) if raw_copy else None
        for number in range(1, plan.rounds + 1):
            say(f"bulk of {BULK_EVENTS}, round {number} of {plan.rounds}")
            round_of_ours = measure(f"bulk of {BULK_EVENTS}, 4 connections", load, BULK_EVENTS, instance.groups)
            facts = {**round_of_ours.facts, "not_indexed_yet": await not_indexed_yet(server.url)}
            ours.append(replace(round_of_ours, facts=facts))
            if raw is not None:
                say(f"raw COPY, round {number} of {plan.rounds}")
                theirs.append(await raw.run(min(plan.seconds, 10)))
    checks: list[Check] = [
        await check_log(server.url, _BULK, before, sum(figure.requests for figure in ours) * BULK_EVENTS)
    ]
    figure = median_of(ours)
    checks.append(at_least("bulk, events/s", figure.events_per_second, 25_000))
    if not theirs:
        return Report("bulk", (figure,), tuple(checks))
    reference = median_of(theirs)
    return Report("bulk", (figure, reference), tuple(checks), {"bulk to raw COPY": ratio(figure, reference)})


async def copy(instance: Instance, plan: Plan, say: Say) -> Report:
    """Measure raw COPY alone."""
    async with copier(instance.postgres()) as raw:
        figures: list[Figure] = []
        for number in range(1, plan.rounds + 1):
            say(f"raw COPY, round {number} of {plan.rounds}")
            figures.append(await raw.run(plan.seconds))
    return Report("copy", (median_of(figures),))
