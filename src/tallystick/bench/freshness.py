"""How soon an event is found: in the very next search, and in the index, while many tenants write."""

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import Final

import asyncpg
import orjson

from tallystick.bench.instance import Instance, ensure_tenants
from tallystick.bench.openloop import send_at
from tallystick.bench.payloads import Payloads
from tallystick.bench.proof import log_size
from tallystick.bench.report import Check, Figure, Latency, Report, Say, at_least, under
from tallystick.bench.requests import Connection, Request, post
from tallystick.bench.usage import Meter
from tallystick.errors import ConfigurationError
from tallystick.log.identity import parse_id
from tallystick.search.follower import NAME

EVENTS: Final = 50
"""Of one request."""

_BODIES: Final = 4
_CONNECTIONS: Final = 16
_PROBES: Final = 2
_LOOK_SECONDS: Final = 0.05
_GRACE_SECONDS: Final = 30.0


@dataclass(slots=True)
class _Indexed:
    """When what was acknowledged was in the index: seen at the next look, so a little too late, never too early."""

    waiting: dict[int, list[tuple[int, float]]] = field(default_factory=dict[int, list[tuple[int, float]]])
    seconds: list[float] = field(default_factory=list[float])
    all_seen: asyncio.Event = field(default_factory=asyncio.Event)

    def acknowledged(self, log_id: int, seq: int) -> None:
        self.all_seen.clear()
        self.waiting.setdefault(log_id, []).append((seq, time.monotonic()))

    def seen(self, log_id: int, through: int) -> None:
        now = time.monotonic()
        waiting = self.waiting.get(log_id, [])
        self.seconds += [now - moment for seq, moment in waiting if seq <= through]
        self.waiting[log_id] = [(seq, moment) for seq, moment in waiting if seq > through]
        if not self.missing:
            self.all_seen.set()

    @property
    def missing(self) -> int:
        return sum(map(len, self.waiting.values()))


@dataclass(slots=True)
class _Probes:
    """Events that were searched for as soon as they were acknowledged."""

    seconds: list[float] = field(default_factory=list[float])
    refused: int = 0
    missed: int = 0
    incomplete: int = 0


async def freshness(instance: Instance, seconds: float, say: Say, *, rate: float, count: int) -> Report:
    """Write at a constant rate to many tenants, and measure how soon the events are found and indexed.

    Args:
        instance: The server.
        seconds: How long.
        say: Told what is done.
        rate: Events a second, in requests of 50.
        count: Tenants, in turn.

    Raises:
        ConfigurationError: Nothing was indexed or found.
    """
    names = [f"bench-fresh-{number:03d}" for number in range(count)]
    ensure_tenants(instance, names)
    url = instance.postgres().url
    logs = {name: (await log_size(url, name)).log_id for name in names}
    bank = _requests(instance, names)
    indexed, probes = _Indexed(), _Probes()

    def note(request: Request, body: bytes) -> None:
        last = orjson.loads(body)["ids"][-1]
        indexed.acknowledged(logs[request.kind], parse_id(last).seq)

    say(f"{rate:,.0f} events/s of {count} tenants for {seconds:g} s")
    meter = Meter(instance.groups())
    meter.start()
    async with _looking(url, indexed), _probing(instance, names, probes):
        requests = islice(cycle(bank), int(seconds * rate / EVENTS))
        answers = await send_at(
            instance.url, requests, rate=rate / EVENTS, connections=_CONNECTIONS, grace=_GRACE_SECONDS, judge=note
        )
        cpu = meter.stop()
        with suppress(TimeoutError):
            await asyncio.wait_for(indexed.all_seen.wait(), _GRACE_SECONDS)
    refused: dict[str, int] = {}
    for (_, status), times in answers.failures.items():
        refused[str(status)] = refused.get(str(status), 0) + times
    written = sum(map(len, answers.seconds.values())) * EVENTS / answers.elapsed
    name = f"{rate:,.0f} events/s of {count} tenants"
    writes = Figure(name, written, answers.elapsed, len(indexed.seconds), statuses=refused, cpu=cpu)
    return _report(writes, indexed, probes, wanted=rate)


