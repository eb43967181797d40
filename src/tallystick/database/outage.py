"""Which failures mean that PostgreSQL does not answer, as against an answer that says no."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import asyncpg

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


@asynccontextmanager
async def as_database_down() -> AsyncGenerator[None]:
    """Turn an outage inside the block into `DatabaseDownError`."""
    try:
        yield
    except OUTAGES as error:
        raise DatabaseDownError(
            "the database does not answer; nothing was changed, so try again", retry_after=2
        ) from error
