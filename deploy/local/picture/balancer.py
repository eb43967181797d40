"""HAProxy from the PATH with the configuration that containers use as well, and what it says of its servers."""

import asyncio
import csv
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from picture.certificate import Certificate
from tallystick.errors import ConfigurationError
from tallystick.runtime.servers.local import HOST, LocalServer, ServerFolder, free_port, plain_environment

CONFIGURATION: Final = Path(__file__).resolve().parents[2] / "haproxy" / "haproxy.cfg"
BACKEND: Final = "api"

_LONGEST_SOCKET_PATH: Final = 80
"""HAProxy puts a suffix behind it while it binds, and a socket's path ends after about a hundred bytes."""

_POLL: Final = 0.05
_UP: Final = "UP"


def program(*names: str) -> str:
    """The first of these programs that is on the PATH, or where only root looks.

    Raises:
        ConfigurationError: None is.
    """
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin"
    found = next(filter(None, (shutil.which(name, path=path) for name in names)), None)
    if found is None:
        raise ConfigurationError(f"{' or '.join(names)} is not on the PATH: install it, as `make servers` does")
    return found


@dataclass(frozen=True, slots=True)
class Ports:
    """Where clients come in; 0 takes any free port.

    Attributes:
        host: The address.
        https: For the API.
        http: Only redirects.
    """

    host: str
    https: int
    http: int

    @property
    def named(self) -> str:
        """What clients on this machine reach it by."""
        return HOST if self.host in ("0.0.0.0", "*") else self.host  # noqa: S104 - compared, not bound

    def chosen(self) -> "Ports":
        """The same with ports that are free now."""
        return Ports(self.host, self.https or free_port(), self.http or free_port())


@dataclass(frozen=True, slots=True)
class Balancer:
    """HAProxy, ready to be started.

    Attributes:
        server: It.
        url: Of the API, for clients.
        http_url: What redirects there.
        admin_socket: Where it is asked.
    """

    server: LocalServer
    url: str
    http_url: str
    admin_socket: Path

    async def until_up(self, names: set[str], seconds: float) -> None:
        """Wait until it sends requests to each of these servers.

        Raises:
            ConfigurationError: It takes too long.
        """
        states: Mapping[str, str] = {}
        try:
            async with asyncio.timeout(seconds):
                while any(states.get(name) != _UP for name in names):
                    await asyncio.sleep(_POLL)
                    try:
                        states = await states_of(self.admin_socket)
                    except OSError:  # it may be starting again
                        states = {}
        except TimeoutError:
            said = ", ".join(f"{name} is {state}" for name, state in sorted(states.items())) or "it does not answer"
            raise ConfigurationError(f"after {seconds:.0f} s HAProxy does not send to all servers: {said}") from None


async def states_of(admin_socket: Path) -> dict[str, str]:
    """What HAProxy says of each server: `UP`, `DOWN`, or one on the way to the other, such as `UP 1/2`.

    Raises:
        OSError: It does not answer.
    """
    reader, writer = await asyncio.open_unix_connection(admin_socket)
    try:
        writer.write(b"show stat -1 4 -1\n")
        rows = csv.DictReader((await reader.read()).decode().removeprefix("# ").splitlines())
        return {row["svname"]: row["status"] for row in rows if row["pxname"] == BACKEND}
    finally:
        writer.close()


def prepare_balancer(
    folder: Path, ports: Ports, certificate: Certificate, variables: Mapping[str, str], report: Callable[[str], None]
) -> Balancer:
    """Make what HAProxy needs.

    Args:
        folder: Its settings.
        ports: Where it listens.
        certificate: What it shows.
        variables: Of its configuration: the addresses of the API processes, and what else is chosen.
        report: Told of all out of the ordinary that is done.

    Raises:
        ConfigurationError: HAProxy is not installed, or something else that a person must mend.
    """
    haproxy, own = program("haproxy"), ServerFolder.make(folder, report)
    texts = {"haproxy.cfg": CONFIGURATION.read_text(), "certificate.pem": certificate.shown.read_text()}
    config, data = own.part("config", texts), own.part("data", {})
    (config / "certificate.pem").chmod(0o600)
    admin_socket, inside = data / "admin.sock", f"{HOST}:{free_port()}"
    if len(os.fsencode(admin_socket)) > _LONGEST_SOCKET_PATH:
        raise ConfigurationError(f"{admin_socket} is too long for a socket: choose a shorter TALLYSTICK_HOME")
    server = LocalServer(
        name="HAProxy",
        url=f"http://{inside}",
        health="/healthz",
        command=(haproxy, "-db", "-f", str(config / "haproxy.cfg")),
        environment=plain_environment(
            TALLYSTICK_HTTPS_BIND=f"{ports.host}:{ports.https}",
            TALLYSTICK_HTTP_BIND=f"{ports.host}:{ports.http}",
            TALLYSTICK_PUBLIC_PORT=str(ports.https),
            TALLYSTICK_BALANCER_BIND=inside,
            TALLYSTICK_CERTIFICATE=str(config / "certificate.pem"),
            TALLYSTICK_ADMIN_SOCKET=str(admin_socket),
            **variables,
        ),
        folder=data,
        identity=own.identity,
        program="haproxy",
    )
    return Balancer(server, f"https://{ports.named}:{ports.https}", f"http://{ports.named}:{ports.http}", admin_socket)
