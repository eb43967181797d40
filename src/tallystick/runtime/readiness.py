"""Whether the API answers: asked over its own socket until it says yes or one of its processes ends."""

import asyncio
import socket
import ssl

from tallystick.errors import ConfigurationError
from tallystick.runtime.child import Child
from tallystick.runtime.tls import own_client_context

_READY_SECONDS = 60.0
_PROBE_PAUSE = 0.05


async def until_it_answers(
    listener: socket.socket, doors: list[Child], seconds: float = _READY_SECONDS, *, secure: bool = False
) -> None:
    """Wait until the API says that it is ready.

    Args:
        listener: The socket that the API processes share.
        doors: The API processes.
        seconds: How long at most.
        secure: Whether it speaks TLS.

    Raises:
        ConfigurationError: An API process ended before, or it took too long.
    """
    answer = asyncio.ensure_future(_answers(listener, own_client_context() if secure else None))
    deaths = {asyncio.ensure_future(door.died()): door for door in doors}
    waiting = (answer, *deaths)
    try:
        done, _ = await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
    for death, door in deaths.items():
        if death in done:
            raise ConfigurationError(f"{door.spec.name} {death.result()} (see {door.spec.log_file})")
    if answer not in done:
        raise ConfigurationError(f"the API was not ready after {seconds:.0f} s: see {doors[0].spec.log_file}")
    answer.result()


async def _answers(listener: socket.socket, tls: ssl.SSLContext | None) -> None:
    """Ask for readiness until the answer is yes. A connection waits in the listener's queue until somebody takes it."""
    host, port = listener.getsockname()[:2]
    while True:
        try:
            if await _says_yes(host, port, tls):
                return
        except (OSError, ValueError):
            # A process that dies takes its connections with it, and the next one is asked: its death is told elsewhere.
            # The other is a line too long for an answer.
            pass
        await asyncio.sleep(_PROBE_PAUSE)


async def _says_yes(host: str, port: int, tls: ssl.SSLContext | None) -> bool:
    reader, writer = await asyncio.open_connection(host, port, ssl=tls)
    try:
        writer.write(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return b" 200 " in await reader.readline()
    finally:
        writer.close()
