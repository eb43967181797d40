"""A load balancer before the API: it passes requests on, and does to some of them what a test tells it to."""

import asyncio
import ssl
import threading
from collections.abc import Awaitable, Callable, Generator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TypeAlias

from aiohttp import ClientSession, TCPConnector, web
from multidict import CIMultiDict

from deadlines import STEP

PassOn: TypeAlias = Callable[[], Awaitable[web.Response]]
Rule: TypeAlias = Callable[[web.Request, PassOn], Awaitable[web.Response]]
"""Answers a request; the second argument lets the API do it."""

_KEPT = ("authorization", "content-type", "idempotency-key")


async def passing(_request: web.Request, pass_on: PassOn) -> web.Response:
    """Let the API answer everything."""
    return await pass_on()


@contextmanager
def balancer(target: str, rule: Rule = passing, tls: ssl.SSLContext | None = None) -> Generator[str]:
    """Listen in a thread before an API; gives the URL.

    Args:
        target: The API's URL.
        rule: What is done with requests.
        tls: What shows a certificate, if there is to be one.
    """
    loop = asyncio.new_event_loop()
    listening: Future[str] = Future()
    ended = asyncio.Event()

    async def serve() -> None:
        async with ClientSession(connector=TCPConnector(limit=0)) as session:
            application = web.Application(client_max_size=1 << 26)
            application.router.add_route("*", "/{path:.*}", _handler(target, rule, session))
            runner = web.AppRunner(application, shutdown_timeout=0, access_log=None)
            await runner.setup()
            try:
                await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
                listening.set_result(f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}")
                await ended.wait()
            finally:
                await runner.cleanup()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    try:
        yield listening.result(STEP)
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(STEP)
        loop.close()


def _handler(target: str, rule: Rule, session: ClientSession) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        body = await request.read()

        async def pass_on() -> web.Response:
            kept = {name: request.headers[name] for name in _KEPT if name in request.headers}
            async with session.request(request.method, target + request.path_qs, data=body, headers=kept) as answer:
                told = CIMultiDict({"content-type": answer.headers.get("content-type", "application/json")})
                if "retry-after" in answer.headers:
                    told["retry-after"] = answer.headers["retry-after"]
                return web.Response(status=answer.status, body=await answer.read(), headers=told)

        return await rule(request, pass_on)

    return handle
