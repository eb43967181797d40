"""The listening socket: opened once by the supervisor and inherited by every API process.

Connections that arrive while an API process restarts wait in the socket's queue, and the port never changes.
"""

import errno
import socket

import psutil

from tallystick.errors import ConfigurationError

_BACKLOG = 2048


def listen(host: str, port: int, named: str = "TALLYSTICK") -> socket.socket:
    """Listen on an address.

    Args:
        host: A name or an address.
        port: 0 takes any free one.
        named: What the settings of both begin with.

    Raises:
        ConfigurationError: The port is taken or not allowed, or the address is not this machine's.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise ConfigurationError(f"{named}_HOST is {host}, which is no address: {error.strerror}") from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise _refusal(error, host, port, named) from error
    listener.settimeout(0)
    return listener


def _refusal(error: OSError, host: str, port: int, named: str) -> ConfigurationError:
    if error.errno == errno.EADDRINUSE:
        return ConfigurationError(
            f"port {port} on {host} is taken by {_holder(port)}: stop that, or choose another port with "
            f"{named}_PORT (0 takes any free one)"
        )
    if error.errno == errno.EACCES:
        return ConfigurationError(f"port {port} needs more rights: choose one over 1023 with {named}_PORT")
    if error.errno == errno.EADDRNOTAVAIL:
        return ConfigurationError(f"{named}_HOST is {host}, which is not an address of this machine")
    return ConfigurationError(f"cannot listen on {host} port {port}: {error.strerror}")


def _holder(port: int) -> str:
    """Who listens on a port, as far as we may know."""
    try:
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr[1] == port
            if listens and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (process {connection.pid})"
    except (psutil.Error, OSError):
        pass
    return "another process"


def url_of(listener: socket.socket, *, secure: bool = False) -> str:
    """The URL under which this machine reaches the socket, over TLS if it is secure."""
    address: tuple[str, int] = listener.getsockname()[:2]
    host, port = address
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"  # noqa: S104 - the same
    scheme = "https" if secure else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
