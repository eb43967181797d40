"""Applies the numbered SQL files in order, each in a transaction, one at a time whoever runs them."""

import hashlib
import os
import re
import ssl
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TypeAlias
from urllib.parse import parse_qs, urlsplit

import asyncpg

from tallystick.database.partitions import make_partitions
from tallystick.database.pools import Database, database_url, open_connection, role_passwords
from tallystick.errors import ConfigurationError
from tallystick.settings import DatabaseSettings

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_LOCK_KEY = 0x7A11_7571
_FILE_NAME = re.compile(r"(\d{4})_(\w+)\.sql")
_LOCK_ATTEMPTS = 20
_OLDEST_MAJOR = 15
"""Before it, everybody may make objects in the schema `public`."""

_BOOK = """
create schema if not exists tallystick;
revoke all on schema tallystick from public;
create table if not exists tallystick.migrations (
    version int primary key, name text not null, checksum text not null,
    applied_at timestamptz not null default clock_timestamp());
create table if not exists tallystick.facts (name text primary key, value text not null);
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file.

    Attributes:
        checksum: SHA-256 of the SQL in hex: a file that was applied never changes.
    """

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the SQL, in hex."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def migrations(*, timescaledb: bool) -> list[Migration]:
    """List this release's migrations in order.

    Args:
        timescaledb: Whether a file of the ``timescaledb`` folder takes the place of its namesake.
    """
    folder = resources.files("tallystick.database.migrations")
    found: dict[int, Migration] = {}
    for place in (folder, folder / "timescaledb") if timescaledb else (folder,):
        for file in place.iterdir():
            if match := _FILE_NAME.fullmatch(file.name):
                found[int(match[1])] = Migration(int(match[1]), match[2], file.read_text(encoding="utf-8"))
    return [found[version] for version in sorted(found)]


async def _decide_timescaledb(connection: Connection, wanted: str) -> bool:
    """Whether the log is a hypertable: decided once, then only confirmed."""
    recorded = await connection.fetchval("select value from tallystick.facts where name = 'timescaledb'")
    if recorded is None:
        present = await connection.fetchval(
            "select exists (select from pg_available_extensions where name = 'timescaledb')"
        )
        if wanted == "on" and not present:
            raise ConfigurationError(
                "TALLYSTICK_DATABASE__TIMESCALEDB is on, but this PostgreSQL has no TimescaleDB: "
                "install the extension or set it to auto"
            )
        recorded = "on" if present and wanted != "off" else "off"
        # To create an extension that is not loaded ends the connection. Its settings exist where it is loaded; what
        # the server loads is not for everybody to read.
        loaded = await connection.fetchval("select current_setting('timescaledb.disable_load', true) is not null")
        if recorded == "on" and not loaded:
            raise ConfigurationError(
                "this PostgreSQL has TimescaleDB, but does not load it: add timescaledb to its "
                "shared_preload_libraries, or set TALLYSTICK_DATABASE__TIMESCALEDB to off, which is for good"
            )
        await connection.execute("insert into tallystick.facts (name, value) values ('timescaledb', $1)", recorded)
    if wanted not in ("auto", recorded):
        raise ConfigurationError(
            f"this database was made with TimescaleDB {recorded}, and that cannot change: set "
            f"TALLYSTICK_DATABASE__TIMESCALEDB to {recorded} or auto, or move the events to a new database"
        )
    return recorded == "on"


@asynccontextmanager
async def _turn(connection: Connection) -> AsyncGenerator[None]:
    """A transaction that no other migration runs beside.

    The lock is the transaction's. A session's would stay behind on the server's connection when a transaction-mode
    pooler gives that to the next client.
    """
    async with connection.transaction():
        await connection.execute("select pg_advisory_xact_lock($1)", _LOCK_KEY)
        yield


async def _pending(connection: Connection, timescaledb: str) -> list[Migration]:
    """This release's migrations that are not applied yet."""
    async with _turn(connection):
        await connection.execute(_BOOK)
        ours = migrations(timescaledb=await _decide_timescaledb(connection, timescaledb))
        rows = await connection.fetch("select version, checksum from tallystick.migrations")
    applied = {row["version"]: row["checksum"] for row in rows}
    for migration in ours:
        if applied.get(migration.version, migration.checksum) != migration.checksum:
            raise ConfigurationError(
                f"migration {migration.version} was applied with other contents: "
                "this is not the code that made the database"
            )
    return [migration for migration in ours if migration.version not in applied]


