"""What streams tell Prometheus."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

LEFT: Final = "left"
"""The code under which a stream is counted that its client closed."""


class StreamMetrics:
    """What streams tell Prometheus. Nothing that a client chose becomes a label."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.open = Gauge(
            "tallystick_streams_open",
            "Streams that are open.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.frames = Counter("tallystick_stream_frames", "Frames with events sent.", registry=registry)
        self.events = Counter("tallystick_stream_events", "Events sent, each as often as it was.", registry=registry)
        self.closed = Counter("tallystick_streams_closed", "Streams that ended, by code.", ["code"], registry=registry)
        self.delay = Histogram(
            "tallystick_stream_delay_seconds",
            "Seconds from the arrival of the newest event of a reading to its hand-over to all who watch its log.",
            buckets=(0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10),
            registry=registry,
        )

    def sent(self, events: int) -> None:
        """Count a frame."""
        self.frames.inc()
        self.events.inc(events)
