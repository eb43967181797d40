"""How soon watchers see what is stored: from the moment an event is due to be sent to the moment a client has it."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from itertools import chain
from typing import Final, NamedTuple

import orjson
import psutil

from tallystick.bench.answers import Answers
from tallystick.bench.instance import Instance, ensure_tenants, token_for
from tallystick.bench.openloop import send_at
from tallystick.bench.payloads import Payloads
from tallystick.bench.report import Check, Figure, Latency, Report, Say, at_least, joined, under
from tallystick.bench.requests import Request, post
from tallystick.bench.usage import Meter
from tallystick.bench.watching import Receipts, Watcher, Watchers
from tallystick.errors import ConfigurationError

TARGET_MS: Final = 250
WARM_UP_SECONDS: Final = 5.0
"""Their delays stand apart: all tenants are new, and each log gets its index and its keys with its first event."""

_CONNECTIONS: Final = 64
_GRACE_SECONDS: Final = 30.0
_SETTLE_SECONDS: Final = 0.5
_TENANTS: Final = 50
_CLIENTS: Final = 500
_IDLE: Final = 5_000
_BATCH: Final = 10
_APART: Final = 37
"""How far tenants are from each other in what they send, so that not all clients are told of something at once."""
_OF_ONE: Final = 100
"""Streams of one principal: `api.max_streams_per_principal`."""


class Scenario(StrEnum):
    """What is watched."""

    FILTERS = "filters"
    BATCHES = "batches"
    EVERYTHING = "everything"
    IDLE = "idle"


class _Case(NamedTuple):
    """A scenario: who watches what, and what is sent meanwhile.

    Attributes:
        name: In the report.
        tenants: Who write, in turn, a request each.
        watchers: Who watch.
        rate: Events a second.
        marks: Fields of the event of a number.
        seen_by: How many watchers each event reaches.
        batch: Events of a request.
    """

    name: str
    tenants: Sequence[str]
    watchers: Sequence[Watcher]
    rate: float
    marks: Callable[[int], Mapping[str, object]]
    seen_by: Callable[[int], int]
    batch: int = 1


async def streams(
    instance: Instance, seconds: float, say: Say, scenarios: Sequence[Scenario], warm_up: float = WARM_UP_SECONDS
) -> Report:
    """Measure scenarios one after the other.

    Args:
        instance: The server.
        seconds: How long each takes, after its first seconds.
        say: Told what is done.
        scenarios: Which.
        warm_up: Those first seconds.
    """
    return joined(
        "stream", [await _measure(instance, seconds, say, SCENARIOS[each](instance), warm_up) for each in scenarios]
    )


def _filters(instance: Instance, batch: int = 1) -> _Case:
    """Ten clients of each of fifty tenants: five filter by a field, five by a word, each one event of a hundred."""
    name = f"{_CLIENTS} clients of {_TENANTS} tenants, each with a filter of 1 %"
    tenants = _names("bench-stream", _TENANTS)
    tokens = [token_for(instance, [tenant], f"watcher of {tenant}") for tenant in tenants]
    watchers: list[Watcher] = []
    for number in range(_CLIENTS):
        kind = number // _TENANTS
        query = {"session_id": f"session-{kind}"} if kind % 2 else {"q": f"group{kind}"}
        watchers.append(Watcher(tokens[number % _TENANTS], query))

    def kind_of(number: int) -> int:
        turn, place = divmod(number, _TENANTS * batch)
        tenant, part = divmod(place, batch)
        return (turn * batch + part + tenant * _APART) % 100

    def marks(number: int) -> Mapping[str, object]:
        kind = kind_of(number)
        return {"session_id": f"session-{kind}", "message": f"Of group{kind} and no other"}

    def seen_by(number: int) -> int:
        return 1 if kind_of(number) < _CLIENTS // _TENANTS else 0

    return _Case(name if batch == 1 else f"{name}, sent by {batch}", tenants, watchers, 1_000, marks, seen_by, batch)


def _batches(instance: Instance) -> _Case:
    """The same, of events that applications gather and send together."""
    return _filters(instance, _BATCH)


def _unmarked(_: int) -> Mapping[str, object]:
    return {}


def _by_all(_: int) -> int:
    return _CLIENTS


def _by_one(_: int) -> int:
    return 1


def _everything(instance: Instance) -> _Case:
    """Five hundred clients that watch everything of one tenant."""
    (name,) = names = _names("bench-watched", 1)
    watchers = _spread(instance, names, _CLIENTS)
    return _Case(f"{_CLIENTS} clients of one tenant", [name], watchers, 200, _unmarked, _by_all)


def _idle(instance: Instance) -> _Case:
    """Five thousand clients of fifty tenants, of whom one is told something now and then."""
    names = _names("bench-stream", _TENANTS)
    (told,) = _names("bench-watched", 1)
    watchers = [*_spread(instance, names, _IDLE), *_spread(instance, [told], 1)]
    return _Case(f"{_IDLE:,} idle clients", [told], watchers, 20, _unmarked, _by_one)


SCENARIOS: Final[Mapping[Scenario, Callable[[Instance], _Case]]] = {
    Scenario.FILTERS: _filters,
    Scenario.BATCHES: _batches,
    Scenario.EVERYTHING: _everything,
    Scenario.IDLE: _idle,
}


def _names(prefix: str, count: int) -> list[str]:
    return [f"{prefix}-{number:02d}" for number in range(count)]


def _spread(instance: Instance, names: Sequence[str], count: int) -> list[Watcher]:
    """So many streams over tenants in turn, of no more principals than needed."""
    tokens = [
        (token_for(instance, [name], f"watcher {start} of {name}"), name)
        for name in names
        for start in range(0, -(-count // len(names)), _OF_ONE)
    ]
    return [Watcher(tokens[number % len(tokens)][0], {}) for number in range(count)]


async def _measure(instance: Instance, seconds: float, say: Say, case: _Case, warm_up: float) -> Report:
    ensure_tenants(instance, list(case.tenants))
    ensure_tenants(instance, _names("bench-stream", _TENANTS))
    warm = int(warm_up * case.rate) // case.batch * case.batch
    count = warm + int(seconds * case.rate) // case.batch * case.batch
    requests = _requests(instance, case, count)
    receipts = Receipts()
    api = [psutil.Process(pid) for pid in instance.groups()["api"]]
    before = sum(process.memory_info().rss for process in api)
    say(f"opening {len(case.watchers):,} streams")
    async with Watchers(instance.url, case.watchers, receipts):
        await asyncio.sleep(_SETTLE_SECONDS)
        held = sum(process.memory_info().rss for process in api) - before
        say(f"{case.name}: {case.rate:,.0f} events/s for {warm_up + seconds:g} s")
        meter = Meter(instance.groups())
        meter.start()
        rate = case.rate / case.batch
        answers = await send_at(instance.url, requests, rate=rate, connections=_CONNECTIONS, grace=_GRACE_SECONDS)
        cpu = meter.stop()
        expected = sum(case.seen_by(number) for number in range(count))
        await _until_all(receipts, expected)
    return _report(case, answers, receipts, cpu, expected, held, warm)


def _requests(instance: Instance, case: _Case, count: int) -> list[Request]:
    payloads = Payloads(seed=53)
    tokens = {tenant: token_for(instance, [tenant], f"writer of {tenant}") for tenant in case.tenants}
    requests: list[Request] = []
    for place, first in enumerate(range(0, count, case.batch)):
        tenant = case.tenants[place % len(case.tenants)]
        events = [
            {**payloads.one(tenant), **case.marks(number), "request_id": f"n{number}"}
            for number in range(first, first + case.batch)
        ]
        path, body = ("/api/v1/logs", events[0]) if case.batch == 1 else ("/api/v1/logs/bulk", events)
        requests.append(post(instance.url, path, tokens[tenant], orjson.dumps(body), "append"))
    return requests


async def _until_all(receipts: Receipts, expected: int) -> None:
    """Wait for the last of them, for as long as any come."""
    came = -1
    while came < receipts.events < expected:
        came = receipts.events
        await asyncio.sleep(_SETTLE_SECONDS)


def _report(
    case: _Case,
    answers: Answers,
    receipts: Receipts,
    cpu: Mapping[str, float],
    expected: int,
    held: int,
    warm: int,
) -> Report:
    """Make the report; the first ``warm`` events count as received, and their delays stand apart."""
    delays: list[float] = []
    first: list[float] = []
    for at, number in chain.from_iterable(((at, each) for each in numbers) for at, numbers in receipts.batches):
        due = answers.began + number // case.batch * case.batch / case.rate
        (first if number < warm else delays).append(at - due)
    if not delays:
        raise ConfigurationError("no client received anything: these figures are worth nothing")
    latency = Latency.of(delays)
    answered = len(answers.seconds.get("append", []))
    rate = answered * case.batch / answers.elapsed
    received = receipts.events
    facts = {
        "frames_per_second": receipts.frames / answers.elapsed,
        "events_received": received,
        "kib_per_stream": held / 1024 / len(case.watchers),
    }
    if first:
        facts["p99_ms_of_the_warm_up"] = Latency.of(first).p99
    failed = sum(answers.failures.values())
    figures = (
        Figure(
            f"{case.name}: seen after",
            received / answers.elapsed,
            answers.elapsed,
            received,
            latency,
            cpu=cpu,
            facts=facts,
        ),
        Figure(
            f"{case.name}: appended",
            rate,
            answers.elapsed,
            answered,
            Latency.of(answers.seconds["append"]),
        ),
    )
    checks = (
        Check(
            "every event reaches every client that watches it, once",
            received == expected,
            f"{received:,} of {expected:,}",
        ),
        Check("no stream is closed", not receipts.closed, f"{receipts.closed or 'none'}"),
        Check("no request is refused", failed == 0, f"{failed:,} refused"),
        at_least(f"{case.name}: events a second", rate, 0.98 * case.rate),
        under(f"{case.name}: seen after, p99 ms", latency.p99, TARGET_MS),
    )
    return Report("stream", figures, checks)
