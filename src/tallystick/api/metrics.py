"""What the HTTP door tells Prometheus."""

from typing import Final

from prometheus_client import CollectorRegistry, Histogram

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


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
