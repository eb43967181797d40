"""What writers feel of the job of retention: while it removes one log's events in batches, and drops a partition."""

import asyncio
import os
import struct
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import asyncpg
import orjson

from tallystick.auth.tenancy import PLATFORM_TENANT
from tallystick.bench.expired import Connection, Day, Progress, fill, is_dropped, left_of, table_bytes, until_followed
from tallystick.bench.instance import Instance, ensure_tenants
from tallystick.bench.lockwaits import watching_lock_waits
from tallystick.bench.report import Check, Figure, Report, at_least, joined, under
from tallystick.bench.rows import Share
from tallystick.bench.steady import Writers, writing_steadily
from tallystick.errors import ConfigurationError
from tallystick.log.leaves import HASH_BYTES, MAGIC
from tallystick.retention.applying import APPLY_RETENTION
from tallystick.retention.queries import begin_run
from tallystick.retention.scheduling import CREATED_BY
from tallystick.settings import Settings

EVENTS: Final = 1_000_000
"""Of the partition that is dropped."""

TARGET_BLOCKED_MS: Final = 100
TARGET_TIMES: Final = 2

Bar = Callable[[str], AbstractContextManager[Progress]]
"""Shows a person how far something is, under a title."""

_DAYS: Final = 30
_WRITERS: Final = 10
_SETTLE_SECONDS: Final = 2.0
_LOOK_SECONDS: Final = 0.02
_LOOKS_A_STATE: Final = 10
_MIB: Final = 1 << 20
_RUN: Final = struct.Struct(">QI")
_LEAVES_BEGIN: Final = len(MAGIC) + 8


@dataclass(frozen=True, slots=True)
class RemovalPlan:
    """How the measurement goes.

    Attributes:
        events: Events of the partition that is dropped; a ninth as many are removed in batches before.
        seconds: How long writes are measured before each removal.
        rate: Events a second that are written all the time, a request each.
        passed: Put the followers' cursors behind the events, instead of waiting until they have followed them.
    """

    events: int
    seconds: float
    rate: float
    passed: bool


@dataclass(frozen=True, slots=True)
class _Job:
    """A job that has run, in moments of `time.perf_counter`.

    Attributes:
        asked: When it was asked for.
        dropped: When the partition was seen to be gone; None where it is there.
        ended: When it was seen to have ended.
        seconds: How long it ran, by its own row.
    """

    asked: float
    dropped: float | None
    ended: float
    seconds: float


async def removal(instance: Instance, plan: RemovalPlan, bar: Bar) -> Report:
    """Fill a day long past, have a tenth of it removed in batches and then the rest dropped, and write all the time.

    Raises:
        ConfigurationError: A job failed, or events were not stored.
    """
    url = instance.postgres().url
    async with (
        asyncpg.create_pool(url, min_size=1, max_size=1, server_settings={"timezone": "UTC"}) as pool,
        pool.acquire() as connection,
    ):
        with bar("storing events") as progress:
            day = await fill(connection, plan.events, progress, passed=plan.passed)
        if not plan.passed:
            with bar("indexing and counting them") as progress:
                await until_followed(connection, instance.home, progress)
        with bar("writing all of it to disk"):
            await _settle(instance)
        measured = [
            await _in_batches(instance, connection, day, plan, bar),
            await _whole(instance, connection, day, plan, bar),
        ]
        return joined("retention", measured)


async def _settle(instance: Instance) -> None:
    """Have what was stored written to disk, so that it is in nobody's way when writes are measured."""
    connection: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(instance.postgres().admin)
    try:
        with suppress(asyncpg.InsufficientPrivilegeError):  # on a server of somebody's own: then by its own checkpoints
            await connection.execute("checkpoint", timeout=3600)
    finally:
        await connection.close()
    await asyncio.to_thread(os.sync)


