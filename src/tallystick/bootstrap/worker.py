"""What a worker does: it keeps the partitions, follows the logs and runs jobs."""

import os
import secrets
import socket
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace
from datetime import timedelta
from functools import partial

import structlog
from prometheus_client import CollectorRegistry

from tallystick.access_log.model import Actor, Deed, Result
from tallystick.access_log.service import AccessLog
from tallystick.auth.keyring import open_keyring
from tallystick.auth.keys import SigningKeys
from tallystick.bootstrap.adapters import FOLLOWERS, search_index, tenant_keys, work_queue
from tallystick.bootstrap.measuring import KeyRingMetrics
from tallystick.bootstrap.recording import access_log
from tallystick.bootstrap.telemetry import tracing_to
from tallystick.database.metrics import PoolMetrics
from tallystick.database.partitions import maintain
from tallystick.database.pools import Database
from tallystick.errors import UnavailableError
from tallystick.export.jobs import EXPORT, ExportJob
from tallystick.export.service import ExportService
from tallystick.export.tidying import TIDY_SECONDS, remove_ended, remove_stray_exports
from tallystick.export.whole import WholeExports
from tallystick.followers.engine import FollowerEngine, Pace
from tallystick.followers.listening import WakeUpListener
from tallystick.followers.metrics import FollowerMetrics, QueueMetrics
from tallystick.jobs.model import Handler, Job, JobState
from tallystick.jobs.runner import JobRunner
from tallystick.jobs.service import JobService
from tallystick.log.reader import LogReader
from tallystick.log.removal import RemovalMetrics, Remover, Speed
from tallystick.log.source import LogSource
from tallystick.objects.metrics import ObjectMetrics
from tallystick.objects.store import Objects
from tallystick.ports import Queue, SearchIndex
from tallystick.query.cursor import CursorCodec
from tallystick.retention.applying import APPLY_RETENTION, ApplyRetention
from tallystick.retention.cleanup import CLEANUP, Cleanup
from tallystick.retention.cutting import Cutter
from tallystick.retention.forgetting import IndexForgetting
from tallystick.retention.guards import MinimumGuard
from tallystick.retention.model import MinimumRetention
from tallystick.retention.offboarding import OFFBOARD, Offboarding, Terms
from tallystick.retention.scheduling import SCHEDULE_SECONDS, schedule
from tallystick.retention.tidying import remove_stray_leaves
from tallystick.retention.tracing import RecordedRemovals
from tallystick.runtime.metrics import MULTIPROCESS_VARIABLE, make_registry
from tallystick.runtime.pulse import Pulse
from tallystick.runtime.worker import MAINTENANCE_INTERVAL, Loop, repeat
from tallystick.runtime.worker_door import WorkerDoor, open_worker_socket, serve_door
from tallystick.search.follower import IndexFollower, Turns
from tallystick.search.jobs import REBUILD_INDEX, IndexRebuild, request_rebuild
from tallystick.search.losses import Losses
from tallystick.search.metrics import SearchMetrics
from tallystick.search.service import SearchService
from tallystick.search.tail import Tails
from tallystick.settings import Settings
from tallystick.stats.follower import RollupFollower
from tallystick.tenants.directory import TenantDirectory

_log = structlog.get_logger("tallystick.access_log")


@asynccontextmanager
async def worker_loops(settings: Settings) -> AsyncGenerator[Sequence[Loop]]:
    """Make the loops of a worker, over connections of their own.

    Raises:
        ConfigurationError: Settings need a person.
    """
    registry, pulse = make_registry(), Pulse()
    async with (
        tracing_to(settings.telemetry, "worker") as tracing,
        Database.from_settings(settings.database, PoolMetrics(registry), tracing) as database,
        search_index(settings, tracing) as index,
        work_queue(settings, database, tracing) as queue,
        access_log(
            settings, database, directory := TenantDirectory(database, settings.auth.freshness), registry
        ) as log,
        tenant_keys(settings, database, open_keyring(settings), KeyRingMetrics(registry)) as keys,
    ):
        source = LogSource(database)
        pace = _pace(settings)
        followed = FollowerMetrics(registry)
        turns = Turns() if settings.search.engine == "tantivy" else Turns(None)
        followers = WakeUpListener(
            queue,
            [
                FollowerEngine(IndexFollower(index, database, turns), source, database, pace, followed, tracing),
                FollowerEngine(RollupFollower(), source, database, _slower(pace), followed, tracing),
            ],
            turned=pulse.of("followers"),
        )
        sweep_seconds = settings.queue.sweep_interval
        objects = Objects.from_settings(settings.objects, settings.home, ObjectMetrics(registry))
        exports = _exports(settings, database, index, queue, SearchMetrics(registry))
        exporting = ExportJob(database, exports, objects, keys, settings.exports)
        asked = JobService(database, queue, _cursors())
        whole = WholeExports(database, asked, objects)
        removing = _removing(settings, database, objects, whole, log, RemovalMetrics(registry))
        jobs = JobRunner(
            database,
            queue,
            {REBUILD_INDEX: IndexRebuild(index, source, database, turns), EXPORT: exporting, **removing},
            sweep_seconds=sweep_seconds,
            limits={EXPORT: settings.exports.parallel, APPLY_RETENTION: 1, CLEANUP: 1, OFFBOARD: 1},
            ended=partial(_record_end, log),
            turned=pulse.of("jobs"),
            tracing=tracing,
        )
        forgetting = IndexForgetting(database, index, partial(request_rebuild, database, asked))

        async def keep_partitions() -> None:
            span = settings.database.partition_interval
            await repeat("maintenance", lambda: maintain(database, span), MAINTENANCE_INTERVAL)

        async def keep_exports() -> None:
            await repeat("ended exports", lambda: remove_ended(database, objects), TIDY_SECONDS)

        async def keep_objects() -> None:
            await repeat("stray objects", lambda: remove_stray_exports(database, objects), MAINTENANCE_INTERVAL)

        async def keep_retention() -> None:
            platform_days = settings.retention.platform_days
            await repeat("retention", lambda: schedule(database, asked, platform_days), SCHEDULE_SECONDS)

        async def keep_leaves() -> None:
            await repeat("stray leaves", lambda: remove_stray_leaves(database, objects), MAINTENANCE_INTERVAL)

        async def keep_files() -> None:
            days = settings.retention.purge_days
            await repeat("removed from files", lambda: forgetting.purge_all(days), MAINTENANCE_INTERVAL)

        with open_worker_socket(settings.worker) or nullcontext() as listener:
            yield (
                keep_partitions,
                followers.run,
                jobs.run,
                keep_exports,
                keep_objects,
                keep_retention,
                keep_leaves,
                keep_files,
                forgetting.run,
                directory.run,
                *_watching(listener, database, queue, registry, pulse),
            )