def _requests(instance: Instance, names: Sequence[str]) -> list[Request]:
    payloads = Payloads(seed=41)
    bodies = [(name, payloads.bulk(name, EVENTS)) for name in list(names) * _BODIES]
    return [post(instance.url, "/api/v1/logs/bulk", instance.token, body, name) for name, body in bodies]


def _report(writes: Figure, indexed: _Indexed, probes: _Probes, *, wanted: float) -> Report:
    if not indexed.seconds or not probes.seconds:
        raise ConfigurationError("nothing was indexed or found: these figures are worth nothing")
    until = Latency.of(indexed.seconds)
    found = Latency.of(probes.seconds)
    checks = [
        Check("no probe is refused", probes.refused == 0, f"{probes.refused:,} refused"),
        Check("an event is found by the next search", probes.missed == 0, f"{probes.missed:,} missed"),
        Check("every answer is complete", probes.incomplete == 0, f"{probes.incomplete:,} incomplete", target=True),
        Check("all is indexed in the end", indexed.missing == 0, f"{indexed.missing:,} requests missing"),
        at_least(f"{writes.name}: events a second", writes.events_per_second, 0.99 * wanted),
        under(f"{writes.name}: indexed after, p99 ms", until.p99, 2_000),
    ]
    elapsed, searches = writes.seconds, len(probes.seconds)
    figures = (
        writes,
        Figure(f"{writes.name}: indexed after", 0, elapsed, len(indexed.seconds), until),
        Figure(f"{writes.name}: found by the next search", searches / elapsed, elapsed, searches, found),
    )
    return Report("freshness", figures, tuple(checks))


@asynccontextmanager
async def _looking(url: str, indexed: _Indexed) -> AsyncGenerator[None]:
    """Look again and again how far the index is."""

    async def look() -> None:
        connection = await asyncpg.connect(url)
        try:
            while True:
                rows = await connection.fetch("select log_id, seq from tallystick.cursors where follower = $1", NAME)
                for row in rows:
                    indexed.seen(row["log_id"], row["seq"])
                await asyncio.sleep(_LOOK_SECONDS)
        finally:
            await connection.close()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(look())
        yield
        task.cancel()


@asynccontextmanager
async def _probing(instance: Instance, names: Sequence[str], probes: _Probes) -> AsyncGenerator[None]:
    """Write single events of the tenants in turn, each with a word of its own, and search for it at once."""
    payloads = Payloads(seed=43)
    turns = cycle(names)

    async def probe() -> None:
        connection = Connection(instance.url)
        try:
            while True:
                await _probe(instance, connection, payloads, next(turns), probes)
        finally:
            connection.close()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(probe()) for _ in range(_PROBES)]
        yield
        for task in tasks:
            task.cancel()


async def _probe(
    instance: Instance, connection: Connection, payloads: Payloads, tenant_id: str, probes: _Probes
) -> None:
    word = f"probe{secrets.token_hex(8)}"
    event = orjson.dumps({**payloads.one(tenant_id), "message": f"Looked for at once: {word}"})
    stored = await connection.exchange(post(instance.url, "/api/v1/logs", instance.token, event, "probe"))
    question = orjson.dumps({"tenant_id": tenant_id, "q": word})
    sent = time.perf_counter()
    search = post(instance.url, "/api/v1/logs/search", instance.token, question, "search", expect=200)
    answer = await connection.exchange(search)
    if stored.status != 201 or answer.status != 200:
        probes.refused += 1
        return
    probes.seconds.append(time.perf_counter() - sent)
    page = orjson.loads(answer.body)
    probes.missed += len(page["items"]) != 1
    probes.incomplete += not page["complete"]
