"""Whether traces are sent, as the settings say, and the wrappers that make spans of what stands behind a port."""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Literal

from tallystick.ports import (
    CountRequest,
    Counts,
    Depth,
    EventIndex,
    Hits,
    IndexState,
    Message,
    Queue,
    QueueKind,
    SearchRequest,
)
from tallystick.query.terms import Document
from tallystick.settings import TelemetrySettings
from tallystick.tracing import UNTRACED, Tracing


@asynccontextmanager
async def tracing_to(settings: TelemetrySettings, part: Literal["api", "worker"]) -> AsyncGenerator[Tracing]:
    """Send what is traced until the block ends, and what waits then.

    Raises:
        ConfigurationError: The endpoint is no URL.
    """
    if settings.endpoint is None:
        yield UNTRACED
        return
    # Loaded where it is used alone: it takes a third of a second.
    from tallystick.adapters.otlp import OtlpTracing  # noqa: PLC0415

    tracing = OtlpTracing(settings, f"tallystick-{part}")
    try:
        yield tracing
    finally:
        await asyncio.to_thread(tracing.close)


class TracedQueue:
    """A `Queue` that makes spans of what is sent and taken. A look that finds nothing makes none."""

    def __init__(self, queue: Queue, tracing: Tracing) -> None:
        self._queue = queue
        self._tracing = tracing

    async def wake(self, sizes: Mapping[int, int], causes: Mapping[int, str]) -> None:
        """See `Queue`."""
        told = {"messaging.batch.message_count": len(sizes)}
        with self._tracing.span("send wake-ups", told, kind="producer", causes=causes.values()):
            await self._queue.wake(sizes, causes)

    async def submit(self, job_id: str, cause: str | None = None) -> None:
        """See `Queue`. The job comes of whatever is under way."""
        with self._tracing.span("send jobs", {"tallystick.job.id": job_id}, kind="producer"):
            await self._queue.submit(job_id, cause or self._tracing.cause())

    async def receive(self, kind: QueueKind, *, limit: int, wait: float) -> Sequence[Message]:
        """See `Queue`."""
        since_ns = time.time_ns()
        messages = await self._queue.receive(kind, limit=limit, wait=wait)
        if messages:
            causes = [message.cause for message in messages if message.cause is not None]
            told = {"messaging.batch.message_count": len(messages)}
            with self._tracing.span(f"receive {kind}", told, kind="consumer", causes=causes, since_ns=since_ns):
                pass
        return messages

    async def done(self, kind: QueueKind, messages: Sequence[Message]) -> None:
        """See `Queue`."""
        await self._queue.done(kind, messages)

    async def depth(self, kind: QueueKind) -> Depth:
        """See `Queue`."""
        return await self._queue.depth(kind)


class TracedIndex:
    """An `EventIndex` that makes spans of what is asked of it, and says nothing of what was looked for."""

    def __init__(self, index: EventIndex, tracing: Tracing) -> None:
        self._index = index
        self._tracing = tracing

    async def append(
        self,
        log_id: int,
        documents: Sequence[Document],
        *,
        through: int,
        after: int = -1,
        generation: str | None = None,
    ) -> int:
        """See `SearchIndex`."""
        told = {
            "tallystick.log.id": log_id,
            "tallystick.seq.after": after,
            "tallystick.seq.through": through,
            "tallystick.events": len(documents),
        }
        with self._tracing.span("index append", told, kind="client"):
            return await self._index.append(log_id, documents, through=through, after=after, generation=generation)

    async def search(self, log_id: int, request: SearchRequest) -> Hits:
        """See `SearchIndex`."""
        with self._tracing.span("index search", {"tallystick.log.id": log_id}, kind="client") as span:
            hits = await self._index.search(log_id, request)
            span.tell({"tallystick.hits": len(hits.hits), "tallystick.seq.through": hits.through})
            return hits

    async def count(self, log_id: int, request: CountRequest) -> Counts:
        """See `EventCounter`."""
        with self._tracing.span("index count", {"tallystick.log.id": log_id}, kind="client"):
            return await self._index.count(log_id, request)

    async def state(self, log_id: int, *, generation: str | None = None) -> IndexState:
        """See `SearchIndex`."""
        return await self._index.state(log_id, generation=generation)

    async def swap(self, log_id: int, generation: str) -> None:
        """See `SearchIndex`."""
        with self._tracing.span("index swap", {"tallystick.log.id": log_id}, kind="client"):
            await self._index.swap(log_id, generation)

    async def drop(self, log_id: int, *, generation: str | None = None) -> None:
        """See `SearchIndex`."""
        with self._tracing.span("index drop", {"tallystick.log.id": log_id}, kind="client"):
            await self._index.drop(log_id, generation=generation)

    async def forget(self, log_id: int, seqs: Sequence[tuple[int, int]], *, generation: str | None = None) -> None:
        """See `EventForgetter`."""
        with self._tracing.span("index forget", {"tallystick.log.id": log_id}, kind="client"):
            await self._index.forget(log_id, seqs, generation=generation)

    async def purge(self, log_id: int) -> bool:
        """See `EventForgetter`."""
        with self._tracing.span("index purge", {"tallystick.log.id": log_id}, kind="client"):
            return await self._index.purge(log_id)
