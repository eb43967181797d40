"""How fast the worker indexes what the log holds already: waited for, with what it costs."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

import asyncpg

from tallystick.bench.instance import Instance
from tallystick.bench.report import Check, Figure, Report, at_least
from tallystick.bench.usage import Meter
from tallystick.errors import ConfigurationError
from tallystick.search.follower import NAME

ENOUGH: Final = 100_000
"""Events without which a rate says little."""

_POLL_SECONDS: Final = 0.5
_PATIENCE_SECONDS: Final = 120.0

_BEHIND: Final = """
select coalesce(sum(log.size - 1 - coalesce(cursor.seq, -1)), 0)::bigint as behind, sum(log.size)::bigint as events
  from tallystick.logs log
  left join tallystick.cursors cursor on cursor.log_id = log.id and cursor.follower = $1"""


async def until_indexed(instance: Instance, progress: Callable[[int, int], None]) -> Report:
    """Wait until the search index has followed all logs to their ends.

    Args:
        instance: Whose worker indexes.
        progress: Called with events that are indexed and those there are.

    Raises:
        ConfigurationError: The worker does not get on.
    """
    connection = await asyncpg.connect(instance.postgres().url)
    try:
        meter = Meter(instance.groups())
        meter.start()
        began = moved = time.monotonic()
        first = behind = await _behind(connection, progress)
        while behind:
            await asyncio.sleep(_POLL_SECONDS)
            before, behind = behind, await _behind(connection, progress)
            now = time.monotonic()
            if behind < before:
                moved = now
            elif now - moved > _PATIENCE_SECONDS:
                raise ConfigurationError(f"the worker indexes nothing (see {instance.home / 'logs' / 'worker.log'})")
        seconds = time.monotonic() - began
        cpu = meter.stop()
    finally:
        await connection.close()
    if first < ENOUGH:
        return Report("index", ())
    a_core = first / seconds / cpu["worker"]
    figure = Figure("indexing from the log", first / seconds, seconds, first, cpu=cpu, facts={"a_worker_core": a_core})
    checks: tuple[Check, ...] = (at_least("indexing, events a second of one core", a_core, 10_000),)
    return Report("index", (figure,), checks)


async def not_indexed_yet(url: str) -> int:
    """How many events the search index has not followed yet, in all logs of a database."""
    connection = await asyncpg.connect(url)
    try:
        return await _behind(connection, lambda _done, _all: None)
    finally:
        await connection.close()


async def _behind(connection: "asyncpg.Connection[asyncpg.Record]", progress: Callable[[int, int], None]) -> int:
    row = await connection.fetchrow(_BEHIND, NAME)
    if row is None:
        raise ValueError("an aggregate has a row")
    progress(row["events"] - row["behind"], row["events"])
    return row["behind"]
