"""Traces by OpenTelemetry, sent as OTLP over HTTP in a thread of their own: what is not received is dropped."""

import re
import threading
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import islice
from random import random
from typing import Final
from urllib.parse import urlsplit
from uuid import uuid4

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased, Sampler, SamplingResult, TraceIdRatioBased
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, Status, StatusCode, TraceFlags
from opentelemetry.util.types import Attributes as OtelAttributes

from tallystick import __version__
from tallystick.errors import ConfigurationError
from tallystick.settings import TelemetrySettings
from tallystick.tracing import NOTHING, Attributes, Span, SpanKind

MOST_WAITING: Final = 4_096
"""Spans that wait to be sent. Beyond it the oldest are dropped: about 4 MB."""

MOST_LINKS: Final = 128
"""Causes that a span is linked to: those of a batch may be thousands."""

_SEND_SECONDS: Final = 1.0
_AT_ONCE: Final = 512
_LATE_NS: Final = 1_000_000_000
_TRACEPARENT: Final = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_SUBJECT: Final = re.compile(r"^\s*(\w+)(?:[^;]*?\b(tallystick\.\w+))?", re.DOTALL)
_KINDS: Final = {
    "internal": trace.SpanKind.INTERNAL,
    "server": trace.SpanKind.SERVER,
    "client": trace.SpanKind.CLIENT,
    "producer": trace.SpanKind.PRODUCER,
    "consumer": trace.SpanKind.CONSUMER,
}


class _OrWhatItComesOf(Sampler):
    """Records what comes of something recorded, and of all else a share.

    Without this a batch would be recorded or not by its own luck, and most recorded requests would lead nowhere.
    """

    def __init__(self, ratio: float) -> None:
        self._share = TraceIdRatioBased(ratio)

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: trace.SpanKind | None = None,
        attributes: OtelAttributes = None,
        links: Sequence[Link] | None = None,
        trace_state: trace.TraceState | None = None,
    ) -> SamplingResult:
        sampler = ALWAYS_ON if links else self._share
        return sampler.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)

    def get_description(self) -> str:
        return f"links or {self._share.get_description()}"


class _Told:
    """A `Span` of the SDK."""

    __slots__ = ("_span",)

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def tell(self, attributes: Attributes) -> None:
        self._span.set_attributes(attributes)

    def fail(self, kind: str) -> None:
        self._span.set_attribute("error.type", kind)
        self._span.set_status(Status(StatusCode.ERROR))


class OtlpTracing:
    """A `Tracing` whose spans are sent to a receiver.

    Of errors the class alone is told, since their messages may quote what a client sent. The `tracestate` and the
    baggage of a request are not taken over: anything may stand in them.

    Args:
        settings: Where to, and how many.
        service: What this process is called there.

    Raises:
        ConfigurationError: The endpoint is no URL.
    """

    on = True

    def __init__(self, settings: TelemetrySettings, service: str) -> None:
        self._timeout = settings.timeout
        self._ratio = settings.sample_ratio
        self._exporter = OTLPSpanExporter(
            endpoint=_traces_url(settings.endpoint or ""), timeout=settings.timeout, compression=Compression.Gzip
        )
        sampler = ParentBased(_OrWhatItComesOf(settings.sample_ratio))
        named = {"service.name": service, "service.version": __version__, "service.instance.id": str(uuid4())}
        self._provider = TracerProvider(sampler, Resource.create(named), shutdown_on_exit=False)
        self._provider.add_span_processor(
            BatchSpanProcessor(
                self._exporter,
                max_queue_size=MOST_WAITING,
                schedule_delay_millis=_SEND_SECONDS * 1000,
                max_export_batch_size=_AT_ONCE,
            )
        )
        self._tracer = self._provider.get_tracer("tallystick", __version__)

    def close(self) -> None:
        """Send what waits, for as long as one delivery may take."""
        sending = threading.Thread(target=self._provider.shutdown, name="last spans", daemon=True)
        sending.start()
        sending.join(self._timeout)
        if sending.is_alive():
            self._exporter.shutdown()  # ends what it waits for

    @contextmanager
    def span(
        self,
        name: str,
        attributes: Attributes = NOTHING,
        *,
        kind: SpanKind = "internal",
        causes: Iterable[str] = (),
        parent: str | None = None,
        believed: bool = True,
        since_ns: int | None = None,
    ) -> Generator[Span]:
        """See `Tracing`."""
        asked_by = _context_of(parent)
        if asked_by is not None and not believed:
            asked_by = self._by_share(asked_by)
        started = self._tracer.start_span(
            name,
            context=None if asked_by is None else trace.set_span_in_context(NonRecordingSpan(asked_by), Context()),
            kind=_KINDS[kind],
            attributes=attributes,
            links=[Link(context) for context in filter(None, map(_context_of, islice(causes, MOST_LINKS)))],
            start_time=since_ns,
        )
        told = _Told(started)
        with trace.use_span(started, end_on_exit=True, record_exception=False, set_status_on_exception=False):
            try:
                yield told
            except Exception as error:
                told.fail(type(error).__name__)
                raise

    def _by_share(self, asked_by: SpanContext) -> SpanContext:
        """A parent that says what the share does. By chance, not by the trace's id, which its sender may choose."""
        recorded = random() < self._ratio  # noqa: S311  # no secret
        flags = TraceFlags(TraceFlags.SAMPLED if recorded else TraceFlags.DEFAULT)
        return SpanContext(asked_by.trace_id, asked_by.span_id, is_remote=True, trace_flags=flags)

    def cause(self) -> str | None:
        """See `Tracing`."""
        context = trace.get_current_span().get_span_context()
        if not context.trace_flags.sampled:
            return None
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-01"

    def statement(self, sql: str, seconds: float, error: str | None) -> None:
        """See `Tracing`."""
        inside = trace.get_current_span()
        if not isinstance(inside, ReadableSpan):
            return
        ended = time.time_ns()
        began = ended - int(seconds * 1e9)
        # A task that a request started has its span for ever; what it does later is not the request's.
        if inside.end_time is not None and began > inside.end_time + _LATE_NS:
            return
        summary = _summary(sql)
        attributes = {"db.system.name": "postgresql", "db.query.summary": summary}
        span = self._tracer.start_span(summary, kind=trace.SpanKind.CLIENT, attributes=attributes, start_time=began)
        if error is not None:
            _Told(span).fail(error)
        span.end(ended)


def _traces_url(endpoint: str) -> str:
    """Where a receiver takes traces (OTLP specification, OTLP/HTTP request)."""
    url = urlsplit(endpoint)
    if url.scheme not in ("http", "https") or not url.netloc:
        raise ConfigurationError(
            "TALLYSTICK_TELEMETRY__ENDPOINT must be a URL with http or https, as http://127.0.0.1:4318"
        )
    return f"{endpoint.rstrip('/')}/v1/traces"


def _context_of(traceparent: str | None) -> SpanContext | None:
    match = None if traceparent is None else _TRACEPARENT.fullmatch(traceparent)
    if match is None:
        return None
    context = SpanContext(
        int(match[1], 16), int(match[2], 16), is_remote=True, trace_flags=TraceFlags(int(match[3], 16))
    )
    return context if context.is_valid else None


@lru_cache(maxsize=1024)
def _summary(sql: str) -> str:
    """The verb of a statement and what of ours it names first. Values are no part of our statements' texts."""
    match = _SUBJECT.match(sql)
    if match is None:
        return "statement"
    return " ".join(filter(None, (match[1].lower(), match[2])))
