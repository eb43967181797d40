"""Installations of their own in the one OpenSearch of the session, and a way to it that can be disturbed."""

import os
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

from aiohttp import ClientSession, web
from opensearchpy import AsyncOpenSearch

from factories import unique
from tallystick.settings import SearchSettings

Answering: TypeAlias = Callable[[web.Request, bytes], Awaitable[web.Response]]


def cluster_settings(url: str, **changes: Any) -> SearchSettings:
    """Settings of an installation that shares nothing with any other test's."""
    name = unique(f"test_{os.getpid()}").replace("-", "_")
    return SearchSettings(engine="opensearch", url=url, prefix=name, **changes)


class Way:
    """A proxy to a cluster.

    Attributes:
        url: Where it listens.
        answer: What is done with a request and its body; `pass_on` unless a test sets another.
    """

    def __init__(self, target: str, session: ClientSession) -> None:
        self.url = ""
        self.answer: Answering = self.pass_on
        self._target = target
        self._session = session

    async def pass_on(self, request: web.Request, body: bytes) -> web.Response:
        """Let the cluster answer."""
        headers = {"content-type": request.headers.get("content-type", "application/json")}
        url = self._target + request.path_qs
        async with self._session.request(request.method, url, data=body, headers=headers) as answer:
            return web.Response(status=answer.status, body=await answer.read(), content_type=answer.content_type)

    async def handle(self, request: web.Request) -> web.Response:
        """Take a request."""
        return await self.answer(request, await request.read())


@asynccontextmanager
async def way_to(target: str, tls: ssl.SSLContext | None = None) -> AsyncGenerator[Way]:
    """Listen before a cluster, over TLS if there is a certificate to show."""
    async with ClientSession() as session:
        way = Way(target, session)
        application = web.Application(client_max_size=1 << 30)
        application.router.add_route("*", "/{path:.*}", way.handle)
        runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
            host, port = runner.addresses[0][:2]
            way.url = f"{'http' if tls is None else 'https'}://{host}:{port}"
            yield way
        finally:
            await runner.cleanup()


async def stored(raw: AsyncOpenSearch, index: str, log_id: int) -> int:
    """How many documents of a log an index holds, markers included, whatever alias leads to them."""
    found = await raw.count(index=index, body={"query": {"prefix": {"log": f"{log_id}-"}}})
    return found["count"]
