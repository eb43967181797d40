"""Valkey, or the Redis that it came from, from the PATH: keeps the rates that all API processes share, in memory."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from picture.balancer import program
from tallystick.runtime.servers.local import HOST, LocalServer, ServerFolder, first_line, free_port, plain_environment

_CONFIGURATION: Final = """\
bind {host}
port {port}
requirepass {password}
dir {data}
save ""
appendonly no
maxmemory 64mb
maxmemory-policy volatile-ttl
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RateServer(LocalServer):
    """A server that speaks RESP.

    Attributes:
        port: Where.
        password: Asked of everybody: every account of this machine reaches it.
    """

    port: int
    password: str

    async def answers(self) -> bool:
        """See `LocalServer`."""
        return (await first_line(HOST, self.port, b"PING\r\n")).startswith((b"+PONG", b"-NOAUTH"))


def prepare_rate_server(folder: Path, report: Callable[[str], None]) -> RateServer:
    """Make what the server needs.

    Args:
        folder: Its settings.
        report: Told of all out of the ordinary that is done.

    Raises:
        ConfigurationError: Neither is installed, or something else that a person must mend.
    """
    found, own = program("valkey-server", "redis-server"), ServerFolder.make(folder, report)
    port, password, data = free_port(), secrets.token_urlsafe(24), own.part("data", {})
    text = _CONFIGURATION.format(host=HOST, port=port, password=password, data=data)
    config = own.part("config", {"valkey.conf": text})
    return RateServer(
        name="Valkey",
        url=f"redis://{HOST}:{port}",
        health="",
        command=(found, str(config / "valkey.conf")),
        environment=plain_environment(),
        folder=data,
        identity=own.identity,
        program=Path(found).name,
        port=port,
        password=password,
    )
