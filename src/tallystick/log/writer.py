"""The writer: requests gather while a transaction commits, then go together (group commit).

One runs in each API process. `append` returns once the event is durable. Nothing waits without bound and nothing is
dropped: a request is answered with where its events lie, or with an error that says nothing of it was stored.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Final

import asyncpg
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from tallystick.database.outage import OUTAGES
from tallystick.database.pools import Database, OwnConnection
from tallystick.errors import DatabaseDownError, InvalidError, TallystickError, UnavailableError
from tallystick.log.appender import append_batch, is_inside, leave
from tallystick.log.commit import Appended, CommitLostError, Probe, was_committed
from tallystick.log.lanes import Append, Lanes, Outcome
from tallystick.log.retries import Digests
from tallystick.settings import WriterSettings
from tallystick.tracing import UNTRACED, Tracing

_log = structlog.get_logger("tallystick.writer")

_SHARED_LOCK_TIMEOUT: Final = 0.1
"""Seconds that a batch waits for the lock of its only log before it is set aside."""

_ASK_AGAIN_SECONDS: Final = 0.2

_STAY_SECONDS: Final = 0.5
"""How long a connection stays in a transaction that nothing was done in: the next batch finds it begun. And for how
long each commit begins the next, which takes over its mode: that a server became read-only is seen by who begins anew.
"""

_LEAVE_SECONDS: Final = 1.0

# Through a pooler a session belongs to others as well; and who stayed in a transaction would keep it from them.
_OWN: Final = "select case when pg_backend_pid() = $1 then set_config('lock_timeout', $2, false) end is not null"

_TELL_SECONDS: Final = 0.05
"""How late metrics may know of what was accepted: telling them at each request took 3 % of a single append's CPU."""


@dataclass(slots=True)
class _Line:
    """A connection of the writer.

    Attributes:
        lock_timeout: Seconds that it waits for a log.
        own: Whether its session is its alone, and so has that limit and may stay in a transaction.
        begun_at: When it last began a transaction by itself.
    """

    connection: OwnConnection
    patient: bool
    lock_timeout: float
    own: bool
    begun_at: float = 0.0


