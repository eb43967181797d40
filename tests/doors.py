"""The whole API in this process, over a real database, and tokens to knock with."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, MutableMapping, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import httpx
import uvicorn
import websockets.asyncio.client as websockets
from fastapi import FastAPI

from tallystick.api.app import create_app
from tallystick.auth.model import Role
from tallystick.auth.service import TokenGrant, create_token
from tallystick.bootstrap.services import Services, services
from tallystick.runtime.serving import Server, server_config
from tallystick.settings import Settings
from tallystick.stream.model import SOCKET


@dataclass(frozen=True)
class Door:
    """A running application."""

    app: FastAPI
    services: Services
    client: httpx.AsyncClient

    def token(
        self, role: str = "admin", *tenants: str, platform: bool = False, scopes: Sequence[str] = (), **changes: Any
    ) -> str:
        """A token of the local issuer."""
        tenants = () if platform else tenants or ("acme",)
        grant = TokenGrant(
            subject=changes.pop("subject", f"{role}@example.com"),
            role=Role(role),
            tenants=tenants,
            platform=platform,
            scopes=scopes,
            **changes,
        )
        return create_token(self.services.settings.auth, self.services.keyring, grant).token

    def bearer(self, *args: Any, **kwargs: Any) -> dict[str, str]:
        """The header with such a token."""
        return {"authorization": f"Bearer {self.token(*args, **kwargs)}"}

    async def make_tenant(self, tenant_id: str) -> None:
        """A tenant that can be used at once."""
        await self.services.tenants.create(tenant_id, tenant_id.title(), {})


@asynccontextmanager
async def open_door(settings: Settings) -> AsyncGenerator[Door]:
    """Start everything that an API process has, but for the socket."""
    async with services(settings) as made:
        app = create_app(made)
        transport = httpx.ASGITransport(app, raise_app_exceptions=True)
        async with httpx.AsyncClient(transport=transport, base_url="http://tallystick.test") as client:
            yield Door(app, made, client)


@asynccontextmanager
async def _serving(door: Door) -> AsyncGenerator[tuple[str, uvicorn.Server]]:
    """Serve an application over a socket, as a process of its own would."""
    config = server_config(door.app, door.services.settings)
    config.port, config.lifespan = 0, "off"
    server = Server(config)
    running = asyncio.create_task(server.serve())
    async with asyncio.timeout(20):
        while not server.started:  # noqa: ASYNC110 - uvicorn tells it by a flag alone
            await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"{'https' if config.is_ssl else 'http'}://127.0.0.1:{port}", server
    finally:
        server.should_exit = True
        await running


class _NoSocket:
    """What a stream is written to that is closed as soon as it is open."""

    buffered = 0

    def write(self, frames: bytes) -> None: ...

    async def drained(self) -> None: ...

    def close(self, code: int, reason: str) -> None: ...

    def on_end(self, end: Callable[[int], None]) -> None: ...


async def upgrade(app: FastAPI, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> httpx.Response:
    """Ask to become a WebSocket: the answer, whose status is 101 where it was accepted. Then the client leaves."""
    arriving = iter([{"type": "websocket.connect"}])
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return next(arriving, {"type": "websocket.disconnect", "code": 1000})

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    scope: dict[str, Any] = {
        "type": "websocket",
        "path": path,
        "raw_path": path.encode(),
        "query_string": urlencode(query).encode(),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "subprotocols": [],
        "extensions": {"websocket.http.response": {}, SOCKET: _NoSocket()},
    }
    await app(scope, receive, send)
    content = b"".join(message.get("body", b"") for message in sent)
    return httpx.Response(sent[0].get("status", 101), headers=sent[0].get("headers", []), content=content)


@dataclass(frozen=True)
class LiveDoor:
    """A running application behind a socket, on the loop of the test."""

    url: str
    door: Door
    server: uvicorn.Server

    def watch(self, token: str | None = None, *, after: int | None = None, **options: Any) -> websockets.connect:
        """Open a stream; `params` are its query, `headers` go beside the token's, all else is the client's own."""
        params = {**options.pop("params", {}), **({} if after is None else {"after_seq": str(after)})}
        headers = {**options.pop("headers", {}), **({} if token is None else {"Authorization": f"Bearer {token}"})}
        path = options.pop("path", "/api/v1/logs/stream")
        url = f"{self.url.replace('http', 'ws')}{path}?{urlencode(params, doseq=True)}"
        return websockets.connect(url, additional_headers=headers, compression=None, **options)


@asynccontextmanager
async def live_door(settings: Settings) -> AsyncGenerator[LiveDoor]:
    """The whole API behind a socket, with the tenant `acme`."""
    async with open_door(settings) as door:
        await door.make_tenant("acme")
        async with _serving(door) as (url, server):
            yield LiveDoor(url, door, server)


@contextmanager
def open_live_door(settings: Settings) -> Generator[tuple[str, Door]]:
    """The same behind a socket, on a loop in a thread of its own: for clients that are not asynchronous.

    Yields:
        The base URL, and the application; tokens may be made from any thread, everything else belongs to that loop.
    """
    opened: Future[tuple[str, Door, uvicorn.Server]] = Future()

    async def serve() -> None:
        async with open_door(settings) as door:
            await door.make_tenant("fuzz")
            async with _serving(door) as (url, server):
                opened.set_result((url, door, server))
                while not server.should_exit:  # noqa: ASYNC110 - uvicorn tells it by a flag alone
                    await asyncio.sleep(0.05)

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            if opened.done():
                raise
            opened.set_exception(error)

    thread = threading.Thread(target=run, name="live door")
    thread.start()
    url, door, server = opened.result(timeout=30)
    try:
        yield url, door
    finally:
        server.should_exit = True
        thread.join(timeout=30)
        assert not thread.is_alive()