def _watching(
    listener: socket.socket | None, database: Database, queue: Queue, registry: CollectorRegistry, pulse: Pulse
) -> list[Loop]:
    """The door, where one is wanted, and what is looked at for its sake alone, or for that of `tallystick up`."""
    loops: list[Loop] = []
    if listener is not None:

        async def reach() -> None:
            async with database.worker_session() as connection:
                await connection.execute("select 1")

        loops.append(partial(serve_door, WorkerDoor(registry, pulse, reach), listener))
    if loops or MULTIPROCESS_VARIABLE in os.environ:
        loops.append(partial(QueueMetrics(registry).watch, queue))
    return loops


def _cursors() -> CursorCodec:
    """A worker gives out no cursors, so it needs no key of the installation's to sign them."""
    return CursorCodec(SigningKeys("worker", {"worker": secrets.token_bytes(32)}))


def _removing(
    settings: Settings,
    database: Database,
    objects: Objects,
    exports: WholeExports,
    log: AccessLog,
    metrics: RemovalMetrics,
) -> dict[str, Handler]:
    """What removes events, by kind of job."""
    chosen = settings.retention
    remover = Remover(database, objects, FOLLOWERS, Speed(chosen.batch_events, chosen.load), metrics)
    minimum, tracing = MinimumRetention.of(settings.retention), RecordedRemovals(log)
    return {
        APPLY_RETENTION: ApplyRetention(database, remover, minimum, (), tracing, chosen.platform_days),
        CLEANUP: Cleanup(database, LogSource(database), remover, minimum, (), tracing),
        OFFBOARD: Offboarding(
            database,
            exports,
            Cutter(database, remover, (MinimumGuard(database, minimum),), tracing),
            minimum,
            tracing,
            _terms(settings),
        ),
    }


def _terms(settings: Settings) -> Terms:
    """How long a removal waits for who was let in a moment before, by what was known then, and sends a body slowly."""
    settle = settings.auth.freshness + settings.api.body_timeout + settings.database.append_timeout
    return Terms(timedelta(seconds=settle), timedelta(days=settings.retention.offboarding_keep_days))


async def _record_end(log: AccessLog, job: Job) -> None:
    """Record what became of a job, for who asked for it: the outcome of what the API took down as `accepted`."""
    actor = Actor(job.created_by.get("issuer", ""), job.created_by.get("subject", ""))
    deed = Deed("worker", f"{'exports' if job.kind == EXPORT else 'jobs'}.end", "job", job.id)
    told = {"kind": job.kind, "log": job.log, "state": str(job.state), "count": job.done}
    result: Result = "completed" if job.state is JobState.SUCCEEDED else "aborted"
    if job.state is JobState.FAILED:
        result = "failed"
    try:
        log.tell(actor, deed, result, told, await log.places(job.tenant_id))
    except UnavailableError:
        _log.warning("the end of a job is not recorded", job_id=job.id)


def _exports(
    settings: Settings, database: Database, index: SearchIndex, queue: Queue, metrics: SearchMetrics
) -> ExportService:
    """Reads exports."""
    cursors = _cursors()
    reader = LogReader(database, cursors, settings)
    report_damage = partial(request_rebuild, database, JobService(database, queue, cursors))
    tails = Tails(LogSource(database), settings.search.tail_events)
    losses = Losses(database, report_damage)
    search = SearchService(reader, index, tails, cursors, report_damage, losses, metrics)
    return ExportService(database, reader, search, settings.exports.parallel)


def _slower(pace: Pace) -> Pace:
    """The more events are rolled up at once, the fewer rows change for each of them."""
    return replace(pace, batch_events=pace.stretch_events, batch_seconds=2 * pace.batch_seconds, parallel=2)


def _pace(settings: Settings) -> Pace:
    return Pace(
        batch_events=settings.search.commit_events,
        batch_seconds=settings.search.commit_seconds,
        few_events=settings.search.slow_events,
        few_seconds=settings.search.slow_seconds,
        sweep_seconds=settings.queue.sweep_interval,
    )
