"""What the object store tells Prometheus."""

from typing import Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Histogram

Operation = Literal["write", "read", "list", "delete"]


class ObjectMetrics:
    """Calls of the object store, each with all its repetitions. To write an object takes several."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.seconds = Histogram(
            "tallystick_object_request_seconds",
            "Seconds of one call of the object store.",
            ["operation"],
            buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
            registry=registry,
        )
        self.failures = Counter(
            "tallystick_object_failures",
            "Calls that the object store failed on.",
            ["operation"],
            registry=registry,
        )
        for operation in get_args(Operation):  # a counter that begins with its first failure shows no increase
            self.failures.labels(operation)
