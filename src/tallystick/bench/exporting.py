"""How fast a whole log is exported, beside COPY of the same bodies, in turns."""

import asyncio
import socket
import time
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

import asyncpg
from httptools import HttpResponseParser

from tallystick.bench.instance import Instance
from tallystick.bench.loading import HOT
from tallystick.bench.proof import log_size
from tallystick.bench.reading import loaded
from tallystick.bench.report import Check, Figure, Report, Say, at_least, median_of, ratio, under
from tallystick.bench.usage import Meter, sampled_memory
from tallystick.errors import ConfigurationError
from tallystick.log.lines import count_lines

EXPORT: Final = "export as NDJSON"
COPY: Final = "COPY of the same bodies"

_PIECE: Final = 1 << 20
_MIB: Final = 1 << 20
_MOST_GROWTH_MIB: Final = 128.0
"""What a process may hold for pages that are made while another is sent."""

_SAME_ORDER: Final = """
    select body from tallystick.events
     where log_id = (select id from tallystick.logs where tenant_id = $1 and name = 'events')
     order by occurred_at, seq"""


async def export(instance: Instance, rounds: int, say: Say) -> Report:
    """Export all events of the largest tenant, and copy their bodies, so many times in turns.

    Raises:
        ConfigurationError: The export is refused.
    """
    await loaded(instance)
    url = instance.postgres().url
    stored = (await log_size(url, HOT)).size  # more than was loaded, where other measurements wrote
    exported: list[Figure] = []
    copied: list[Figure] = []
    for turn in range(1, rounds + 1):
        say(f"{EXPORT}, {turn} of {rounds}")
        exported.append(await _export(instance, stored))
        say(f"{COPY}, {turn} of {rounds}")
        copied.append(await _copy(instance, url, stored))
    ours, theirs = median_of(exported), median_of(copied)
    part = ratio(ours, theirs)
    growth = max(float(figure.facts["memory_growth_mib"]) for figure in exported)
    checks = (
        Check("every event is in each", _whole([*exported, *copied]), f"{stored:,}"),
        at_least("events exported a second", ours.events_per_second, 100_000),
        at_least("export to COPY", part, 0.5),
        under("growth of memory in MiB", growth, _MOST_GROWTH_MIB),
    )
    return Report("export", (ours, theirs), checks, {"export to COPY, events a second": part})


def _whole(figures: list[Figure]) -> bool:
    return all(figure.facts["whole"] for figure in figures)


async def _export(instance: Instance, stored: int) -> Figure:
    groups = instance.groups()
    (pid, *_) = groups["api"]
    meter = Meter(groups)
    with sampled_memory(pid, every=0.2) as memory:
        meter.start()
        began = time.perf_counter()
        lines, size = await asyncio.to_thread(_fetch, instance)
        took = time.perf_counter() - began
        cpu = meter.stop()
    facts: dict[str, float | int | str | bool] = {
        "whole": lines == stored,
        "mib": size / _MIB,
        "memory_growth_mib": (memory.largest - memory.bytes_at[0][1]) / _MIB,
    }
    return Figure(EXPORT, lines / took, took, 1, cpu=cpu, facts=facts)


class _Taking:
    """What a parser of HTTP is told of an answer: of an export, how long it is."""

    def __init__(self) -> None:
        self.lines = self.size = 0
        self.ended = False

    def on_body(self, body: bytes) -> None:
        self.lines += count_lines(body)
        self.size += len(body)

    def on_message_complete(self) -> None:
        self.ended = True


def _fetch(instance: Instance) -> tuple[int, int]:
    """Read an export to its end, at little cost: how many lines, and how many bytes."""
    address = urlsplit(instance.url)
    asked = (
        f"GET /api/v1/logs/export?tenant_id={HOT} HTTP/1.1\r\n"
        f"host: {address.netloc}\r\nauthorization: Bearer {instance.token}\r\n\r\n"
    )
    taking = _Taking()
    answer = HttpResponseParser(taking)
    piece = memoryview(bytearray(_PIECE))
    with socket.create_connection((address.hostname or "127.0.0.1", address.port or 80), timeout=120) as connection:
        connection.sendall(asked.encode())
        while not taking.ended and (received := connection.recv_into(piece)):
            answer.feed_data(piece[:received])
    if answer.get_status_code() != HTTPStatus.OK:
        raise ConfigurationError(f"GET /logs/export is refused: {answer.get_status_code()}")
    return taking.lines, taking.size


async def _copy(instance: Instance, url: str, stored: int) -> Figure:
    size = 0

    async def take(piece: bytes) -> None:
        nonlocal size
        size += len(piece)

    connection: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(url)
    try:
        meter = Meter(instance.groups())
        meter.start()
        began = time.perf_counter()
        told = await connection.copy_from_query(_SAME_ORDER, HOT, output=take)
        took = time.perf_counter() - began
        cpu = meter.stop()
    finally:
        await connection.close()
    events = int(told.rpartition(" ")[2])
    facts: dict[str, float | int | str | bool] = {"whole": events == stored, "mib": size / _MIB}
    return Figure(COPY, events / took, took, 1, cpu=cpu, facts=facts)
