"""Connections by role, and the one way to read a log."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeAlias

import asyncpg

from tallystick.database.outage import as_database_down
from tallystick.errors import ConfigurationError
from tallystick.settings import DatabaseSettings

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"


def read_role_passwords(file: Path | None) -> dict[str, str]:
    """Read the ``role=password`` lines of a secrets file.

    Raises:
        ConfigurationError: The file cannot be read or a line is of another form.
    """
    if file is None:
        return {}
    try:
        lines = file.read_text().splitlines()
    except OSError as error:
        raise ConfigurationError(f"cannot read the role passwords in {file}: {error.strerror}") from error
    passwords: dict[str, str] = {}
    for line in filter(None, map(str.strip, lines)):
        role, equals, password = line.partition("=")
        if not equals:
            raise ConfigurationError(f"each line of {file} must be role=password")
        passwords[role.strip()] = password
    return passwords


async def _nothing_to_reset(_: "asyncpg.Connection[asyncpg.Record]") -> None:
    """All that a session sets is set for its transaction, so the round trip of a reset is saved."""


@dataclass(frozen=True, slots=True)
class Database:
    """A pool per login role. What a role may touch is granted in ``migrations/0003_access.sql``."""

    writer: Pool
    reader: Pool
    control: Pool
    worker: Pool
    settings: DatabaseSettings

    @classmethod
    def from_settings(cls, settings: DatabaseSettings) -> "Database":
        """Make the pools; they connect when first used, so that a process starts while PostgreSQL is down.

        Raises:
            ConfigurationError: No database URL is set.
        """
        if settings.url is None:
            raise ConfigurationError("set TALLYSTICK_DATABASE__URL, or start everything with `tallystick up`")
        url = settings.url.get_secret_value()
        passwords = read_role_passwords(settings.role_passwords)

        def pool(role: str, size: int, statement_timeout: float) -> Pool:
            login = f"tallystick_{role}"
            return asyncpg.create_pool(
                url,
                user=login,
                password=passwords.get(login),
                min_size=0,
                max_size=size,
                timeout=settings.connect_timeout,
                max_inactive_connection_lifetime=300,
                reset=_nothing_to_reset,
                statement_cache_size=settings.statement_cache,
                server_settings={
                    "application_name": f"tallystick {role}",
                    "statement_timeout": f"{statement_timeout * 1000:.0f}",
                    "lock_timeout": f"{settings.lock_timeout * 1000:.0f}",
                    "idle_in_transaction_session_timeout": f"{settings.idle_in_transaction_timeout * 1000:.0f}",
                    "timezone": "UTC",
                    "jit": "off",
                },
            )

        return cls(
            writer=pool("writer", settings.writer_connections, settings.append_timeout),
            reader=pool("reader", settings.reader_connections, settings.statement_timeout),
            control=pool("control", settings.control_connections, settings.statement_timeout),
            worker=pool("worker", settings.control_connections, settings.statement_timeout),
            settings=settings,
        )

    async def __aenter__(self) -> Self:
        for pool in (self.writer, self.reader, self.control, self.worker):
            await pool
        return self

    async def __aexit__(self, *_: object) -> None:
        for pool in (self.writer, self.reader, self.control, self.worker):
            pool.terminate()

    @asynccontextmanager
    async def log_session(self, log_id: int) -> AsyncGenerator[Connection]:
        """Open a read-only transaction on one log's views: ``log_events``, ``log_head`` and ``log_removed``.

        The only way to a reader connection. The log is set for the transaction alone, so a pooled connection carries
        nothing over to its next user.

        Raises:
            DatabaseDownError: No connection within the time limit, or it was lost.
        """
        async with (
            as_database_down(),
            self.reader.acquire(timeout=self.settings.acquire_timeout) as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            await connection.execute("select set_config('tallystick.log', $1, true)", str(log_id))
            yield connection

    @asynccontextmanager
    async def control_session(self) -> AsyncGenerator[Connection]:
        """Open a transaction on tenants, their logs and revocations.

        Raises:
            DatabaseDownError: No connection within the time limit, or it was lost.
        """
        async with (
            as_database_down(),
            self.control.acquire(timeout=self.settings.acquire_timeout) as connection,
            connection.transaction(),
        ):
            yield connection
