"""PostgreSQL over TLS and by password alone, as managed servers are.

The embedded server is built without TLS, so what speaks it stands before it, as a managed one's own proxy does.
"""

import asyncio
import json
import tempfile
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import asyncpg
import pytest
import pytest_asyncio
from pydantic import SecretStr

from certificates import Authority, Certificate
from conftest import Connection
from databases import running_postgres
from tallystick.database.migrate import migrate
from tallystick.database.pools import LOGINS, Database, open_connection
from tallystick.errors import ConfigurationError, DatabaseDownError
from tallystick.runtime.postgres import EmbeddedPostgres
from tallystick.settings import DatabaseSettings

PASSWORDS: Mapping[str, str] = {login: f"s3cret of {login}" for login in LOGINS}
HOSTS = "local all postgres trust\nlocal all all scram-sha-256\n"
SSL_REQUEST = bytes.fromhex("0000000804d2162f")
"""How a client asks for TLS before anything else (PostgreSQL's protocol, SSLRequest)."""


@dataclass
class Terminator:
    """Speaks TLS before a PostgreSQL, and lets nobody in without.

    Attributes:
        port: Where it listens.
        encrypted: How many connections came by TLS.
    """

    target: Path
    certificate: Certificate
    port: int = 0
    encrypted: int = 0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])

    @asynccontextmanager
    async def running(self) -> AsyncGenerator["Terminator"]:
        server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        with suppress(OSError, asyncio.IncompleteReadError):
            if await reader.readexactly(8) == SSL_REQUEST:
                writer.write(b"S")
                await writer.start_tls(self.certificate.context())
                self.encrypted += 1
                inner = await asyncio.open_unix_connection(self.target)
                await asyncio.wait(
                    [asyncio.create_task(_pump(reader, inner[1])), asyncio.create_task(_pump(inner[0], writer))],
                    return_when=asyncio.FIRST_COMPLETED,
                )
                inner[1].close()
        writer.close()
        self._tasks.discard(task)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


@dataclass(frozen=True)
class Server:
    """A running server behind TLS, and the authority that vouches for it."""

    terminator: Terminator
    authority: Authority

    def settings(self, login: str = "", host: str = "127.0.0.1", **changes: str | Path) -> DatabaseSettings:
        """Settings that verify whom they speak to."""
        options = {"sslmode": "verify-full", "sslrootcert": self.authority.file, **changes}
        query = "&".join(f"{name}={quote(str(value))}" for name, value in options.items())
        url = f"postgresql://{login}{host}:{self.terminator.port}/tallystick?{query}"
        return DatabaseSettings(url=SecretStr(url), passwords=SecretStr(json.dumps(PASSWORDS)))


@pytest.fixture(scope="module")
def passworded() -> Generator[EmbeddedPostgres]:
    """A server of this module's own, since passwords are a whole server's."""
    state = Path(tempfile.mkdtemp(prefix="tallystick-tls-"))
    state.chmod(0o711)
    hosts = state / "hosts"
    hosts.write_text(HOSTS)
    settings = {"hba_file": str(hosts), "fsync": "off"}
    with running_postgres(state, settings) as postgres:
        yield postgres


@pytest_asyncio.fixture(scope="module")
async def server(passworded: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Server]:
    authority = Authority(tmp_path_factory.mktemp("certificates"))
    terminator = Terminator(passworded.socket_dir / ".s.PGSQL.5432", authority.certificate("postgres"))
    async with terminator.running():
        yield Server(terminator, authority)


@pytest_asyncio.fixture(scope="module")
async def migrated(server: Server, passworded: EmbeddedPostgres) -> DatabaseSettings:
    """Settings of a process that serves, without the owner's password, after the owner migrated."""
    connection: Connection = await asyncpg.connect(passworded.url(user="postgres", database="postgres"))
    await connection.execute("alter role tallystick_owner password 'the owner''s'")
    await connection.close()
    assert await migrate(server.settings("tallystick_owner:the%20owner's@"))
    return server.settings()


async def test_every_role_logs_in_over_tls_with_its_own_password(migrated: DatabaseSettings, server: Server) -> None:
    before, seen = server.terminator.encrypted, set[str]()
    async with Database.from_settings(migrated) as database:
        writer = await database.connect_writer()
        for connection in (writer, database.reader, database.control, database.worker):
            seen.add(await connection.fetchval("select current_user"))
        await writer.close()
    assert seen == set(LOGINS)
    assert server.terminator.encrypted == before + 4


async def test_a_wrong_password_and_a_connection_without_tls_are_refused(migrated: DatabaseSettings) -> None:
    wrong = SecretStr(json.dumps({**PASSWORDS, "tallystick_control": "another"}))
    assert migrated.url is not None
    plain = SecretStr(migrated.url.get_secret_value().replace("verify-full", "disable"))
    for changed in ({"passwords": wrong}, {"passwords": None}, {"url": plain}):
        async with Database.from_settings(migrated.model_copy(update=changed)) as database:
            with pytest.raises(DatabaseDownError):
                await database.control_fetch("select 1")


async def test_a_server_that_nobody_vouches_for_is_not_spoken_to(server: Server, tmp_path: Path) -> None:
    others = server.settings("tallystick_owner:wrong@", sslrootcert=Authority(tmp_path, "stranger").file)
    with pytest.raises(ConfigurationError, match=r"certificate does not hold \(.*\): .*sslrootcert"):
        await migrate(others)
    async with Database.from_settings(others) as database:
        with pytest.raises(DatabaseDownError, match="sslrootcert"):
            await database.control_fetch("select 1")
        with pytest.raises(OSError, match="certificate verify failed"):
            await database.connect_writer()


async def test_a_server_by_another_name_than_its_certificate_is_not_spoken_to(server: Server) -> None:
    with pytest.raises(ConfigurationError, match=r"certificate does not hold \(.*localhost.*\)"):
        await migrate(server.settings("tallystick_owner:wrong@", host="localhost"))


async def test_what_is_wrong_with_the_url_is_named(server: Server, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"names {tmp_path}/missing.pem, and there is no such file"):
        await migrate(server.settings(sslrootcert=tmp_path / "missing.pem"))
    with pytest.raises(ConfigurationError, match="TALLYSTICK_DATABASE__URL cannot be used: `sslmode`"):
        await migrate(server.settings("tallystick_owner@", sslmode="sometimes"))


@pytest.mark.usefixtures("migrated")
async def test_libpqs_own_variables_are_read(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    before = server.terminator.encrypted
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    monkeypatch.setenv("PGSSLROOTCERT", str(server.authority.file))
    monkeypatch.setenv("PGPASSWORD", PASSWORDS["tallystick_reader"])
    connection = await open_connection(f"postgresql://tallystick_reader@127.0.0.1:{server.terminator.port}/tallystick")
    assert await connection.fetchval("select current_user") == "tallystick_reader"
    await connection.close()
    assert server.terminator.encrypted == before + 1
