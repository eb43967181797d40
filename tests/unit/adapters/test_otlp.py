"""What is recorded, what it is linked to, and that nobody waits for who receives it."""

import asyncio
import socket
import subprocess
import sys
import tracemalloc
from collections.abc import Generator
from contextlib import contextmanager
from time import monotonic

import pytest

from tallystick.adapters.otlp import MOST_LINKS, MOST_WAITING, OtlpTracing
from tallystick.errors import ConfigurationError
from tallystick.settings import TelemetrySettings
from trace_receivers import Received, Receiver, receiving

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"  # pragma: allowlist secret
DEADLINE = 20.0


@contextmanager
def deaf() -> Generator[str]:
    """The URL of a receiver that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


async def closed(tracing: OtlpTracing, receiver: Receiver) -> list[Received]:
    """All that was received, once the last was sent."""
    await asyncio.to_thread(tracing.close)
    return receiver.spans


def cause(number: int, *, sampled: bool = True) -> str:
    return f"00-{TRACE}-{number:016x}-0{int(sampled)}"


@pytest.mark.parametrize("endpoint", ["collector:4318", "ftp://collector", "http://", ""])
def test_an_endpoint_is_a_url(endpoint: str) -> None:
    with pytest.raises(ConfigurationError, match="TALLYSTICK_TELEMETRY__ENDPOINT"):
        OtlpTracing(TelemetrySettings(endpoint=endpoint), "test")


async def test_what_comes_of_something_recorded_is_recorded_whatever_the_share() -> None:
    async with receiving() as receiver:
        tracing = OtlpTracing(TelemetrySettings(endpoint=receiver.url, sample_ratio=0), "test")
        with tracing.span("nothing asked for it"):
            assert tracing.cause() is None
            with tracing.span("inside of it"):
                assert tracing.cause() is None
        with tracing.span("asked for, unrecorded", parent=cause(1, sampled=False)):
            assert tracing.cause() is None
        with tracing.span("asked for", parent=cause(1)):
            told = tracing.cause()
            with tracing.span("inside"):
                pass
        assert told is not None
        with tracing.span("comes of it", causes=[told]):
            pass
        with tracing.span("a parent that is none", parent="01-planted"):
            pass
        spans = {each.span.name: each for each in await closed(tracing, receiver)}
    assert set(spans) == {"asked for", "inside", "comes of it"}
    assert spans["asked for"].span.parent_span_id.hex() == f"{1:016x}"
    assert spans["comes of it"].links == {spans["asked for"].span.span_id}
    assert spans["comes of it"].span.trace_id != spans["asked for"].span.trace_id


@pytest.mark.parametrize(("ratio", "recorded"), [(0, False), (1, True)])
@pytest.mark.parametrize("asked_for", [False, True])
async def test_who_is_not_believed_goes_on_in_its_trace_and_decides_nothing(
    ratio: float, recorded: bool, asked_for: bool
) -> None:
    async with receiving() as receiver:
        tracing = OtlpTracing(TelemetrySettings(endpoint=receiver.url, sample_ratio=ratio), "test")
        with tracing.span("asked", parent=cause(1, sampled=asked_for), believed=False):
            assert (tracing.cause() is not None) is recorded
        spans = await closed(tracing, receiver)
    assert [each.span.trace_id.hex() for each in spans] == ([TRACE] if recorded else [])


async def test_a_batch_is_linked_to_so_many_causes() -> None:
    async with receiving() as receiver:
        tracing = OtlpTracing(receiver.settings, "test")
        with tracing.span("batch", causes=(cause(number) for number in range(1, 1_000))):
            pass
        (span,) = await closed(tracing, receiver)
    assert len(span.links) == MOST_LINKS


async def test_a_statement_is_told_of_by_its_verb_and_object() -> None:
    async with receiving() as receiver:
        tracing = OtlpTracing(receiver.settings, "test")
        tracing.statement("select outside", 0.1, None)
        with tracing.span("inside"):
            tracing.statement("\nupdate tallystick.logs set name = 'planted'", 0.25, None)
            tracing.statement("set local tallystick.log = '7'", 0.1, "DeadlockDetectedError")
            tracing.statement("select 'planted' from tallystick.events", 0.1, None)
            tracing.statement("begin; set local tallystick.log = '7'", 0.1, None)
        spans = {each.span.name: each for each in await closed(tracing, receiver)}
    assert set(spans) == {"inside", "update tallystick.logs", "set tallystick.log", "begin", "select tallystick.events"}
    update = spans["update tallystick.logs"].span
    assert (update.end_time_unix_nano - update.start_time_unix_nano) / 1e9 == pytest.approx(0.25)
    assert spans["set tallystick.log"].told["error.type"] == "DeadlockDetectedError"
    assert b"planted" not in b"".join(receiver.bodies)


def test_while_nobody_answers_memory_is_bounded_and_the_end_comes_soon() -> None:
    with deaf() as url:
        tracing = OtlpTracing(TelemetrySettings(endpoint=url, sample_ratio=1, timeout=1), "test")
        _make_spans(tracing, 2 * MOST_WAITING)
        tracemalloc.start()
        try:
            _make_spans(tracing, 2 * MOST_WAITING)
            grown, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        began = monotonic()
        tracing.close()
        assert monotonic() - began < DEADLINE
    assert grown < 32 * 1024 * 1024


def _make_spans(tracing: OtlpTracing, count: int) -> None:
    began = monotonic()
    for number in range(count):
        with tracing.span("span", {"tallystick.events": number}):
            pass
    assert monotonic() - began < DEADLINE


def test_nothing_is_loaded_where_nothing_is_traced() -> None:
    code = (
        "import sys, tallystick.api.app, tallystick.bootstrap.services, tallystick.bootstrap.worker\n"
        "print([name for name in sys.modules if name.startswith(('opentelemetry.sdk', 'opentelemetry.exporter'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
