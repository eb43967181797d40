"""Prometheus metrics: what the HTTP door counts, and `/metrics` over one process or several on the same port."""

import os

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from tallystick.bootstrap.services import MULTIPROCESS_VARIABLE

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class HttpMetrics:
    """Durations of requests by method, route template and status. Nothing that a client chose becomes a label."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._seconds = Histogram(
            "tallystick_http_request_seconds",
            "Seconds from a request's first byte to its answer's last.",
            ("method", "route", "status"),
            buckets=_SECONDS,
            registry=registry,
        )
        self._children: dict[tuple[str, str, int], Histogram] = {}

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        key = (method, route, status)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = self._seconds.labels(method, route, str(status))
        child.observe(seconds)


def render(registry: CollectorRegistry, *shared: Collector) -> tuple[bytes, str]:
    """The metrics in Prometheus' text format, and its content type.

    With `PROMETHEUS_MULTIPROC_DIR` set they are those of all processes that share it, whichever of them was asked.

    Args:
        registry: Where this process keeps its own.
        shared: What no process has for itself.
    """
    if MULTIPROCESS_VARIABLE in os.environ:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)
    others = CollectorRegistry()
    for collector in shared:
        others.register(collector)
    return generate_latest(registry) + generate_latest(others), CONTENT_TYPE_LATEST
