"""Which failures mean that PostgreSQL does not answer, as against an answer that says no."""

import ssl
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from tallystick.errors import DatabaseDownError

OUTAGES: tuple[type[BaseException], ...] = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.LockNotAvailableError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.PostgresSystemError,
    asyncpg.ReadOnlySQLTransactionError,
)
"""What a caller may answer with 503: no connection, shutdown, timeouts, a full disk, I/O errors, a standby."""

_SLOW = "a statement was cancelled, most likely since it took longer than `database.statement_timeout`"
_UNTRUSTED = "the database shows a certificate that does not hold (`sslrootcert` in its URL names the authority)"


@contextmanager
def as_lost_connection() -> Generator[None]:
    """Give a connection that closed between two writes of a COPY the driver's name; uvloop's is a bare `RuntimeError`.

    Raises:
        asyncpg.ConnectionDoesNotExistError: One of `OUTAGES`, in place of uvloop's.
    """
    try:
        yield
    except RuntimeError as error:
        if "handler is closed" not in str(error):
            raise
        raise asyncpg.ConnectionDoesNotExistError("the connection was lost while it was written to") from error


def is_open(connection: "PoolConnectionProxy[asyncpg.Record]") -> bool:
    """Whether a connection out of a pool can be used."""
    try:
        return not connection.is_closed()
    except asyncpg.InterfaceError:  # it was closed, and so given back
        return False


@asynccontextmanager
async def as_database_down() -> AsyncGenerator[None]:
    """Turn an outage inside the block into `DatabaseDownError`."""
    try:
        with as_lost_connection():
            yield
    except OUTAGES as error:
        raise DatabaseDownError(f"{_told(error)}; nothing was changed, so try again", retry_after=2) from error


def _told(error: BaseException) -> str:
    if isinstance(error, ssl.SSLError):
        return _UNTRUSTED
    return _SLOW if isinstance(error, asyncpg.QueryCanceledError) else "the database does not answer"
