"""What an API process needs, started and stopped in order."""

import asyncio
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

from prometheus_client import CollectorRegistry, ProcessCollector

from tallystick.auth.gate import Gate
from tallystick.auth.keys import Keyring, load_or_create
from tallystick.auth.rates import RateLimits
from tallystick.auth.revocations import Revocations
from tallystick.auth.verifier import TokenVerifier
from tallystick.bootstrap.adapters import search_index, work_queue
from tallystick.database.pools import Database
from tallystick.export.service import ExportService
from tallystick.followers.wakeups import WakeUps
from tallystick.jobs.service import JobService
from tallystick.log.reader import LogReader
from tallystick.log.retries import Digests
from tallystick.log.source import LogSource
from tallystick.log.writer import Writer, WriterMetrics
from tallystick.ports import Queue
from tallystick.query.cursor import CursorCodec
from tallystick.search.jobs import request_rebuild
from tallystick.search.service import SearchService
from tallystick.search.tail import Tails
from tallystick.settings import Settings
from tallystick.tenants.directory import TenantDirectory
from tallystick.tenants.service import TenantService

MULTIPROCESS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Names the folder over which API processes on one port share their metrics (prometheus_client's own variable)."""

_FIRST_LOOK = 2.0
"""Seconds to wait for tenants and revocations before the process serves without them."""


_Grown: TypeAlias = Callable[[int, int], None]


@dataclass(slots=True)
class Lifecycle:
    """Whether this process wants more work. `/readyz` says no once it drains, before anything is refused."""

    draining: bool = False

    def drain(self) -> None:
        """Ask the balancer to send work elsewhere. To be called when the process is told to stop, before it does."""
        self.draining = True


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that routes are made of, for one process."""

    settings: Settings
    database: Database
    keyring: Keyring
    directory: TenantDirectory
    revocations: Revocations
    gate: Gate
    writer: Writer
    reader: LogReader
    search: SearchService
    exports: ExportService
    tenants: TenantService
    jobs: JobService
    registry: CollectorRegistry
    lifecycle: Lifecycle = field(default_factory=Lifecycle)


def make_registry() -> CollectorRegistry:
    """A registry of our own, with the process's memory, CPU and open files where no other process shares the port."""
    registry = CollectorRegistry()
    if MULTIPROCESS_VARIABLE not in os.environ:
        ProcessCollector(registry=registry)
    return registry


@asynccontextmanager
async def services(settings: Settings, registry: CollectorRegistry | None = None) -> AsyncGenerator[Services]:
    """Start what an API process needs, and stop it in reverse: nothing accepted is lost.

    A database that does not answer delays nothing here: until it does, requests get a 503 and `/readyz` says why.

    Args:
        settings: Of the installation.
        registry: Where metrics are kept; one of `make_registry` when None.

    Raises:
        ConfigurationError: Settings or key files need a person.
    """
    registry = make_registry() if registry is None else registry
    keyring = load_or_create(settings.keys)
    cursors = CursorCodec(keyring.cursor_signing)
    async with Database.from_settings(settings.database) as database:
        directory = TenantDirectory(database, settings.auth.freshness)
        revocations = Revocations(database, settings.auth.freshness)
        async with (
            aclosing(TokenVerifier(settings.auth, keyring)) as verifier,
            _following(directory, revocations),
            work_queue(settings, database) as queue,
            _waking(settings, queue) as grown,
            _writing(database, settings, keyring, registry, grown) as writer,
            search_index(settings) as index,
        ):
            jobs = JobService(database, queue, cursors)
            reader = LogReader(database, cursors, settings)
            tails = Tails(LogSource(database), settings.search.tail_events)
            search = SearchService(reader, index, tails, cursors, partial(request_rebuild, database, jobs))
            made = Services(
                settings=settings,
                database=database,
                keyring=keyring,
                directory=directory,
                revocations=revocations,
                gate=Gate(verifier, revocations, directory, RateLimits(settings.rates)),
                writer=writer,
                reader=reader,
                search=search,
                exports=ExportService(database, reader, search, settings.api.max_exports),
                tenants=TenantService(database, directory, cursors),
                jobs=jobs,
                registry=registry,
            )
            try:
                yield made
            finally:
                made.lifecycle.drain()


@asynccontextmanager
async def _following(directory: TenantDirectory, revocations: Revocations) -> AsyncGenerator[None]:
    """Follow tenants and revocations, having looked once where the database answers soon."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_FIRST_LOOK):
            # What fails here fails again in `run`, which says so.
            await asyncio.gather(directory.refresh(), revocations.refresh(), return_exceptions=True)
    tasks = [asyncio.create_task(follower.run(), name=type(follower).__name__) for follower in (directory, revocations)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task


@asynccontextmanager
async def _waking(settings: Settings, queue: Queue) -> AsyncGenerator[_Grown | None]:
    """What the writer tells of growth; nobody where the queue looks for itself."""
    if settings.queue.kind == "embedded":
        yield None
        return
    async with WakeUps(queue, settings.queue.wake_interval) as wake_ups:
        yield wake_ups.grown


@asynccontextmanager
async def _writing(
    database: Database, settings: Settings, keyring: Keyring, registry: CollectorRegistry, grown: _Grown | None
) -> AsyncGenerator[Writer]:
    writer = Writer(database, settings.writer, Digests(keyring.retry_digest), WriterMetrics(registry), grown=grown)
    await writer.start()
    try:
        yield writer
    finally:
        await writer.close()