class WriterMetrics:
    """What the writer tells Prometheus."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.batch_events = Histogram(
            "tallystick_append_batch_events",
            "Events stored by one transaction.",
            buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000),
            registry=registry,
        )
        self.seconds = Histogram(
            "tallystick_append_seconds",
            "Seconds of one transaction, from its first statement to its commit.",
            buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
            registry=registry,
        )
        self.accepted = Counter("tallystick_accepted_events", "Events let into the queue.", registry=registry)
        self.events = Counter("tallystick_appended_events", "Events stored.", registry=registry)
        self.failures = Counter(
            "tallystick_append_failures", "Transactions that failed, by reason.", ["reason"], registry=registry
        )
        self.waiting = Gauge(
            "tallystick_append_waiting_events",
            "Events accepted and not yet answered.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.waiting_bytes = Gauge(
            "tallystick_append_waiting_bytes",
            "Bytes of the bodies of events accepted and not yet answered.",
            registry=registry,
            multiprocess_mode="livesum",
        )

    def hold(self, lanes: Lanes) -> None:
        """Tell what waits."""
        self.waiting.set(lanes.held_events)
        self.waiting_bytes.set(lanes.held_bytes)


class Writer:
    """Appends events to logs.

    Half of its connections are for what may take long: bodies of many events, and logs that another process holds.

    Args:
        database: Where its connections come from.
        settings: Bounds of the queue and of a transaction.
        digests: Of retry keys.
        metrics: Where it counts.
        grown: Told of each log that grew and its new size, after the commit. It must not wait.
        tracing: Of each batch; the requests that it carries are its causes.
    """

    def __init__(
        self,
        database: Database,
        settings: WriterSettings,
        digests: Digests,
        metrics: WriterMetrics,
        grown: Callable[[int, int], None] | None = None,
        tracing: Tracing = UNTRACED,
    ) -> None:
        self._database = database
        self._settings = settings
        self._digests = digests
        self._metrics = metrics
        self._grown = grown
        self._tracing = tracing
        self._lanes = Lanes(settings)
        self._ready = {patient: asyncio.Event() for patient in (False, True)}
        self._closing = False
        self._accepted = 0
        self._telling: asyncio.TimerHandle | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def fill(self) -> float:
        """How full the queue is, 0 to 1."""
        settings = self._settings
        return max(self._lanes.held_events / settings.queue_events, self._lanes.held_bytes / settings.queue_bytes)

    async def start(self) -> None:
        """Start storing what is appended."""
        connections = self._database.settings.writer_connections
        self._tasks = [
            asyncio.create_task(self._work(patient=number < connections // 2), name=f"writer {number}")
            for number in range(connections)
        ]

    async def close(self) -> None:
        """Refuse new requests, store all that wait, and stop."""
        self._closing = True
        self._wake(*self._ready)
        await asyncio.gather(*self._tasks)

    async def append(self, append: Append) -> Outcome:
        """Store a request's events durably, all in one transaction.

        A caller that is cancelled while it waits changes nothing: its events are stored all the same.

        Raises:
            OverloadedError: The queue is full.
            ConflictError: A retry key came with other content.
            InvalidError: The database refuses an event.
            DatabaseDownError: The database does not answer; nothing was stored.
            UnavailableError: Shutting down; or the connection was lost and the outcome could not be learnt.
        """
        if self._closing:
            raise UnavailableError("this process is shutting down; send the request again", retry_after=1)
        append.cause = self._tracing.cause()
        self._lanes.offer(append)
        self._accepted += len(append.events)
        if self._telling is None:
            self._telling = asyncio.get_running_loop().call_later(_TELL_SECONDS, self._tell)
        if not self._lanes.is_busy(append):  # else its log's worker comes back for it
            self._wake(self._lanes.is_patient(append))
        return await append.done

    def _tell(self) -> None:
        """Let metrics know what was accepted, and what waits now."""
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None
        if self._accepted:
            self._metrics.accepted.inc(self._accepted)
            self._accepted = 0
        self._metrics.hold(self._lanes)

    def _wake(self, *kinds: bool) -> None:
        for patient in kinds:
            self._ready[patient].set()

    async def _work(self, *, patient: bool) -> None:
        """Store batch after batch over one connection."""
        line: _Line | None = None
        while batch := await self._next_batch(line, patient=patient):
            try:
                if line is None or line.connection.is_closed():
                    line = await self._connect(patient=patient)
                with self._tracing.span("append", _told(batch), causes=_causes(batch)):
                    await self._store(line, batch)
            except TallystickError as error:
                self._fail(batch, error, reason=error.slug)
            except OUTAGES as error:
                _log.warning("append failed", reason=type(error).__name__)
                # A server that hangs would let those behind hang as long again.
                behind = self._lanes.take_all() if isinstance(error, TimeoutError) else []
                self._fail([*batch, *behind], _down(), reason=type(error).__name__)
            except Exception:  # noqa: BLE001  # a bug fails its batch, never the worker
                _log.exception("append failed")
                self._fail(batch, TallystickError("the event could not be stored"), reason="bug")
            finally:
                self._lanes.release(batch)
                self._tell()
                self._wake(*self._ready)
        if line is not None:
            with suppress(*OUTAGES):
                await line.connection.close(timeout=1)

    async def _connect(self, *, patient: bool) -> _Line:
        settings = self._database.settings
        lock_timeout = settings.lock_timeout if patient else _SHARED_LOCK_TIMEOUT
        async with asyncio.timeout(settings.connect_timeout):
            connection = await self._database.connect_writer()
            try:
                own = await connection.fetchval(_OWN, connection.get_server_pid(), f"{lock_timeout * 1000:.0f}")
            except BaseException:
                connection.terminate()
                raise
        return _Line(connection, patient, lock_timeout, own)

    async def _next_batch(self, line: _Line | None, *, patient: bool) -> list[Append]:
        ready = self._ready[patient]
        until = monotonic() + _STAY_SECONDS
        while True:
            ready.clear()
            if batch := self._lanes.take(patient=patient):
                return batch
            if self._closing and self._lanes.held_events == 0:
                return []
            if line is None or not is_inside(line.connection):
                await ready.wait()
                continue
            try:
                async with asyncio.timeout(until - monotonic()):
                    await ready.wait()
            except TimeoutError:
                await _leave(line.connection)

    async def _store(self, line: _Line, batch: Sequence[Append]) -> None:
        started = monotonic()
        try:
            appended = await self._append_for_sure(line, batch)
        except asyncpg.LockNotAvailableError:
            if line.patient:
                raise
            self._lanes.put_back(batch)
            return
        except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError) as error:
            self._metrics.failures.labels(reason=error.sqlstate).inc()
            if isinstance(error, asyncpg.CheckViolationError) and not error.constraint_name:
                raise _without_partition() from error
            if len(batch) == 1:
                self._answer(batch[0], _refused(error))
                return
            for append in batch:  # one of them is at fault, and only that one shall fail
                await self._store(line, [append])
            return
        self._metrics.seconds.observe(monotonic() - started)
        self._settle(appended)

    async def _append_for_sure(self, line: _Line, batch: Sequence[Append]) -> Appended:
        """Append, and learn the outcome where the connection was lost at COMMIT."""
        now = monotonic()
        if not is_inside(line.connection):
            line.begun_at = now
        chain = line.own and now - line.begun_at < _STAY_SECONDS
        lock_timeout = None if line.own else line.lock_timeout
        digests = self._digests.for_batch()
        try:
            async with asyncio.timeout(self._database.settings.append_timeout):
                return await append_batch(line.connection, batch, digests, lock_timeout=lock_timeout, chain=chain)
        except CommitLostError as lost:
            self._metrics.failures.labels(reason="commit lost").inc()
            if lost.appended.probe is None or await self._learn(lost.appended.probe):
                return lost.appended
            raise _down() from lost

    async def _learn(self, probe: Probe) -> bool:
        """Ask over new connections whether a lost commit came through, for as long as an append may take."""
        deadline = monotonic() + self._database.settings.append_timeout
        while monotonic() < deadline:
            try:
                connection = await self._database.connect_writer()
                try:
                    return await was_committed(connection, probe)
                finally:
                    connection.terminate()
            except OUTAGES:
                await asyncio.sleep(_ASK_AGAIN_SECONDS)
        raise UnavailableError(
            "the connection was lost while it committed, and whether the request is stored could not be learnt: "
            "send it again with the same event_id or Idempotency-Key",
            retry_after=5,
        )

    def _settle(self, appended: Appended) -> None:
        if self._grown is not None:
            for log_id, size in appended.sizes.items():
                self._grown(log_id, size)
        events = 0
        for append, result in appended.results.items():
            if isinstance(result, Outcome):
                events += sum(1 for stored in result.stored if stored is not None and not stored.known)
            self._answer(append, result)
        self._metrics.batch_events.observe(events)
        self._metrics.events.inc(events)
        if appended.set_aside:
            self._lanes.put_back(appended.set_aside)

    def _fail(self, batch: Sequence[Append], error: TallystickError, *, reason: str) -> None:
        self._metrics.failures.labels(reason=reason).inc()
        for append in batch:
            if not append.waiting:  # else it was put back and has its turn to come
                self._answer(append, error)

    def _answer(self, append: Append, result: Outcome | TallystickError) -> None:
        if append.answered:
            return
        append.answered = True
        self._lanes.forget(append)
        if append.done.done():  # its client hung up
            return
        if isinstance(result, Outcome):
            append.done.set_result(result)
        else:
            append.done.set_exception(result)


async def _leave(connection: OwnConnection) -> None:
    """Leave a transaction that nothing was done in; where that fails, nothing is lost but the connection."""
    try:
        async with asyncio.timeout(_LEAVE_SECONDS):
            await leave(connection)
    except OUTAGES as error:
        _log.warning("connection given up", reason=type(error).__name__)
    except Exception:  # noqa: BLE001  # a bug costs a connection, never the worker
        _log.exception("connection given up")
        connection.terminate()


def _told(batch: Sequence[Append]) -> dict[str, int]:
    return {"tallystick.requests": len(batch), "tallystick.events": sum(len(append.events) for append in batch)}


def _causes(batch: Sequence[Append]) -> Iterator[str]:
    """What the requests of a batch come of; looked at by nobody where nothing is traced."""
    return (append.cause for append in batch if append.cause is not None)


def _down() -> DatabaseDownError:
    return DatabaseDownError(
        "the database does not answer, and nothing was stored; send the request again", retry_after=2
    )


def _refused(error: asyncpg.PostgresError) -> TallystickError:
    _log.warning("event refused by the database", sqlstate=error.sqlstate)
    return InvalidError(f"the database refuses the event (SQLSTATE {error.sqlstate}); check its timestamp and texts")


def _without_partition() -> UnavailableError:
    _log.error("no partition takes rows of now: is the worker running?")
    return UnavailableError("the server is not prepared for today's events; nothing was stored", retry_after=60)