async def _apply(connection: Connection, migration: Migration, lock_timeout: float) -> bool:
    """Apply a migration; False where another process just did."""
    for attempt in range(1, _LOCK_ATTEMPTS + 1):
        try:
            async with _turn(connection):
                if await connection.fetchval(
                    "select exists (select from tallystick.migrations where version = $1)", migration.version
                ):
                    return False
                await connection.execute(f"set local lock_timeout = '{lock_timeout * 1000:.0f}ms'")
                # A file may hold nothing but the reason why nothing is to be done; the driver wants some statement.
                await connection.execute(f"select;\n{migration.sql}")
                await connection.execute(
                    "insert into tallystick.migrations (version, name, checksum) values ($1, $2, $3)",
                    migration.version,
                    migration.name,
                    migration.checksum,
                )
        except asyncpg.LockNotAvailableError:
            if attempt == _LOCK_ATTEMPTS:
                break
        else:
            return True
    raise ConfigurationError(
        f"migration {migration.version} could not get its locks in {_LOCK_ATTEMPTS} attempts: "
        "end long transactions, then run it again"
    )


async def _set_passwords(connection: Connection, passwords: Mapping[str, str]) -> None:
    async with _turn(connection):
        for role, password in passwords.items():
            quoted = await connection.fetchval(
                "select format('alter role %I password %L', $1::text, $2::text)", role, password
            )
            await connection.execute(quoted)


def _check_version(connection: Connection) -> None:
    version = connection.get_server_version()
    if version.major < _OLDEST_MAJOR:
        raise ConfigurationError(
            f"this server is PostgreSQL {version.major}, and {_OLDEST_MAJOR} is the oldest that can be used: "
            "upgrade it, or name another in TALLYSTICK_DATABASE__URL"
        )


async def _warn_of_open_schema(connection: Connection, report: Callable[[str], None]) -> None:
    """Say so where only an administrator can close `public`."""
    opened = await connection.fetchval(
        """select exists (select from pg_namespace
            where nspname = 'public' and has_schema_privilege('tallystick_reader', oid, 'create'))"""
    )
    if opened:
        report(
            "everybody may make objects in the schema public: as its owner, revoke create on schema public from public"
        )


def _require_root_certificate(url: str) -> None:
    """Look whether the file is there that vouches for the server: what is not there looks like an outage later."""
    for file in parse_qs(urlsplit(url).query).get("sslrootcert", [os.environ.get("PGSSLROOTCERT", "")]):
        if file and not Path(file).is_file():
            raise ConfigurationError(f"`sslrootcert` of the database names {file}, and there is no such file")


async def _connect(settings: DatabaseSettings) -> Connection:
    """Connect as the schema's owner. Whoever migrates is told what is wrong with the URL: nobody else sees it.

    Raises:
        ConfigurationError: There is no URL, one that cannot be used, or the server's certificate does not hold.
        OSError, asyncpg.PostgresError, TimeoutError: It could not be opened (see `database.outage`).
    """
    url = database_url(settings)
    _require_root_certificate(url)
    try:
        return await open_connection(
            url,
            timeout=settings.connect_timeout,
            statement_cache_size=settings.statement_cache,
        )
    except asyncpg.ClientConfigurationError as error:
        raise ConfigurationError(f"TALLYSTICK_DATABASE__URL cannot be used: {error}") from error
    except ssl.SSLCertVerificationError as error:
        raise ConfigurationError(
            f"the database's certificate does not hold ({error.verify_message}): in TALLYSTICK_DATABASE__URL, name the"
            " authority's file by `sslrootcert`, and the host as the certificate does"
        ) from error


async def migrate(settings: DatabaseSettings, report: Callable[[str], None] = lambda _: None) -> list[Migration]:
    """Bring the schema to this release's state; a newer schema is left as it is.

    Args:
        settings: `url` must be of the schema's owner.
        report: Called with a line for each migration that was applied, and for what an administrator should mend.

    Returns:
        The migrations that were applied now.

    Raises:
        ConfigurationError: No URL, too old a server, a contradiction with what was decided before, or an applied file
            that has changed.
    """
    connection = await _connect(settings)
    try:
        _check_version(connection)
        new: list[Migration] = []
        for migration in await _pending(connection, settings.timescaledb):
            if await _apply(connection, migration, settings.lock_timeout):
                new.append(migration)
                report(f"migration {migration.version:04d} {migration.name.replace('_', ' ')}")
        await _warn_of_open_schema(connection, report)
        await _set_passwords(connection, role_passwords(settings))
        await make_partitions(connection, settings.partition_interval)
        return new
    finally:
        await connection.close()


async def schema_version(database: Database) -> int:
    """The number of the newest migration that was applied; 0 for none.

    Raises:
        DatabaseDownError: PostgreSQL does not answer.
    """
    async with database.control_session() as connection:
        version: int = await connection.fetchval("select coalesce(max(version), 0) from tallystick.migrations")
        return version
