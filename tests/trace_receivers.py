"""What receives traces: a server that takes OTLP over HTTP, and remembers every byte of it."""

import asyncio
import gzip
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tallystick.settings import TelemetrySettings

DEADLINE = 30.0


@dataclass
class Received:
    """A span, and of which process."""

    span: Span
    service: str

    @property
    def told(self) -> dict[str, str | int]:
        """Its attributes."""
        return {
            each.key: each.value.int_value if each.value.HasField("int_value") else each.value.string_value
            for each in self.span.attributes
        }

    @property
    def links(self) -> set[bytes]:
        """Ids of the spans that it is linked to."""
        return {link.span_id for link in self.span.links}


@dataclass
class Receiver:
    """What has arrived.

    Attributes:
        url: Where it listens.
        bodies: As they came, unzipped.
        spans: What was in them.
    """

    url: str
    bodies: list[bytes] = field(default_factory=list[bytes])
    spans: list[Received] = field(default_factory=list[Received])
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def settings(self) -> TelemetrySettings:
        """Settings that send everything here."""
        return TelemetrySettings(endpoint=self.url, sample_ratio=1)

    def take(self, body: bytes) -> None:
        """Remember what was sent."""
        self.bodies.append(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            of = {each.key: each.value.string_value for each in resource.resource.attributes}
            self.spans += (Received(span, of["service.name"]) for scope in resource.scope_spans for span in scope.spans)
        self._arrived.set()

    def named(self, name: str) -> list[Received]:
        """The spans of a name."""
        return [each for each in self.spans if each.span.name == name]

    async def until(self, found: Callable[[], Sequence[Received]]) -> Received:
        """The first that is found, once it is there."""
        async with asyncio.timeout(DEADLINE):
            while not (spans := found()):
                self._arrived.clear()
                await self._arrived.wait()
        return spans[0]

    async def first(self, name: str, *, of: int | None = None, comes_of: Received | None = None) -> Received:
        """The first span of a name that says so many events of itself, and is linked to another."""

        def found() -> list[Received]:
            return [
                each
                for each in self.named(name)
                if (of is None or each.told.get("tallystick.events") == of)
                and (comes_of is None or comes_of.span.span_id in each.links)
            ]

        return await self.until(found)


@asynccontextmanager
async def receiving() -> AsyncGenerator[Receiver]:
    """A receiver, on the loop of the test."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                assert head.startswith(b"post /v1/traces ")
                assert b"content-encoding: gzip" in head
                length = next(int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
                receiver.take(gzip.decompress(await reader.readexactly(length)))
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    receiver = Receiver(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    async with server:
        yield receiver
