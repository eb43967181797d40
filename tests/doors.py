"""The whole API in this process, over a real database, and tokens to knock with."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Generator, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI

from tallystick.api.app import create_app
from tallystick.auth.model import Role
from tallystick.auth.service import TokenGrant, create_token
from tallystick.bootstrap.services import Services, services
from tallystick.runtime.coalescing import CoalescingProtocol
from tallystick.settings import Settings


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
            server = uvicorn.Server(
                uvicorn.Config(door.app, port=0, log_config=None, lifespan="off", http=CoalescingProtocol)
            )
            running = asyncio.create_task(server.serve())
            async with asyncio.timeout(20):
                while not server.started:  # noqa: ASYNC110 - uvicorn tells it by a flag alone
                    await asyncio.sleep(0.01)
            port = server.servers[0].sockets[0].getsockname()[1]
            opened.set_result((f"http://127.0.0.1:{port}", door, server))
            await running

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
