"""Connections by role, and the one way to read a log."""

import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeAlias, get_args
from urllib.parse import parse_qs, parse_qsl, urlsplit

import asyncpg
from asyncpg.connection import LoggedQuery
from prometheus_client import CollectorRegistry
from pydantic import TypeAdapter, ValidationError

from tallystick.database.metrics import PoolMetrics
from tallystick.database.outage import as_database_down, is_open
from tallystick.errors import ConfigurationError, DatabaseDownError
from tallystick.settings import DatabaseSettings
from tallystick.tracing import UNTRACED, Tracing

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"
OwnConnection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_PASSWORDS: Final = TypeAdapter(dict[str, str])

_HOST: Final = r"(?:\[[^\]@]*\]|[^\[\]:,@]*)(?::\d{1,5})?"
_NAME: Final = re.compile(r"[\w.]+")
_PLACE: Final = re.compile(rf"(?:[^@]*@)?{_HOST}(?:,{_HOST})*")


def database_url(settings: DatabaseSettings) -> str:
    """Where the database is, as the driver is told.

    A password in which a character is not escaped ends early, and the driver would take the rest for a port or a
    parameter, and repeat it in its error.

    Raises:
        ConfigurationError: There is no URL, it falls into parts that cannot be, or its `sslmode` is none. Nothing of it
            is repeated.
    """
    if settings.url is None:
        raise ConfigurationError("set TALLYSTICK_DATABASE__URL, or start everything with `tallystick up`")
    url = settings.url.get_secret_value()
    if not _holds_together(url):
        raise ConfigurationError(
            "TALLYSTICK_DATABASE__URL cannot be taken apart: in user and password write each character but letters and"
            " digits by its number, as in %2F for a slash and %40 for an at sign"
        )
    named = [mode.replace("_", "-") for mode in parse_qs(urlsplit(url).query).get("sslmode", [])]  # as the driver does
    if not _SSL_MODES.issuperset(named):
        raise ConfigurationError(
            f"TALLYSTICK_DATABASE__URL cannot be used: `sslmode` must be one of {', '.join(sorted(_SSL_MODES))}"
        )
    return url


def _holds_together(url: str) -> bool:
    try:
        parts = urlsplit(url)
        names = [name for name, _ in parse_qsl(parts.query, strict_parsing=bool(parts.query))]
    except ValueError:
        return False
    return bool(
        _PLACE.fullmatch(parts.netloc)
        and "@" not in parts.path
        and all(map(_NAME.fullmatch, names))
        and not parts.fragment
    )


def role_passwords(settings: DatabaseSettings) -> dict[str, str]:
    """The passwords of the login roles: those that were handed over, or the ``role=password`` lines of a secrets file.

    Raises:
        ConfigurationError: Both were named, the file cannot be read, or one of them is of another form; no message
            repeats any of it.
    """
    if settings.passwords is not None and settings.role_passwords is not None:
        raise ConfigurationError(
            "TALLYSTICK_DATABASE__PASSWORDS and TALLYSTICK_DATABASE__ROLE_PASSWORDS both say the passwords of roles:"
            " unset one of them"
        )
    if settings.passwords is not None:
        return _passwords_in(settings.passwords.get_secret_value())
    return {} if settings.role_passwords is None else _passwords_of_file(settings.role_passwords)


def _passwords_in(text: str) -> dict[str, str]:
    try:
        passwords = _PASSWORDS.validate_json(text)
    except ValidationError:
        passwords = None
    if passwords is None or not passwords.keys() <= set(LOGINS):
        raise ConfigurationError(
            f"TALLYSTICK_DATABASE__PASSWORDS is no JSON object of role ({', '.join(LOGINS)}) to password:"
            " `tallystick keys passwords` makes one"
        )
    return passwords


def _passwords_of_file(file: Path) -> dict[str, str]:
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


async def open_connection(
    *arguments: Any,  # noqa: ANN401  # the driver's own
    tracing: Tracing = UNTRACED,
    **options: Any,  # noqa: ANN401  # the driver's own
) -> OwnConnection:
    """Connect as `asyncpg.connect` does, and tell an outage by its class.

    A database that takes no connections right now answers with a SQLSTATE (55000) that stands for a fault of ours once
    connected, so only here is it known as an outage.

    Args:
        arguments: The driver's.
        tracing: Told of each statement.
        options: The driver's.

    Raises:
        OSError, asyncpg.PostgresError, TimeoutError: It could not be opened (see `database.outage`).
    """
    try:
        connection = await asyncpg.connect(*arguments, **options)
    except asyncpg.ObjectNotInPrerequisiteStateError as error:
        raise asyncpg.CannotConnectNowError(str(error)) from error
    if tracing.on:
        connection.add_query_logger(partial(_tell, tracing))
    return connection


