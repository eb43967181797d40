"""Where a process keeps its metrics, and how they are shown: its own, or those of all processes of one machine."""

import os
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest, values
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

MULTIPROCESS_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
"""Names the folder over which the processes of one machine share their metrics (prometheus_client's own variable)."""

PROCESS_VARIABLE: Final = "TALLYSTICK_PROCESS_NAME"
"""Names a process among those that share their metrics. It counts on where the last one of its name ended.

By its number, each that dies would leave its files for ever, and every scrape reads all of them.
"""


def make_registry() -> CollectorRegistry:
    """A registry of our own, with memory, CPU and open files of a process that shares its metrics with no other."""
    registry = CollectorRegistry()
    if MULTIPROCESS_VARIABLE not in os.environ:
        ProcessCollector(registry=registry)
    elif (name := os.environ.get(PROCESS_VARIABLE)) is not None:
        values.ValueClass = values.MultiProcessValue(lambda: name)  # pyright: ignore[reportUnknownMemberType] - not annotated
    return registry


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
