"""The streams of one process: how many there may be, who may go on, and what each is sent."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Final

import structlog

from tallystick.auth.access import Access
from tallystick.auth.gate import Gate
from tallystick.auth.operations import READINGS, LogName
from tallystick.errors import OverloadedError, RateLimitedError, TallystickError, UnavailableError
from tallystick.log.turns import give_way
from tallystick.settings import ApiSettings
from tallystick.stream.audience import Audience, Stream
from tallystick.stream.hub import Hub
from tallystick.stream.metrics import LEFT, StreamMetrics
from tallystick.stream.model import FAILED, UNAUTHENTICATED, Close, Socket, StreamQuery, close_of
from tallystick.stream.replay import Replays
from tallystick.stream.watched import WatchedLog

HEARTBEAT_SECONDS: Final = 15.0
_CHECK_SECONDS: Final = 0.5
_STRANGERS: Final = 0.1
"""Which part of all streams may have yet to authenticate."""

_SLICE: Final = 500

_log = structlog.get_logger("tallystick.stream")


class StreamService:
    """Opens streams, and closes those that may not go on.

    Args:
        hub: Sends events as they come.
        replays: Sends those that came before.
        gate: Tells who may still watch.
        settings: Limits.
        metrics: Where it counts.
    """

    def __init__(self, hub: Hub, replays: Replays, gate: Gate, settings: ApiSettings, metrics: StreamMetrics) -> None:
        self._hub = hub
        self._replays = replays
        self._gate = gate
        self._settings = settings
        self._metrics = metrics
        self._clients: Counter[str] = Counter()
        self._count = self._strangers = 0
        self._streams: set[Stream] = set()

    async def run(self) -> None:
        """Send events, heartbeats and what ends a stream, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._hub.run())
            group.create_task(self._look_after())

    @contextmanager
    def strangers(self) -> Generator[None]:
        """Let in a connection that has yet to authenticate, until the block ends.

        Raises:
            OverloadedError: Too many have yet to.
        """
        if self._strangers >= max(1, _STRANGERS * self._settings.max_streams):
            raise OverloadedError("too many connections have yet to authenticate; try again", retry_after=2)
        self._strangers += 1
        try:
            yield
        finally:
            self._strangers -= 1

    @contextmanager
    def admitted(self, client: str) -> Generator[None]:
        """Let a stream in until the block ends.

        Args:
            client: Whose it is.

        Raises:
            RateLimitedError: The client has as many as it may.
            OverloadedError: The process has.
        """
        if self._count >= self._settings.max_streams:
            raise OverloadedError("this process has as many streams as it may; try again", retry_after=5)
        if self._clients[client] >= self._settings.max_streams_per_principal:
            most = self._settings.max_streams_per_principal
            raise RateLimitedError(f"this principal has {most} streams open: close one", retry_after=5)
        self._clients[client] += 1
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1
            self._clients[client] -= 1
            if not self._clients[client]:
                del self._clients[client]

    def watching(self, access: Access, query: StreamQuery) -> AbstractAsyncContextManager[WatchedLog]:
        """Watch the log of a stream that is to be opened; until then it can be refused. See `Hub.watching`."""
        return self._hub.watching(access.log_id, query.after_seq)

    @asynccontextmanager
    async def opened(
        self, watched: WatchedLog, access: Access, query: StreamQuery, socket: Socket
    ) -> AsyncGenerator[Stream]:
        """Send a stream for as long as the block lasts."""
        audience = watched.audience(access.narrowing, query)
        stream = Stream(socket, access, audience.through if query.after_seq is None else query.after_seq, self._metrics)
        self._streams.add(stream)
        self._metrics.open.set(len(self._streams))
        stream.beat()
        try:
            async with self._expiring(stream), self._seated(watched.log_id, audience, stream):
                yield stream
        finally:
            watched.let_go(access.narrowing, query)
            self._streams.discard(stream)
            self._metrics.open.set(len(self._streams))
            self._metrics.closed.labels(LEFT if stream.closed is None else str(stream.closed.code)).inc()

    @asynccontextmanager
    async def _expiring(self, stream: Stream) -> AsyncGenerator[None]:
        """Close a stream at the moment when its token expires."""
        expired = Close(UNAUTHENTICATED, "the token expired: connect again with a new one")
        seconds = stream.access.principal.expires_at - time.time()
        expiry = asyncio.get_running_loop().call_later(max(0.0, seconds), stream.close, expired)
        try:
            yield
        finally:
            expiry.cancel()

    @asynccontextmanager
    async def _seated(self, log_id: int, audience: Audience, stream: Stream) -> AsyncGenerator[None]:
        """Have a stream in its audience, at once or after the past that it asks for."""
        replay = None
        # In this very moment, so nothing that comes now is missed.
        if audience.pin(stream) == stream.seq:
            audience.join(stream)
        else:
            replay = asyncio.create_task(self._replay(log_id, audience, stream))
        try:
            yield
        finally:
            if replay is not None:
                replay.cancel()
                await asyncio.wait({replay})
            audience.leave(stream)

    async def _replay(self, log_id: int, audience: Audience, stream: Stream) -> None:
        try:
            await self._replays.replay(log_id, audience, stream)
        except UnavailableError as error:
            stream.close(close_of(error))
        except Exception:  # noqa: BLE001  # a fault of ours: it ends this stream, and no other
            _log.exception("a replay failed")
            stream.close(Close(FAILED, "an unexpected failure: try again"))

    async def _look_after(self) -> None:
        while True:
            await asyncio.sleep(_CHECK_SECONDS)
            try:
                await self._check()
            except Exception:  # noqa: BLE001  # whatever it is, the next look comes soon
                _log.exception("a look after the streams failed")

    async def _check(self) -> None:
        """Close the streams of tokens that were revoked and tenants that were suspended; let the quiet ones beat."""
        verdicts: dict[tuple[int, str, LogName], Close | None] = {}
        overdue = time.monotonic() - HEARTBEAT_SECONDS
        for number, stream in enumerate(tuple(self._streams), start=1):
            if number % _SLICE == 0:
                await give_way()
            access = stream.access
            whose = (id(access.principal), access.tenant.id, access.log)
            if whose not in verdicts:
                verdicts[whose] = await self._verdict(access)
            verdict = verdicts[whose]
            if verdict is not None:
                stream.close(verdict)
            elif stream.sent_at < overdue and not stream.full:
                stream.beat()

    async def _verdict(self, access: Access) -> Close | None:
        try:
            await self._gate.recheck(access, READINGS[access.log].stream)
        except UnavailableError:
            return None  # nothing is sent until it is known again
        except TallystickError as error:
            return close_of(error)
        return None
