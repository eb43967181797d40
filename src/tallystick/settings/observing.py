"""Settings of what a running installation shows of itself: traces, and the worker's own door."""

from pydantic import Field

from tallystick.settings.group import Group, Seconds


class TelemetrySettings(Group):
    """Traces by OpenTelemetry."""

    endpoint: str | None = Field(
        default=None,
        description="Base URL of a receiver of OTLP over HTTP, as `http://127.0.0.1:4318`; no traces when absent.",
    )
    sample_ratio: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="Share of the traces that are recorded. "
        "Of a request with `traceparent` from one of `TALLYSTICK_API__TRUSTED_PROXIES` that decides.",
    )
    timeout: Seconds = Field(
        default=5, description="Seconds that one delivery of spans may take, and that of the last ones at shutdown."
    )


class WorkerSettings(Group):
    """The worker's own door, with `/metrics`, `/healthz` and `/readyz`."""

    metrics_host: str = Field(default="127.0.0.1", description="Address that the door listens on.")
    metrics_port: int | None = Field(
        default=None, ge=0, le=65535, description="Its port; 0 takes any free one, and without one there is no door."
    )
