"""What the server says of a body: whether all of it was there when its request began."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from tallystick.log.intake import WHOLE
from tallystick.runtime.coalescing import CoalescingProtocol

DEADLINE = 20.0


def _post(body: bytes, length: int | None = None) -> bytes:
    return b"POST / HTTP/1.1\r\nhost: t\r\ncontent-length: %d\r\n\r\n%b" % (length or len(body), body)


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.begun = asyncio.Queue[None]()

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def answer(self) -> str:
        head = await self._reader.readuntil(b"\r\n\r\n")
        (length,) = (line.split(b":")[1] for line in head.split(b"\r\n") if line.startswith(b"content-length"))
        return (await self._reader.readexactly(int(length))).decode()


@asynccontextmanager
async def _connected() -> AsyncGenerator[_Connection]:
    """A connection to a server that answers each request with how its body came, and with the body."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        connection.begun.put_nowait(None)
        came = "whole" if WHOLE in scope["extensions"] else "awaited"
        body = await Request(scope, receive).body()
        await PlainTextResponse(f"{came} {body.decode()}")(scope, receive, send)

    config = uvicorn.Config(app, log_config=None, lifespan="off")
    config.load()
    state = uvicorn.Server(config).server_state
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: CoalescingProtocol(config, state, {}), "127.0.0.1", 0)
    async with asyncio.timeout(DEADLINE), server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        connection = _Connection(reader, writer)
        try:
            yield connection
        finally:
            writer.close()
            await writer.wait_closed()


async def test_a_body_that_came_with_its_head_is_whole() -> None:
    async with _connected() as connection:
        for body in (b"one", b"two"):
            connection.send(_post(body))
            assert await connection.answer() == f"whole {body.decode()}"


async def test_a_body_that_is_under_way_is_awaited_and_the_next_is_whole_again() -> None:
    async with _connected() as connection:
        connection.send(_post(b"be", length=5))
        await connection.begun.get()
        connection.send(b"gun")
        assert await connection.answer() == "awaited begun"
        connection.send(_post(b"next"))
        assert await connection.answer() == "whole next"


async def test_a_request_behind_another_is_told_of_by_itself() -> None:
    async with _connected() as connection:
        connection.send(_post(b"one") + _post(b"two") + _post(b"th", length=5))
        assert [await connection.answer(), await connection.answer()] == ["whole one", "whole two"]
        for _ in range(3):
            await connection.begun.get()
        connection.send(b"ree")
        assert await connection.answer() == "awaited three"
