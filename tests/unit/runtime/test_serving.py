import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import uvloop

from tallystick.runtime.listener import listen, url_of
from tallystick.runtime.serving import serve
from tallystick.settings import ApiSettings, Settings

DEADLINE = 20.0
LONG = 3600.0

Message = MutableMapping[str, Any]


class _App:
    """Answers 200, and 503 once it drains; `/slow` is answered when `let_go` is set."""

    def __init__(self) -> None:
        self.draining = asyncio.Event()
        self.entered = asyncio.Event()
        self.let_go = asyncio.Event()

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        if scope["path"] == "/slow":
            self.entered.set()
            await self.let_go.wait()
        status = 503 if self.draining.is_set() else 200
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})


@asynccontextmanager
async def _serving(app: _App, drain_notice: float) -> AsyncGenerator[tuple[httpx.AsyncClient, asyncio.Task[None]]]:
    settings = Settings(api=ApiSettings(drain_notice=drain_notice))
    loop = asyncio.get_running_loop()
    with listen("127.0.0.1", 0) as listener:
        url = url_of(listener)
        serving = asyncio.create_task(serve(app, settings, listener, None, app.draining.set))
        try:
            async with asyncio.timeout(DEADLINE), httpx.AsyncClient(base_url=url, timeout=DEADLINE) as client:
                assert (await client.get("/readyz")).status_code == 200
                yield client, serving
        finally:
            app.let_go.set()
            for _ in range(3):
                os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.wait([serving])
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)


async def test_a_balancer_sees_not_ready_while_everything_is_still_answered() -> None:
    app = _App()
    async with _serving(app, LONG) as (client, serving):
        os.kill(os.getpid(), signal.SIGTERM)
        await app.draining.wait()
        loop = asyncio.get_running_loop()
        end = loop.time() + 0.5  # uvicorn looks ten times a second whether it must end
        while loop.time() < end:
            async with httpx.AsyncClient(base_url=client.base_url) as newcomer:
                assert (await newcomer.get("/readyz")).status_code == 503
        assert not serving.done()


async def test_connections_are_handed_on_before_they_end() -> None:
    app = _App()
    async with _serving(app, LONG) as (client, serving):
        assert "connection" not in (await client.get("/readyz")).headers
        os.kill(os.getpid(), signal.SIGTERM)
        await app.draining.wait()
        assert (await client.get("/readyz")).headers["connection"] == "close"
        assert not serving.done()


async def test_a_second_signal_ends_the_notice_and_loses_no_answer() -> None:
    app = _App()
    async with _serving(app, LONG) as (client, serving):
        slow = await _told_twice_while_slow(app, client)
        app.let_go.set()
        assert (await slow).status_code == 503
        await serving


def test_a_third_signal_waits_for_no_request() -> None:
    """On uvloop, as the API runs: the server of asyncio waits for its connections since Python 3.12."""

    async def work() -> None:
        app = _App()
        async with _serving(app, LONG) as (client, serving):
            slow = await _told_twice_while_slow(app, client)
            os.kill(os.getpid(), signal.SIGTERM)
            await serving
            app.let_go.set()
            await slow

    uvloop.run(work())


async def test_without_a_notice_it_ends_at_once() -> None:
    app = _App()
    async with _serving(app, 0) as (client, serving):
        os.kill(os.getpid(), signal.SIGTERM)
        await serving
        with pytest.raises(httpx.TransportError):
            await client.get("/readyz")


async def _told_twice_while_slow(app: _App, client: httpx.AsyncClient) -> asyncio.Task[httpx.Response]:
    """A request that is on its way when two signals have come and nobody listens any more."""
    slow = asyncio.create_task(client.get("/slow"))
    await app.entered.wait()
    os.kill(os.getpid(), signal.SIGTERM)
    await app.draining.wait()
    os.kill(os.getpid(), signal.SIGTERM)
    await _until_nobody_listens(str(client.base_url))
    return slow


async def _until_nobody_listens(url: str) -> None:
    while True:
        try:
            async with httpx.AsyncClient(base_url=url) as client:
                await client.get("/readyz")
        except httpx.TransportError:
            return
