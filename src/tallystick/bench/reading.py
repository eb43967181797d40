"""How fast a large log is read: four kinds of reads at a constant rate, each with its own percentiles."""

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import cycle, islice
from typing import Any, Final
from urllib.parse import urlencode

import asyncpg
import httpx

from tallystick.bench.instance import Instance
from tallystick.bench.loading import HOT, Loaded, recorded
from tallystick.bench.openloop import send_at
from tallystick.bench.report import Check, Figure, Latency, Report, Say, under
from tallystick.bench.requests import Request, get
from tallystick.bench.usage import Meter
from tallystick.errors import ConfigurationError

RATE: Final = 300
CONNECTIONS: Final = 32
PAGE: Final = 50

NEWEST: Final = "newest 50"
DEEP: Final = "deep page"
RANGE: Final = "two-day range"
BY_ID: Final = "by id"

_DEEP_PAGES: Final = 200
_WARM_UP_SECONDS: Final = 3


async def loaded(instance: Instance) -> Loaded:
    """What the instance's database was filled with.

    Raises:
        ConfigurationError: It was not, or not to the end.
    """
    async with (
        asyncpg.create_pool(instance.postgres().url, min_size=1, max_size=1) as pool,
        pool.acquire() as connection,
    ):
        found = await recorded(connection)
    if found is None or not found.complete:
        raise ConfigurationError("nothing to read: fill the database first, with `tallystick bench load`")
    return found


@dataclass(frozen=True, slots=True)
class Targets:
    """What is read: cursors deep in the log, ids from all over it, ranges of two days."""

    cursors: tuple[str, ...]
    ids: tuple[str, ...]
    ranges: tuple[tuple[str, str], ...]


def find_targets(instance: Instance, filled: Loaded) -> Targets:
    """Walk the API for cursors and ids.

    Raises:
        ConfigurationError: The API refuses.
    """
    draw = random.Random(5)  # noqa: S311 - what to read, not a secret
    ids: list[str] = []
    ranges: list[tuple[str, str]] = []
    with instance.client() as client:
        cursors = _walk(client)
        for _ in range(100):
            begin = filled.start + timedelta(days=draw.uniform(0, max(filled.partitions - 2, 0)))
            ranges.append((_wire(begin), _wire(begin + timedelta(days=2))))
            page = _page(client, {"limit": 20, "from": ranges[-1][0], "to": ranges[-1][1]})
            ids += [item["id"] for item in page["items"]]
    if not ids or not cursors:
        raise ConfigurationError(f"the log of {HOT} has too few events to be read")
    return Targets(tuple(cursors), tuple(ids), tuple(ranges))


def _walk(client: httpx.Client) -> list[str]:
    cursors: list[str] = []
    following: str | None = None
    for _ in range(_DEEP_PAGES):
        page = _page(client, {"limit": 1000, **({"cursor": following} if following else {})})
        following = page["next"]
        if following is None:
            break
        cursors.append(following)
    return cursors[len(cursors) // 2 :]


def _page(client: httpx.Client, query: dict[str, str | int]) -> dict[str, Any]:
    answer = client.get("/logs", params={"tenant_id": HOT, **query})
    if not answer.is_success:
        raise ConfigurationError(f"GET /logs is refused: {answer.status_code} {answer.text}")
    return answer.json()


def _wire(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def form_requests(instance: Instance, targets: Targets, count: int) -> list[Request]:
    """Form reads of the four kinds in turn."""

    def listing(kind: str, **query: str) -> Request:
        target = f"/api/v1/logs?{urlencode({'tenant_id': HOT, 'limit': PAGE, **query})}"
        return get(instance.url, target, instance.token, kind)

    newest = cycle([listing(NEWEST)])
    deep = cycle([listing(DEEP, cursor=cursor) for cursor in targets.cursors])
    ranges = cycle([listing(RANGE, **{"from": begin, "to": end}) for begin, end in targets.ranges])
    by_id = cycle(
        [get(instance.url, f"/api/v1/logs/{one}?tenant_id={HOT}", instance.token, BY_ID) for one in targets.ids]
    )
    turns = cycle((newest, deep, ranges, by_id))
    return [next(turn) for turn in islice(turns, count)]


async def reads(instance: Instance, seconds: float, say: Say, *, rate: float = RATE, title: str = "") -> Report:
    """Measure newest-50, a deep page, a two-day range and by-id at a constant rate over 32 connections."""
    filled = await loaded(instance)
    say("looking for cursors and ids")
    targets = find_targets(instance, filled)
    warm = form_requests(instance, targets, int(_WARM_UP_SECONDS * rate))
    (await send_at(instance.url, warm, rate=rate, connections=CONNECTIONS)).insist()
    say(f"{rate:g} reads/s for {seconds:g} s")
    meter = Meter(instance.groups())
    requests = form_requests(instance, targets, int(seconds * rate))
    meter.start()
    answers = await send_at(instance.url, requests, rate=rate, connections=CONNECTIONS)
    cpu = meter.stop()
    answers.insist()
    figures: list[Figure] = []
    checks: list[Check] = []
    for kind in (NEWEST, DEEP, RANGE, BY_ID):
        times = answers.seconds[kind]
        latency = Latency.of(times)
        figures.append(Figure(f"{title}{kind}", len(times) / answers.elapsed, answers.elapsed, len(times), latency))
        checks.append(under(f"{title}{kind}, p99 ms", latency.p99, 15))
    total = sum(figure.requests for figure in figures)
    facts = {"events": filled.events, "partitions": filled.partitions, "deepest": _DEEP_PAGES * 1000}
    figures.append(Figure(f"{title}all reads", total / answers.elapsed, answers.elapsed, total, cpu=cpu, facts=facts))
    return Report("reads", tuple(figures), tuple(checks))
