"""Installations of their own in the one OpenSearch of the session, and a way to it that can be disturbed."""

import os
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeAlias

from aiohttp import ClientSession, web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
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


def self_signed(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """A certificate for this machine's own address: what shows it, and the file that vouches for it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a cluster")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    shown, secret = folder / "certificate.pem", folder / "key.pem"
    shown.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(shown, secret)
    return context, shown
