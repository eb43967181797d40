"""What followers, and the queue that wakes them, tell Prometheus."""

import asyncio
import math
import time
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from tallystick.errors import UnavailableError
from tallystick.followers.model import Stretch
from tallystick.ports import Depth, Queue, QueueKind

_DELAYS: Final = (0.25, 0.5, 1, 2, 3, 5, 7.5, 10, 15, 30, 60, 300, 1800)
_BATCHES: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class FollowerMetrics:
    """What followers tell Prometheus."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._events = Counter("tallystick_follower_events", "Events handled.", ["follower"], registry=registry)
        self._seconds = Histogram(
            "tallystick_follower_batch_seconds",
            "Seconds to handle one stretch of a log and to move the cursor.",
            ["follower"],
            buckets=_BATCHES,
            registry=registry,
        )
        self._delay = Histogram(
            "tallystick_follower_delay_seconds",
            "Seconds from the arrival of the oldest event of a stretch until it was handled.",
            ["follower"],
            buckets=_DELAYS,
            registry=registry,
        )
        self._failures = Counter(
            "tallystick_follower_failures",
            "Logs left for a while, by reason.",
            ["follower", "reason"],
            registry=registry,
        )

    def handled(self, follower: str, stretch: Stretch, seconds: float) -> None:
        """Count a stretch."""
        self._events.labels(follower).inc(len(stretch.events))
        self._seconds.labels(follower).observe(seconds)
        if stretch.events:
            self._delay.labels(follower).observe(max(0.0, time.time() - stretch.events[0].received_us / 1e6))

    def failed(self, follower: str, reason: str) -> None:
        """Count a log that is left for a while, by the class of the error."""
        self._failures.labels(follower, reason).inc()


_KINDS: Final[tuple[QueueKind, ...]] = ("wake-ups", "jobs")
_LOOK_SECONDS: Final = 15.0


class QueueMetrics:
    """What the worker sees of the queue."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._messages = Gauge(
            "tallystick_queue_messages",
            "Messages in a queue, nearly.",
            ["queue", "state"],
            registry=registry,
            multiprocess_mode="mostrecent",
        )

    async def watch(self, queue: Queue) -> None:
        """Look at a queue now and then, until cancelled."""
        while True:
            await self.look(queue)
            await asyncio.sleep(_LOOK_SECONDS)

    async def look(self, queue: Queue) -> None:
        """Show how deep a queue is. Where it does not answer, that is not known."""
        for kind in _KINDS:
            try:
                self._show(kind, await queue.depth(kind))
            except UnavailableError:
                self._show(kind, None)

    def _show(self, kind: QueueKind, depth: Depth | None) -> None:
        for state in ("waiting", "taken", "dead"):
            self._messages.labels(kind, state).set(math.nan if depth is None else getattr(depth, state))