async def _in_batches(instance: Instance, connection: Connection, day: Day, plan: RemovalPlan, bar: Bar) -> Report:
    """One log's events leave, amid nine times as many that stay."""
    before = await table_bytes(connection, day)
    names = _writing_tenants(instance, day)
    sizes = await _sizes(connection, names)
    async with writing_steadily(instance, names, plan.rate) as writers:
        quiet = await _wait(plan.seconds, bar)
        job = await _apply(connection, day, [day.going], bar)
    calm = writers.between("writes before anything is removed", *quiet)
    busy = writers.between("writes while events leave in batches", job.asked, job.ended)
    after = await table_bytes(connection, day)
    with bar("VACUUM"):
        began = time.perf_counter()
        await connection.execute(f'vacuum tallystick."{day.partition}"', timeout=3600)
        vacuumed = time.perf_counter() - began
    facts = {
        "events": day.going.count,
        "amid": sum(share.count for share in day.lasting),
        "table_mib_before": before / _MIB,
        "after": after / _MIB,
        "after_vacuum": await table_bytes(connection, day) / _MIB,
        "vacuum_seconds": vacuumed,
    }
    removed = Figure("events removed in batches", day.going.count / job.seconds, job.seconds, facts=facts)
    checks = [
        *await _check_removed(instance, connection, day, [day.going]),
        await _check_lasting(connection, day),
        *await _check_writers(connection, writers, sizes),
        at_least("events written a second while events leave in batches", busy.events_per_second, 0.98 * plan.rate),
    ]
    ratios: dict[str, float] = {}
    if calm.latency is not None and busy.latency is not None:
        name = "p99 of writes while events leave in batches, to before"
        ratios[name] = busy.latency.p99 / calm.latency.p99
        checks.append(under(name, ratios[name], TARGET_TIMES))
    return Report("retention", (calm, busy, removed), tuple(checks), ratios)


async def _whole(instance: Instance, connection: Connection, day: Day, plan: RemovalPlan, bar: Bar) -> Report:
    """All that is left of the day is dropped with its partition."""
    names = _writing_tenants(instance, day)
    sizes = await _sizes(connection, names)
    async with writing_steadily(instance, names, plan.rate) as writers:
        quiet = await _wait(plan.seconds, bar)
        async with watching_lock_waits(instance.postgres().url) as waits:
            job = await _apply(connection, day, day.lasting, bar)
        # As long a stretch around the drop as the one before, in which the longest write is looked for.
        end = max(job.ended, job.asked + plan.seconds)
        await asyncio.sleep(end + _SETTLE_SECONDS - time.perf_counter())
    count = sum(share.count for share in day.lasting)
    calm = writers.between("writes before the drop", *quiet)
    busy = writers.between("writes around the drop", end - plan.seconds, end)
    figures = [calm, busy]
    if end - plan.seconds > job.asked + 1:
        figures.append(writers.between("writes while leaf hashes are stored", job.asked, end - plan.seconds))
    facts = {
        "events": count,
        "seconds_to_the_drop": -1.0 if job.dropped is None else job.dropped - job.asked,
        "longest_lock_wait_ms": 1000 * waits.longest,
        "looks": waits.looks,
    }
    figures.append(
        Figure("a partition dropped, its leaf hashes stored before", count / job.seconds, job.seconds, facts=facts)
    )
    checks = [
        Check("the partition is dropped", job.dropped is not None, day.partition),
        *await _check_removed(instance, connection, day, day.lasting),
        *await _check_writers(connection, writers, sizes),
    ]
    checks.append(under("longest wait for a lock on a table, ms", 1000 * waits.longest, TARGET_BLOCKED_MS))
    if busy.latency is not None:
        checks.append(under("longest write around the drop, ms", busy.latency.max, TARGET_BLOCKED_MS))
    return Report("retention", tuple(figures), tuple(checks))


def _writing_tenants(instance: Instance, day: Day) -> list[str]:
    """Who writes: the tenants whose events go. Where followers never saw those, others: they would begin anew."""
    if not day.passed:
        return [share.events.tenant_id for share in day.shares]
    names = [f"bench-writing-{number}" for number in range(_WRITERS)]
    ensure_tenants(instance, names)
    return names


async def _wait(seconds: float, bar: Bar) -> tuple[float, float]:
    """Let writes settle, and then go on for some seconds; when these begin and end."""
    begin = time.perf_counter() + _SETTLE_SECONDS
    end = begin + seconds
    with bar("writing") as progress:
        while (now := time.perf_counter()) < end:
            progress(int(max(now - begin, 0)), int(seconds))
            await asyncio.sleep(min(0.5, end - now))
    return begin, end