def _tell(tracing: Tracing, done: LoggedQuery) -> None:
    tracing.statement(done.query, done.elapsed, None if done.exception is None else type(done.exception).__name__)


async def _nothing_to_reset(_: OwnConnection) -> None:
    """All that a session sets is set for its transaction, so the round trip of a reset is saved."""


_WORKER_CONNECTIONS: Final = 8
"""Followers and jobs hold some while they write, and leases must be kept meanwhile."""

_SSL_MODES: Final = frozenset({"allow", "disable", "prefer", "require", "verify-ca", "verify-full"})

PooledRole: TypeAlias = Literal["reader", "control", "worker"]


def pool_sizes(settings: DatabaseSettings) -> dict[PooledRole, int]:
    """The most connections that each pool of a process holds."""
    return {
        "reader": settings.reader_connections,
        "control": settings.control_connections,
        "worker": max(settings.control_connections, _WORKER_CONNECTIONS),
    }


Role: TypeAlias = Literal["writer", "reader", "control", "worker"]
LOGINS: Final = tuple(f"tallystick_{role}" for role in get_args(Role))
"""The login roles, each of which may have a password."""


def _login(settings: DatabaseSettings, role: Role) -> dict[str, Any]:
    """The arguments of a connection as one of the login roles.

    Raises:
        ConfigurationError: See `database_url` and `role_passwords`.
    """
    statement_timeout = settings.append_timeout if role == "writer" else settings.statement_timeout
    user = f"tallystick_{role}"
    return {
        "dsn": database_url(settings),
        "user": user,
        "password": role_passwords(settings).get(user),
        "timeout": settings.connect_timeout,
        "statement_cache_size": settings.statement_cache,
        "server_settings": {
            "application_name": f"tallystick {role}",
            "statement_timeout": _milliseconds(statement_timeout),
            "lock_timeout": _milliseconds(settings.lock_timeout),
            "idle_in_transaction_session_timeout": _milliseconds(settings.idle_in_transaction_timeout),
            "timezone": "UTC",
            "jit": "off",
        },
    }


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f}"


def open_log(log_id: int, snapshot: str | None = None) -> str:
    """The SQL that begins a read-only transaction on one log, in one round trip.

    Listings walk the indexes by plans that are made once for a connection. Such a plan is made for whichever log asks
    first and used for all others, so a sort that was cheap for a small log must not be kept for the largest, nor a scan
    of a partition that was empty then; to plan anew each time costs four times the reading (100 partitions: 3 ms).

    Args:
        log_id: The log.
        snapshot: What another transaction sees, as it exported that, is what this one sees.
    """
    shared = "" if snapshot is None else f"set transaction snapshot '{snapshot}'; "
    return (
        f"begin isolation level repeatable read read only; {shared}set local tallystick.log = '{log_id:d}'; "
        "set local enable_sort = off; set local enable_incremental_sort = off; set local enable_seqscan = off; "
        "set local plan_cache_mode = force_generic_plan"
    )


LogFunction: TypeAlias = Literal["read_places", "read_stretch"]

_ONE_TRIP: Final[Mapping[LogFunction, str]] = {
    # Without the moments, which who asks knows: to write and read them took the client longer than all else of a page.
    "read_places": "select seq, leaf_hash, body from tallystick.read_places($1, $2, array("
    "select timestamptz 'epoch' + us * interval '1 microsecond' from unnest($3::bigint[]) as us))",
    "read_stretch": "select * from tallystick.read_stretch($1, $2, $3, $4, $5)",
}


