"""Removal: the only way in which events leave. Their leaf hashes are stored, then they go, in small batches.

Whatever is done is a generator of steps, each of them durable when it is told. Whoever is killed between two of them
begins again, and comes to the same end: what is gone is not found again, and an object of leaf hashes that no row names
is removed when its job has ended.
"""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import Final, TypeAlias

import asyncpg
from prometheus_client import CollectorRegistry, Counter

from tallystick.database.pools import Connection, Database
from tallystick.errors import UnavailableError
from tallystick.log import removal_queries as queries
from tallystick.log.leaves import write_header, write_runs
from tallystick.log.removal_queries import Leaf, Orders, Partition
from tallystick.objects.store import Objects

PORTION_EVENTS: Final = 50_000
"""Events whose leaf hashes are in one object, where they leave in batches."""

_PAGE_EVENTS: Final = 5_000
"""Leaf hashes that are read at once: some ten milliseconds of work of the database, in which writes may wait."""

_LEAST_PAUSE: Final = 0.005
_DROP_ATTEMPTS: Final = 200
_DROP_PAUSE: Final = 0.1

BEGINNING: Final = datetime(1, 1, 1, tzinfo=UTC)
"""Before all arrivals."""


class FollowersBehindError(UnavailableError):
    """A follower has not passed what is to be removed. It is removed when it has."""


class OthersRemovedError(UnavailableError):
    """Somebody else removed the same events meanwhile, or ended the job: what is left is to be read anew."""


@dataclass(frozen=True, slots=True)
class Doomed:
    """The log that events leave.

    Attributes:
        tenant_id: Whose it is.
        log_id: The log.
    """

    tenant_id: str
    log_id: int


@dataclass(frozen=True, slots=True)
class Step:
    """Something that was done, durably.

    Attributes:
        name: ``leaves stored``, ``batch removed``, ``partition prepared``, ``partition dropped`` or another's own.
        events: How many left by it.
        through: Of a batch the last seq.
    """

    name: str
    events: int = 0
    through: int | None = None