async def _apply(connection: Connection, day: Day, shares: Sequence[Share], bar: Bar) -> _Job:
    """Give tenants a policy by which their events of the day go, have it applied, and wait for that.

    Both in one transaction, under the lock by which workers ask once a day: none asks in between. Today's run is
    forgotten before, as if another day had begun.
    """
    today = datetime.now(UTC).date()
    asked = time.perf_counter()
    async with connection.transaction():
        await connection.execute("select pg_advisory_xact_lock(hashtext('tallystick.retention_runs'))")
        await connection.execute(
            "update tallystick.tenants set settings = settings || $2::text::jsonb where id = any ($1::text[])",
            [share.events.tenant_id for share in shares],
            orjson.dumps({"retention": {"events_days": _DAYS}}).decode(),
        )
        await connection.execute("delete from tallystick.retention_runs where day = $1", today)
        job_id = await begin_run(connection, today, PLATFORM_TENANT, APPLY_RETENTION, CREATED_BY)
    dropped: float | None = None
    total = sum(share.count for share in shares)
    looks = 0
    with bar("removing") as progress:
        while True:
            if dropped is None and await is_dropped(connection, day):
                dropped = time.perf_counter()
            if looks % _LOOKS_A_STATE == 0:
                row = await connection.fetchrow(
                    "select state, error, done, extract(epoch from finished_at - started_at)::float8 as seconds"
                    " from tallystick.jobs where id = $1::text::uuid",
                    job_id,
                )
                if row is None or row["state"] in ("failed", "cancelled"):
                    raise ConfigurationError(f"the job of retention did not end well: {row and row['error']}")
                progress(row["done"], total)
                if row["state"] == "succeeded":
                    return _Job(asked, dropped, time.perf_counter(), max(row["seconds"], 0.001))
            looks += 1
            await asyncio.sleep(_LOOK_SECONDS)


async def _sizes(connection: Connection, tenant_ids: Sequence[str]) -> dict[int, int]:
    """The heads of tenants' logs of events."""
    rows = await connection.fetch(
        "select id, size from tallystick.logs where tenant_id = any ($1::text[]) and name = 'events'", tenant_ids
    )
    return {row["id"]: row["size"] for row in rows}


async def _check_writers(connection: Connection, writers: Writers, before: dict[int, int]) -> list[Check]:
    """What was acknowledged meanwhile is there."""
    stored = await connection.fetchval(
        "select count(*) from unnest($1::int[], $2::bigint[]) as log (id, size)"
        "  join tallystick.events event on event.log_id = log.id and event.seq >= log.size",
        list(before),
        list(before.values()),
        timeout=600,
    )
    said = f"{writers.refused:,} refused, {writers.stored:,} acknowledged, {stored:,} stored"
    late = writers.unanswered
    return [
        Check(
            "no write is refused, and nothing acknowledged is missing",
            writers.refused == 0 and stored >= writers.stored,
            said,
        ),
        Check("every write is answered in time", late == 0, f"{late:,} unanswered", target=True),
    ]


async def _check_lasting(connection: Connection, day: Day) -> Check:
    left, count = await left_of(connection, day, day.lasting), sum(share.count for share in day.lasting)
    return Check("of the other logs nothing is removed", left == count, f"{left:,} of {count:,} are there")


async def _check_removed(instance: Instance, connection: Connection, day: Day, shares: Sequence[Share]) -> list[Check]:
    """All of some logs' events of the day are gone, each told of once, and its leaf hash is stored."""
    logs, count = [share.events.log_id for share in shares], sum(share.count for share in shares)
    left = await left_of(connection, day, shares)
    told = await connection.fetchval(
        "select coalesce(sum(upper(part) - lower(part)), 0)::bigint"
        "  from tallystick.removed cross join unnest(seqs) as part where log_id = any ($1::int[])",
        logs,
    )
    gone = f"{left:,} left, {told:,} told of, of {count:,}"
    checks = [
        Check(f"what was to go is gone, each told of once (logs: {len(shares)})", (left, told) == (0, count), gone)
    ]
    objects = Settings(home=instance.home).objects
    if objects.url is None:
        keys = await connection.fetch(
            "select distinct leaves from tallystick.removed where log_id = any ($1::int[])", logs
        )
        files = [instance.home / "objects" / row["leaves"] for row in keys]
        leaves = sum(await asyncio.to_thread(lambda: [_count_leaves(file) for file in files]))
        held = f"{leaves:,} in {len(files):,} objects"
        checks.append(Check(f"its leaf hashes are in the object store (logs: {len(shares)})", leaves == count, held))
    return checks


def _count_leaves(file: Path) -> int:
    """How many leaf hashes an object holds, without reading them."""
    count, begin, data = 0, _LEAVES_BEGIN, file.read_bytes()
    while begin < len(data):
        _, run = _RUN.unpack_from(data, begin)
        begin += _RUN.size + run * HASH_BYTES
        count += run
    return count
