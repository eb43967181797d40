"""Many tenants at once, one tenant that floods, and memory under a queue that is always full."""

import asyncio
import secrets
import time
from dataclasses import replace
from itertools import cycle, islice
from typing import Final

import asyncpg
import orjson

from tallystick.bench.answers import Answers
from tallystick.bench.instance import Instance, ensure_tenants, token_for
from tallystick.bench.openloop import send_at
from tallystick.bench.payloads import Payloads
from tallystick.bench.proof import check_log, log_size
from tallystick.bench.report import Check, Figure, Latency, Report, Say, at_least, median_of, ratio, under
from tallystick.bench.requests import post
from tallystick.bench.usage import sampled_memory
from tallystick.bench.writing import BULK_EVENTS, Plan, bulk_load, measure, single_load
from tallystick.bench.wrk import Load, Running

ACTIVE: Final = 100
FLOOD_CONNECTIONS: Final = 64
"""Of bulk requests: 32,000 events at once, more than the queue of a process holds."""

TENFOLD_CONNECTIONS: Final = 180
"""So many it takes to offer ten times what the server can take: each refusal comes a quarter of a second later."""

_FLOODING: Final = "bench-flooding"
_QUIET: Final = 10
_QUIET_RATE: Final = 200.0
_LEAD_SECONDS: Final = 2.0


async def tenants(instance: Instance, plan: Plan, say: Say, *, count: int) -> Report:
    """Measure writes with one tenant, then with many of whom a hundred are active at once."""
    names = [f"bench-tenant-{number:04d}" for number in range(count)]
    active = names[: min(ACTIVE, count)]
    ensure_tenants(instance, names[:1])
    alone = _loads(instance, names[:1], plan.seconds)
    crowd = _loads(instance, active, plan.seconds)
    first = names[0]
    url = instance.postgres().url
    before = await log_size(url, first)
    bare = [_repeated(instance, plan, f"{what}, the only tenant", load, each, say) for what, load, each in alone]
    say(f"making {count:,} tenants")
    ensure_tenants(instance, names[1:])
    figures: list[Figure] = [*bare]
    ratios: dict[str, float] = {}
    checks: list[Check] = []
    acknowledged = sum(figure.requests * each for figure, (_, _, each) in zip(bare, alone, strict=True))
    for only, (what, load, each), (_, crowded, _) in zip(bare, alone, crowd, strict=True):
        one = _repeated(instance, plan, f"{what}, one of {count:,} tenants", load, each, say)
        many = _repeated(instance, plan, f"{what}, {len(active)} of {count:,} tenants", crowded, each, say)
        acknowledged += one.requests * each
        figures += [one, many]
        for name, figure in ((f"{what}: one of {count:,} tenants to the only one", one), (many.name, many)):
            ratios[name] = ratio(figure, only)
            checks.append(at_least(name, ratios[name], 0.8))
    checks.insert(0, await check_log(url, first, before, acknowledged))
    return Report("tenants", tuple(figures), tuple(checks), ratios)


def _loads(instance: Instance, names: list[str], seconds: float) -> tuple[tuple[str, Load, int], ...]:
    return (
        ("single POST", single_load(instance.url, instance.token, names, seconds), 1),
        ("bulk of 500", bulk_load(instance.url, instance.token, names, seconds), BULK_EVENTS),
    )


def _repeated(instance: Instance, plan: Plan, name: str, load: Load, each: int, say: Say) -> Figure:
    figures: list[Figure] = []
    for number in range(1, plan.rounds + 1):
        say(f"{name}, round {number} of {plan.rounds}")
        figures.append(measure(name, load, each, instance.groups))
    return median_of(figures)


def flood_load(instance: Instance, seconds: float, connections: int = FLOOD_CONNECTIONS) -> Load:
    """More bulk requests of one tenant than the server can take; refusals are counted, not failures."""
    token = token_for(instance, [_FLOODING], "benchmark-flood")
    load = bulk_load(instance.url, token, [_FLOODING], seconds)
    return replace(load, connections=connections, count_statuses=True)


async def _quiet(instance: Instance, names: list[str], seconds: float) -> Answers:
    """Single requests of other tenants at a low constant rate."""
    payloads = Payloads(seed=23)
    token = token_for(instance, names, "benchmark-quiet")
    bodies = (orjson.dumps(payloads.one(name)) for name in cycle(names))
    requests = [
        post(instance.url, "/api/v1/logs", token, body, "quiet") for body in islice(bodies, int(seconds * _QUIET_RATE))
    ]
    return await send_at(instance.url, requests, rate=_QUIET_RATE, connections=32)