Beside: TypeAlias = Callable[[Connection, Sequence[Leaf]], Awaitable[None]]
"""What else is to be written in the transaction that takes a batch out."""


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast events leave.

    Attributes:
        batch_events: Events that leave in one transaction.
        load: Share of the time in which they do, or in which their leaf hashes are read.
    """

    batch_events: int = 100
    load: float = 0.3


class RemovalMetrics:
    """What the removal of events tells Prometheus."""

    def __init__(self, registry: CollectorRegistry) -> None:
        removed = Counter(
            "tallystick_removed_events",
            "Events that left, deleted in batches or with the partition that they were in.",
            ["way"],
            registry=registry,
        )
        self.deleted = removed.labels("deleted")
        self.dropped = removed.labels("dropped")


class Remover:
    """Takes events out of logs.

    Args:
        database: Whose reader role reads them, and whose worker role has them removed.
        objects: Where their leaf hashes go.
        followers: Who must have passed them before.
        speed: How fast.
        metrics: Where it counts.
    """

    def __init__(
        self,
        database: Database,
        objects: Objects,
        followers: Sequence[str],
        speed: Speed | None = None,
        metrics: RemovalMetrics | None = None,
    ) -> None:
        self._database = database
        self._objects = objects
        self._followers = list(followers)
        self._speed = speed or Speed()
        self._metrics = metrics or RemovalMetrics(CollectorRegistry())

    async def remove_before(self, log: Doomed, before: datetime, orders: Orders) -> AsyncGenerator[Step]:
        """Remove what arrived before a moment, a prefix of the log.

        Raises:
            FollowersBehindError: Of the rest, a follower has not passed anything.
            DatabaseDownError: PostgreSQL does not answer.
            ObjectsDownError: The object store does not answer.
        """
        after, since = await gone_through(self._database, log.log_id), BEGINNING
        while True:
            leaves: list[Leaf] = []
            async with aclosing(self._arrived(log.log_id, after, since, before)) as pages:
                async for page in pages:
                    leaves += page
                    if len(leaves) >= PORTION_EVENTS:
                        break
            if not leaves:
                return
            async for step in self.remove(log, await self._passed(log, leaves), orders):
                yield step
                if step.through is not None:
                    after = step.through
            async with self._database.worker_session() as connection:
                await queries.note_left(connection, log.log_id, after + 1)
            since = leaves[-1].received_at if after == leaves[-1].seq else since

    async def _passed(self, log: Doomed, leaves: list[Leaf]) -> list[Leaf]:
        """Those of some events that all followers have passed."""
        async with self._database.worker_session() as connection:
            passed = await queries.passed_by(connection, log.log_id, self._followers)
        there = [leaf for leaf in leaves if leaf.seq <= passed]
        if not there:
            raise _behind()
        return there

    async def remove(
        self, log: Doomed, leaves: Sequence[Leaf], orders: Orders, beside: Beside | None = None
    ) -> AsyncGenerator[Step]:
        """Remove events, ascending by seq, at most `PORTION_EVENTS`.

        Args:
            log: The log.
            leaves: Which.
            orders: On whose behalf.
            beside: See `Beside`. With it, a batch leaves whole or not at all.

        Raises:
            FollowersBehindError: A follower has not passed some of them.
            OthersRemovedError: Some are gone already.
            DatabaseDownError: PostgreSQL does not answer.
            ObjectsDownError: The object store does not answer.
        """
        key = f"{folder_of(log.tenant_id)}/{log.log_id}/{orders.job_id}/{secrets.token_hex(8)}"
        await self._objects.put(key, _pieces(log.log_id, leaves), synced=True)
        yield Step("leaves stored")
        size = self._speed.batch_events
        for begin in range(0, len(leaves), size):
            batch = leaves[begin : begin + size]
            began = monotonic()
            removed = await self._remove_batch(log.log_id, batch, orders, key, beside)
            self._metrics.deleted.inc(removed)
            yield Step("batch removed", removed, batch[-1].seq)
            await self._rest(monotonic() - began)

    async def _remove_batch(
        self, log_id: int, batch: Sequence[Leaf], orders: Orders, key: str, beside: Beside | None
    ) -> int:
        try:
            async with self._database.worker_session() as connection, connection.transaction():
                if beside is not None:
                    await queries.hold_log(connection, log_id)  # as `remove_events` does, before it asks for cursors
                    await beside(connection, batch)
                removed = await queries.remove_events(connection, log_id, batch, self._followers, orders, key)
                if beside is not None and removed < len(batch):
                    raise OthersRemovedError("some of it is removed already: what is left is read anew")
                return removed
        except asyncpg.ObjectNotInPrerequisiteStateError as error:
            raise _behind() from error

    async def prepare_drop(self, partition: Partition, log: Doomed, orders: Orders) -> AsyncGenerator[Step]:
        """Store the leaf hashes of what a partition holds of a log, unless that was done.

        Raises:
            OthersRemovedError: The job has ended meanwhile, so that nobody keeps what was stored.
            DatabaseDownError: PostgreSQL does not answer.
            ObjectsDownError: The object store does not answer.
        """
        async with self._database.worker_session() as connection:
            if await queries.is_prepared(connection, partition, log.log_id):
                return
        runs: list[tuple[int, int]] = []
        key = f"{folder_of(log.tenant_id)}/{log.log_id}/{orders.job_id}/{secrets.token_hex(8)}"
        await self._objects.put(key, self._all_pieces(partition, log.log_id, runs), synced=True)
        yield Step("leaves stored")
        if not runs:  # a cleanup has taken all of it meanwhile
            return
        async with self._database.worker_session() as connection, connection.transaction():
            if not await queries.keep_running(connection, orders.job_id):
                raise OthersRemovedError("the job that removes has ended meanwhile")
            await queries.note_prepared(connection, partition, log.log_id, runs, orders.job_id, key)
        yield Step("partition prepared")

    async def _all_pieces(
        self, partition: Partition, log_id: int, runs: list[tuple[int, int]]
    ) -> AsyncGenerator[bytes]:
        yield write_header(log_id)
        after = await gone_through(self._database, log_id)
        async with aclosing(self._arrived(log_id, after, partition.begins, partition.ends)) as pages:
            async for leaves in pages:
                for leaf in leaves:
                    if runs and runs[-1][1] == leaf.seq - 1:
                        runs[-1] = (runs[-1][0], leaf.seq)
                    else:
                        runs.append((leaf.seq, leaf.seq))
                yield await asyncio.to_thread(_runs_of, leaves)

    async def _arrived(self, log_id: int, after: int, since: datetime, before: datetime) -> AsyncGenerator[list[Leaf]]:
        """What arrived in a log within a time, after a seq, page by page, with rests in between."""
        while True:
            began = monotonic()
            async with self._database.log_session(log_id) as connection:
                leaves = await queries.arrived_before(connection, after, since, before, _PAGE_EVENTS)
            if not leaves:
                return
            yield leaves
            after, since = leaves[-1].seq, leaves[-1].received_at
            await self._rest(monotonic() - began)

    async def _rest(self, busy: float) -> None:
        """Let others have their share of the time."""
        await asyncio.sleep(max(busy * (1 / self._speed.load - 1), _LEAST_PAUSE))

    async def drop(self, partition: Partition, orders: Orders, platform_days: int | None) -> int | None:
        """Drop a partition that is prepared whole; returns how many events went with it.

        None where somebody held the table all the time, or something of it may not go by now: then it is prepared anew
        next time.

        Raises:
            DatabaseDownError: PostgreSQL does not answer.
        """
        for _ in range(_DROP_ATTEMPTS):
            async with self._database.worker_session() as connection:
                try:
                    dropped = await queries.drop_partition(
                        connection, partition.name, self._followers, orders, platform_days
                    )
                except asyncpg.LockNotAvailableError:
                    pass
                except asyncpg.ObjectNotInPrerequisiteStateError:
                    await queries.forget_prepared(connection, partition)
                    return None
                else:
                    self._metrics.dropped.inc(dropped)
                    return dropped
            await asyncio.sleep(_DROP_PAUSE)
        return None


async def gone_through(database: Database, log_id: int) -> int:
    """The seq through which all of a log is gone, as far as that was noted; -1 where nothing was.

    Raises:
        DatabaseDownError: PostgreSQL does not answer.
    """
    async with database.worker_session() as connection:
        return await queries.first_left(connection, log_id) - 1


async def first_arrived(database: Database, log_id: int, before: datetime) -> Leaf | None:
    """The first event that a log still has of those that arrived before a moment.

    Raises:
        DatabaseDownError: PostgreSQL does not answer.
    """
    after = await gone_through(database, log_id)
    async with database.log_session(log_id) as connection:
        found = await queries.arrived_before(connection, after, BEGINNING, before, 1)
    return next(iter(found), None)


def folder_of(tenant_id: str) -> str:
    """The prefix of the objects with a tenant's leaf hashes."""
    return f"tenants/{tenant_id}/leaves"


def _runs_of(leaves: Sequence[Leaf]) -> bytes:
    return write_runs([(leaf.seq, leaf.leaf_hash) for leaf in leaves])


async def _pieces(log_id: int, leaves: Sequence[Leaf]) -> AsyncGenerator[bytes]:
    yield write_header(log_id)
    yield await asyncio.to_thread(_runs_of, leaves)


def _behind() -> FollowersBehindError:
    return FollowersBehindError("the search index or the statistics are behind: what they have not passed stays")
