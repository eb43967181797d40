"""HAProxy with the configuration that is shipped, before servers that a test makes."""

import shutil
import ssl
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from aiohttp import web

from picture.balancer import Balancer, Ports, prepare_balancer, program
from picture.certificate import ensure_certificate
from tallystick.errors import ConfigurationError
from tallystick.runtime.child import Child
from tallystick.runtime.servers.local import HOST
from tallystick.runtime.servers.standins import server_spec

DEADLINE = 60.0

Handling = Callable[[web.Request], Awaitable[web.StreamResponse]]


def need(*names: str) -> None:
    """Skip the test where none of these programs is installed."""
    try:
        program(*names)
    except ConfigurationError as error:
        pytest.skip(str(error))


@dataclass
class Edge:
    """A running HAProxy.

    Attributes:
        balancer: It.
        trust: How its clients know it.
    """

    balancer: Balancer
    trust: ssl.SSLContext

    def client(self, address: str = HOST) -> httpx.AsyncClient:
        """A client of it, which comes from an address of this machine."""
        transport = httpx.AsyncHTTPTransport(verify=self.trust, local_address=address)
        return httpx.AsyncClient(transport=transport, base_url=self.balancer.url, timeout=DEADLINE)


@asynccontextmanager
async def haproxy(*servers: str, wait: bool = True, **chosen: str) -> AsyncGenerator[Edge]:
    """HAProxy, until the block ends.

    Args:
        servers: Addresses of two servers, host:port.
        wait: Whether both must be ready first.
        chosen: Further variables of its configuration.
    """
    need("haproxy")
    folder = Path(tempfile.mkdtemp(prefix="tallystick-edge-"))
    try:
        certificate = ensure_certificate(folder / "tls", HOST)
        variables = {f"TALLYSTICK_API_{number}": address for number, address in enumerate(servers, 1)} | chosen
        ports = Ports(HOST, 0, 0).chosen()
        balancer = prepare_balancer(folder / "haproxy", ports, certificate, variables, print)
        child = Child(server_spec(balancer.server, folder / "haproxy.log", DEADLINE, ((15, 5), (9, 5))), print)
        await child.start()
        try:
            if wait:
                await balancer.until_up({"api-1", "api-2"}, DEADLINE)
            yield Edge(balancer, ssl.create_default_context(cafile=certificate.authority))
        finally:
            await child.stop()
    finally:
        shutil.rmtree(folder)


@dataclass
class Backend:
    """A server that notes what it is asked, and tells it to who asks.

    Attributes:
        address: Where, host:port.
        ready: What `/readyz` says.
        handle: What is done with every other request.
        asked: Paths, in their order.
    """

    address: str = ""
    ready: bool = True
    handle: Handling | None = None
    asked: list[str] = field(default_factory=list[str])
    runner: web.AppRunner | None = None

    async def serve(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/readyz":
            return web.Response(status=200 if self.ready else 503)
        self.asked.append(request.path)
        if self.handle is not None:
            return await self.handle(request)
        told = [(name.lower(), value) for name, value in request.headers.items()]
        return web.json_response({"by": self.address, "headers": told})

    async def stop(self) -> None:
        """Let go of the port."""
        assert self.runner is not None
        await self.runner.cleanup()


@asynccontextmanager
async def backend() -> AsyncGenerator[Backend]:
    """A server until the block ends."""
    made = Backend()
    application = web.Application(client_max_size=1 << 30)
    application.router.add_route("*", "/{path:.*}", made.serve)
    made.runner = web.AppRunner(application, shutdown_timeout=0)
    await made.runner.setup()
    try:
        await web.TCPSite(made.runner, HOST, 0).start()
        host, port = made.runner.addresses[0][:2]
        made.address = f"{host}:{port}"
        yield made
    finally:
        await made.stop()
