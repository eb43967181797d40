"""What the pools of connections tell Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class PoolMetrics:
    """How long connections are waited for, and how many are in use."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.wait = Histogram(
            "tallystick_pool_wait_seconds",
            "Seconds until a connection was had.",
            ["pool"],
            buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
            registry=registry,
        )
        self.used = Gauge(
            "tallystick_pool_used_connections",
            "Connections in use.",
            ["pool"],
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.most = Gauge(
            "tallystick_pool_most_connections",
            "Connections that there may be.",
            ["pool"],
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.failures = Counter(
            "tallystick_pool_failures",
            "Times that no connection was had: all were in use, or the database did not answer.",
            ["pool"],
            registry=registry,
        )

    def begin(self, pool: str, most: int) -> None:
        """Show a pool. A counter that begins with its first failure would show Prometheus no increase."""
        self.most.labels(pool).set(most)
        self.failures.labels(pool)