@dataclass(frozen=True, slots=True)
class Database:
    """Connections by login role. What a role may touch is granted in ``migrations/0003_access.sql``."""

    reader: Pool
    control: Pool
    worker: Pool
    settings: DatabaseSettings
    metrics: PoolMetrics
    tracing: Tracing = UNTRACED

    @classmethod
    def from_settings(
        cls, settings: DatabaseSettings, metrics: PoolMetrics | None = None, tracing: Tracing = UNTRACED
    ) -> "Database":
        """Make the pools; they connect when first used, so that a process starts while PostgreSQL is down.

        Args:
            settings: Where the database is.
            metrics: Where the pools count.
            tracing: Told of each statement.

        Raises:
            ConfigurationError: See `database_url` and `role_passwords`.
        """
        metrics = metrics or PoolMetrics(CollectorRegistry())

        def pool(role: PooledRole) -> Pool:
            size = pool_sizes(settings)[role]
            metrics.begin(role, size)
            return asyncpg.create_pool(
                **_login(settings, role),
                min_size=0,
                max_size=size,
                max_inactive_connection_lifetime=300,
                connect=partial(open_connection, tracing=tracing),
                reset=_nothing_to_reset,
            )

        return cls(
            reader=pool("reader"),
            control=pool("control"),
            worker=pool("worker"),
            settings=settings,
            metrics=metrics,
            tracing=tracing,
        )

    async def __aenter__(self) -> Self:
        for pool in (self.reader, self.control, self.worker):
            await pool
        return self

    async def __aexit__(self, *_: object) -> None:
        for pool in (self.reader, self.control, self.worker):
            pool.terminate()

    async def connect_writer(self) -> OwnConnection:
        """Open a connection of the writer's own, which it keeps and closes.

        Raises:
            OSError, asyncpg.PostgresError, TimeoutError: It could not be opened (see `database.outage`).
        """
        return await open_connection(tracing=self.tracing, **_login(self.settings, "writer"))

    @asynccontextmanager
    async def _connection(self, role: PooledRole) -> AsyncGenerator[Connection]:
        """A connection out of a pool.

        Raises:
            DatabaseDownError: None within the time limit, or it was lost.
        """
        pool: Pool = getattr(self, role)
        began, used = perf_counter(), self.metrics.used.labels(role)
        had = False
        try:
            async with as_database_down(), pool.acquire(timeout=self.settings.acquire_timeout) as connection:
                had = True
                self.metrics.wait.labels(role).observe(perf_counter() - began)
                used.inc()
                try:
                    yield connection
                finally:
                    used.dec()
        except DatabaseDownError:
            if not had:
                self.metrics.failures.labels(role).inc()
            raise

    @asynccontextmanager
    async def log_session(self, log_id: int, snapshot: str | None = None) -> AsyncGenerator[Connection]:
        """Open a read-only transaction on one log's views: ``log_events``, ``log_head`` and ``log_removed``.

        With `log_fetch` and `logs_fetch` the only way to a reader connection. The log is set for the transaction alone,
        so a pooled connection carries nothing over to its next user.

        Args:
            log_id: The log.
            snapshot: See `open_log`.

        Raises:
            DatabaseDownError: No connection within the time limit, or it was lost.
        """
        async with self._connection("reader") as connection:
            await connection.execute(open_log(log_id, snapshot))
            try:
                yield connection
            finally:
                if is_open(connection):
                    await connection.execute("rollback")

    @asynccontextmanager
    async def control_session(self) -> AsyncGenerator[Connection]:
        """Open a transaction on tenants, their logs and revocations.

        Raises:
            DatabaseDownError: No connection within the time limit, or it was lost.
        """
        async with self._connection("control") as connection, connection.transaction():
            yield connection

    async def log_fetch(self, function: LogFunction, log_id: int, *arguments: object) -> "list[asyncpg.Record]":
        """Call a function that reads one log's views in one round trip (see ``migrations``, 0007).

        Raises:
            DatabaseDownError: No connection within the time limit, or it was lost.
        """
        async with self._connection("reader") as connection:
            return await connection.fetch(_ONE_TRIP[function], log_id, *arguments)

    async def logs_fetch(
        self, log_ids: Sequence[int], afters: Sequence[int], sinces: Sequence[datetime | None], most: int, budget: int
    ) -> "list[asyncpg.Record]":
        """Read what follows a place in each of several logs, in one round trip (see ``migrations``, 0011).

        Raises:
            DatabaseDownError: No connection within the time limit, or it was lost.
        """
        statement = "select * from tallystick.read_stretches($1, $2, $3, $4, $5)"
        async with self._connection("reader") as connection:
            return await connection.fetch(statement, log_ids, afters, sinces, most, budget)

    async def control_fetch(self, statement: str, *arguments: object) -> "list[asyncpg.Record]":
        """Run one statement on what `control_session` may touch: a transaction of its own, in one round trip.

        Raises:
            DatabaseDownError: No connection within the time limit, or it was lost.
        """
        async with self._connection("control") as connection:
            return await connection.fetch(statement, *arguments)

    @asynccontextmanager
    async def worker_session(self) -> AsyncGenerator[Connection]:
        """A connection to cursors, jobs and maintenance; each statement is a transaction of its own.

        Raises:
            DatabaseDownError: No connection within the time limit, or it was lost.
        """
        async with self._connection("worker") as connection:
            yield connection
