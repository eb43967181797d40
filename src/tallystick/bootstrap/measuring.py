"""The ring of master keys, measured: how long each call takes, and how often it fails."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from time import perf_counter
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram

from tallystick.errors import KeysDownError
from tallystick.ports import KeyRing, MasterKeyLostError, Wrapped

_OPERATIONS: Final = ("active_id", "wrap", "unwrap", "rewrap")


class KeyRingMetrics:
    """What the ring of master keys tells Prometheus."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._seconds = Histogram(
            "tallystick_key_ring_seconds",
            "Seconds of one call of the ring of master keys.",
            ["operation"],
            buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
            registry=registry,
        )
        self._failures = Counter(
            "tallystick_key_ring_failures",
            "Calls that failed: the ring did not answer, or does not hold the key any more.",
            ["operation", "reason"],
            registry=registry,
        )
        for operation in _OPERATIONS:  # a counter that begins with its first failure shows Prometheus no increase
            for reason in ("down", "lost"):
                self._failures.labels(operation, reason)

    @contextmanager
    def call(self, operation: str) -> Generator[None]:
        """Count the call that the block makes."""
        began = perf_counter()
        try:
            yield
        except KeysDownError:
            self._failures.labels(operation, "down").inc()
            raise
        except MasterKeyLostError:
            self._failures.labels(operation, "lost").inc()
            raise
        finally:
            self._seconds.labels(operation).observe(perf_counter() - began)


class MeasuredKeyRing:
    """A `KeyRing` that counts what is asked of it."""

    def __init__(self, ring: KeyRing, metrics: KeyRingMetrics) -> None:
        self._ring = ring
        self._metrics = metrics

    async def active_id(self) -> str:
        """See `KeyRing`."""
        with self._metrics.call("active_id"):
            return await self._ring.active_id()

    async def wrap(self, key: bytes, context: Mapping[str, str]) -> Wrapped:
        """See `KeyRing`."""
        with self._metrics.call("wrap"):
            return await self._ring.wrap(key, context)

    async def unwrap(self, wrapped: Wrapped, context: Mapping[str, str]) -> bytes:
        """See `KeyRing`."""
        with self._metrics.call("unwrap"):
            return await self._ring.unwrap(wrapped, context)

    async def rewrap(self, wrapped: Wrapped, context: Mapping[str, str]) -> Wrapped:
        """See `KeyRing`."""
        with self._metrics.call("rewrap"):
            return await self._ring.rewrap(wrapped, context)
