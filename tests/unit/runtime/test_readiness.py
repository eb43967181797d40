import asyncio
import os
import socket
import struct
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tallystick.errors import ConfigurationError
from tallystick.runtime.child import Child, ChildSpec
from tallystick.runtime.listener import listen
from tallystick.runtime.readiness import until_it_answers

DEADLINE = 20.0

Answering = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def _door(tmp_path: Path, code: str = "import time; time.sleep(60)") -> AsyncGenerator[Child]:
    command = [sys.executable, "-c", code]
    spec = ChildSpec(
        name="the door", command=lambda: command, log_file=tmp_path / "door.log", environment=dict(os.environ)
    )
    child = Child(spec, lambda _: None)
    await child.start()
    try:
        yield child
    finally:
        await child.stop()


@asynccontextmanager
async def _answering(answer: Answering) -> AsyncGenerator[socket.socket]:
    with listen("127.0.0.1", 0) as listener:
        async with await asyncio.start_server(answer, sock=listener):
            yield listener


async def test_a_connection_reset_by_a_process_that_dies_is_no_answer(tmp_path: Path) -> None:
    answers = [b"reset", b"", b"HTTP/1.1 503 Service Unavailable\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        text = answers.pop(0)
        if text == b"reset":
            connection: socket.socket = writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            writer.write(text)
        writer.close()

    async with _door(tmp_path) as door, _answering(answer) as listener, asyncio.timeout(DEADLINE):
        await until_it_answers(listener, [door])
    assert answers == []


async def test_the_death_of_a_door_ends_the_wait(tmp_path: Path) -> None:
    dying = _door(tmp_path, "raise SystemExit('a setting is wrong')")
    with listen("127.0.0.1", 0) as listener:
        async with dying as door, asyncio.timeout(DEADLINE):
            with pytest.raises(ConfigurationError, match="the door ended with code 1: a setting is wrong"):
                await until_it_answers(listener, [door])


async def test_a_door_that_never_answers_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    with listen("127.0.0.1", 0) as listener:
        async with _door(tmp_path) as door, asyncio.timeout(DEADLINE):
            with pytest.raises(ConfigurationError, match=r"not ready after 0 s: see .*door\.log"):
                await until_it_answers(listener, [door], seconds=0.1)
