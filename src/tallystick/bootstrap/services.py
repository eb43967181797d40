"""What an API process needs, started and stopped in order."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

from prometheus_client import CollectorRegistry

from tallystick.access_log.backlog import AccessMetrics
from tallystick.access_log.service import AccessLog
from tallystick.auth.gate import Gate
from tallystick.auth.keyring import open_keyring
from tallystick.auth.keys import Keyring
from tallystick.auth.rates import RateLimits, RateMetrics
from tallystick.auth.revocations import Revocations
from tallystick.auth.verifier import TokenVerifier
from tallystick.bootstrap.adapters import rate_counters, search_index, tenant_keys, work_queue
from tallystick.bootstrap.measuring import KeyRingMetrics
from tallystick.bootstrap.telemetry import tracing_to
from tallystick.database.metrics import PoolMetrics
from tallystick.database.pools import Database
from tallystick.export.service import ExportService
from tallystick.export.stored import StoredExports
from tallystick.followers.wakeups import WakeUps
from tallystick.history.reveal import RevealService
from tallystick.jobs.service import JobService
from tallystick.log.reader import LogReader
from tallystick.log.retries import Digests
from tallystick.log.source import LogSource
from tallystick.log.writer import Writer, WriterMetrics
from tallystick.objects.metrics import ObjectMetrics
from tallystick.objects.store import Objects
from tallystick.ports import Queue
from tallystick.privacy.masking.metrics import MaskingMetrics
from tallystick.privacy.masking.service import Masking
from tallystick.privacy.service import TenantKeys
from tallystick.query.cursor import CursorCodec
from tallystick.retention.model import MinimumRetention
from tallystick.retention.offboarding import NOT_CANCELLED
from tallystick.retention.offboarding_service import OffboardingService
from tallystick.retention.service import CleanupService
from tallystick.runtime.metrics import make_registry
from tallystick.search.counting import CountService
from tallystick.search.jobs import request_rebuild
from tallystick.search.losses import Losses
from tallystick.search.metrics import SearchMetrics
from tallystick.search.service import SearchService
from tallystick.search.tail import Tails
from tallystick.settings import Settings
from tallystick.stats.service import StatsService
from tallystick.stream.hub import Hub
from tallystick.stream.metrics import StreamMetrics
from tallystick.stream.replay import Replays
from tallystick.stream.service import StreamService
from tallystick.tenants.directory import TenantDirectory
from tallystick.tenants.service import TenantService
from tallystick.tracing import Tracing

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
    rates: RateLimits
    gate: Gate
    masking: Masking
    writer: Writer
    access_log: AccessLog
    reader: LogReader
    search: SearchService
    stats: StatsService
    exports: ExportService
    stored_exports: StoredExports
    streams: StreamService
    tenants: TenantService
    jobs: JobService
    keys: TenantKeys
    reveals: RevealService
    cleanups: CleanupService
    offboardings: OffboardingService
    registry: CollectorRegistry
    tracing: Tracing
    lifecycle: Lifecycle = field(default_factory=Lifecycle)


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
    keyring = open_keyring(settings)
    cursors = CursorCodec(keyring.cursor_signing)
    async with (
        tracing_to(settings.telemetry, "api") as tracing,
        Database.from_settings(settings.database, PoolMetrics(registry), tracing) as database,
    ):
        directory = TenantDirectory(database, settings.auth.freshness)
        revocations = Revocations(database, settings.auth.freshness)
        source = LogSource(database)
        stream_metrics, rate_metrics = StreamMetrics(registry), RateMetrics(registry)
        known = partial(_known, directory, revocations)
        patience = settings.api.read_timeout
        hub = Hub(source, stream_metrics, max_bytes=settings.api.stream_buffer, patience=patience, fresh=known)
        writer_told = partial(
            Writer, database, settings.writer, Digests(keyring.retry_digest), WriterMetrics(registry), tracing=tracing
        )
        async with (
            aclosing(TokenVerifier(settings.auth, keyring)) as verifier,
            rate_counters(settings, keyring, rate_metrics.seconds.observe) as counters,
            _following(directory, revocations),
            work_queue(settings, database, tracing) as queue,
            _waking(settings, queue, tracing) as woken,
            _writing(writer_told(_both(hub.grown, woken))) as writer,
            search_index(settings, tracing) as index,
            tenant_keys(settings, database, keyring, KeyRingMetrics(registry)) as keys,
            _recording(AccessLog(writer, directory, AccessMetrics(registry))) as access_log,
        ):
            rates = RateLimits(settings.rates, counters, rate_metrics)
            gate = Gate(verifier, revocations, directory, rates)
            streams = StreamService(hub, Replays(source, patience, known), gate, settings.api, stream_metrics)
            jobs = JobService(database, queue, cursors, NOT_CANCELLED)
            tenants = TenantService(database, directory, cursors)
            minimum = MinimumRetention.of(settings.retention)
            reader = LogReader(database, cursors, settings)
            tails = Tails(source, settings.search.tail_events)
            report_damage = partial(request_rebuild, database, jobs)
            losses = Losses(database, report_damage)
            search = SearchService(reader, index, tails, cursors, report_damage, losses, SearchMetrics(registry))
            exports = ExportService(database, reader, search, settings.api.max_exports)
            objects = Objects.from_settings(settings.objects, settings.home, ObjectMetrics(registry))
            made = Services(
                settings=settings,
                database=database,
                keyring=keyring,
                directory=directory,
                revocations=revocations,
                rates=rates,
                gate=gate,
                masking=Masking(keys, MaskingMetrics(registry)),
                writer=writer,
                access_log=access_log,
                reader=reader,
                search=search,
                stats=StatsService(database, CountService(index, tails, report_damage)),
                exports=exports,
                stored_exports=StoredExports(database, jobs, exports, objects, keys, settings.exports),
                streams=streams,
                tenants=tenants,
                jobs=jobs,
                keys=keys,
                reveals=RevealService(reader, keys),
                cleanups=CleanupService(database, jobs, source, minimum),
                offboardings=OffboardingService(database, jobs, tenants, minimum, settings.retention),
                registry=registry,
                tracing=tracing,
            )
            async with _running(streams.run()):
                try:
                    yield made
                finally:
                    made.lifecycle.drain()


def _known(directory: TenantDirectory, revocations: Revocations) -> bool:
    """Whether it is known who may see what."""
    return directory.fresh and revocations.fresh


@asynccontextmanager
async def _following(directory: TenantDirectory, revocations: Revocations) -> AsyncGenerator[None]:
    """Follow tenants and revocations, having looked once where the database answers soon."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_FIRST_LOOK):
            # What fails here fails again in `run`, which says so.
            await asyncio.gather(directory.refresh(), revocations.refresh(), return_exceptions=True)
    async with _running(directory.run(), revocations.run()):
        yield


@asynccontextmanager
async def _running(*loops: Coroutine[None, None, None]) -> AsyncGenerator[None]:
    """Run what never ends by itself."""
    tasks = [asyncio.create_task(loop) for loop in loops]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task


def _both(first: _Grown, second: _Grown | None) -> _Grown:
    """Tell two who want to know of growth, or one."""
    if second is None:
        return first

    def tell(log_id: int, size: int) -> None:
        first(log_id, size)
        second(log_id, size)

    return tell


@asynccontextmanager
async def _waking(settings: Settings, queue: Queue, tracing: Tracing) -> AsyncGenerator[_Grown | None]:
    """What the writer tells of growth; nobody where the queue looks for itself."""
    if settings.queue.kind == "embedded":
        yield None
        return
    async with WakeUps(queue, settings.queue.wake_interval, tracing) as wake_ups:
        yield wake_ups.grown


@asynccontextmanager
async def _recording(log: AccessLog) -> AsyncGenerator[AccessLog]:
    async with log.running():
        yield log


@asynccontextmanager
async def _writing(writer: Writer) -> AsyncGenerator[Writer]:
    await writer.start()
    try:
        yield writer
    finally:
        await writer.close()
