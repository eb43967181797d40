"""The image's health check tells a process that is alive from one that is not."""

import ssl
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from composition import CONTAINER, prepare_secrets
from tallystick.runtime.servers.local import HOST, free_port


class Health(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/healthz" else 404)
        self.send_header("content-length", "0")
        self.end_headers()


class Illness(Health):
    def do_GET(self) -> None:
        self.send_error(503)


@contextmanager
def serving(answer: type[Health], certificate: Path | None = None) -> Generator[str]:
    """The port of a server, over TLS if there is a certificate to show."""
    server = ThreadingHTTPServer((HOST, 0), answer)
    if certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield str(server.server_port)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def healthy(*arguments: str, **environment: str) -> bool:
    check = [sys.executable, CONTAINER / "healthcheck.py", *arguments]
    return subprocess.run(check, env=environment, capture_output=True, check=False).returncode == 0


def test_alive_is_who_says_so_at_the_port_that_is_named() -> None:
    with serving(Health) as port, serving(Illness) as other:
        assert healthy(TALLYSTICK_PORT=port)
        assert healthy(port, TALLYSTICK_PORT=other)
        assert not healthy(TALLYSTICK_PORT=other)
    assert not healthy(str(free_port()))


def test_an_api_with_a_certificate_is_asked_over_tls(tmp_path: Path) -> None:
    certificate = prepare_secrets(tmp_path, "elsewhere.example.com") / "certificate.pem"
    with serving(Health, certificate) as port:
        assert healthy(TALLYSTICK_PORT=port, TALLYSTICK_API__TLS_CERTIFICATE=str(certificate))
        assert not healthy(TALLYSTICK_PORT=port)