def _quiet_figure(name: str, answers: Answers) -> Figure:
    times = answers.seconds.get("quiet", [])
    latency = Latency.of(times) if times else None
    statuses = {str(status): count for (_, status), count in answers.failures.items()}
    return Figure(name, len(times) / answers.elapsed, answers.elapsed, len(times), latency, statuses)


async def _settle(instance: Instance) -> None:
    """Bring a new server to its steady state, in which write-ahead log files are used again.

    While each is made anew, every 16 MiB, all commits wait for it: 60 ms, whoever writes.
    """
    connection = await asyncpg.connect(instance.postgres().admin)
    try:
        await connection.execute("checkpoint")
    finally:
        await connection.close()


async def noisy(instance: Instance, plan: Plan, say: Say) -> Report:
    """Measure what other tenants feel of one that offers ten times what the server can take."""
    names = [f"bench-quiet-{number}" for number in range(_QUIET)]
    ensure_tenants(instance, [*names, _FLOODING])
    say("bulk capacity")
    capacity = measure(
        "bulk of 500, 4 connections",
        bulk_load(instance.url, token_for(instance, [_FLOODING], "benchmark-flood"), [_FLOODING], plan.seconds),
        BULK_EVENTS,
        instance.groups,
    )
    calm: list[Figure] = []
    crowded: list[Figure] = []
    floods: list[Figure] = []
    offers: list[float] = []
    for number in range(1, plan.rounds + 1):
        await _settle(instance)
        say(f"ten tenants alone, round {number} of {plan.rounds}")
        calm.append(_quiet_figure("ten tenants, 200 events/s, alone", await _quiet(instance, names, plan.seconds)))
        say(f"ten tenants beside one that floods, round {number} of {plan.rounds}")
        load = flood_load(instance, plan.seconds + 2 * _LEAD_SECONDS, TENFOLD_CONNECTIONS)
        with Running(load, secrets.token_hex(3), apart=True) as running:
            await asyncio.sleep(_LEAD_SECONDS)
            answers = await _quiet(instance, names, plan.seconds)
            outcome = running.wait()
        crowded.append(_quiet_figure("ten tenants, 200 events/s, beside one that floods", answers))
        offers.append(outcome.requests * BULK_EVENTS / outcome.seconds / capacity.events_per_second)
        floods.append(
            Figure(
                "the flood",
                (outcome.requests - outcome.failed) * BULK_EVENTS / outcome.seconds,
                outcome.seconds,
                outcome.requests - outcome.failed,
                outcome.latency,
                outcome.statuses,
                facts={"offered_to_capacity": offers[-1]},
            )
        )
    alone, beside, flood = median_of(calm), median_of(crowded), median_of(floods)
    ratios: dict[str, float] = {}
    refused = sum(beside.statuses.values()) + sum(alone.statuses.values())
    checks = [Check("nothing of the others is refused", refused == 0, f"{refused:,} refused", target=True)]
    checks.append(at_least("what the flood offers to what the server takes", min(offers), 10))
    if alone.latency is not None and beside.latency is not None:
        name = "p99 of the others beside a flood to alone"
        ratios[name] = beside.latency.p99 / alone.latency.p99
        checks.append(under(name, ratios[name], 2))
    return Report("noisy", (capacity, alone, beside, flood), tuple(checks), ratios)


async def memory(instance: Instance, plan: Plan, say: Say) -> Report:
    """Sample an API process's memory while its queue is full all the time."""
    ensure_tenants(instance, [_FLOODING])
    process = instance.groups()["api"][0]
    url = instance.postgres().url
    before = await log_size(url, _FLOODING)
    say(f"a full queue for {plan.seconds:g} s")
    began = time.monotonic()
    with sampled_memory(process) as samples:
        figure = measure(
            "bulk of 500, 64 connections", flood_load(instance, plan.seconds), BULK_EVENTS, instance.groups
        )
    elapsed = time.monotonic() - began
    mebibyte = 1 << 20
    refused = figure.statuses.get("503", 0)
    grown = samples.growth() * elapsed / mebibyte
    largest = samples.largest / mebibyte
    checks = (
        await check_log(url, _FLOODING, before, figure.requests * BULK_EVENTS),
        Check("the queue was full: requests were refused with 503", refused > 0, f"{refused:,} refused", target=True),
        under("memory of an API process, growth in the last two thirds, % of its size", 100 * grown / largest, 5),
    )
    facts = {"largest_mib": round(largest, 1), "growth_mib": round(grown, 1), "events": figure.requests * BULK_EVENTS}
    return Report("memory", (replace(figure, facts=facts),), checks)
