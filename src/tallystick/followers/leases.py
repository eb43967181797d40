"""The lease of a log for others than the follower itself: while it is held, the follower stands still there."""

import asyncio
import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

from tallystick.database.pools import Database
from tallystick.errors import UnavailableError
from tallystick.followers import queries
from tallystick.followers.queries import Cursor

_LEASE_SECONDS: Final = 60.0
_PAUSE_SECONDS: Final = 0.2


class LeaseLostError(Exception):
    """Another has taken the log over meanwhile."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A log that is held."""

    database: Database
    follower: str
    log_id: int
    holder: str

    async def move(self, seq: int) -> None:
        """Put the follower's cursor after a seq.

        Raises:
            LeaseLostError: Nothing was moved.
        """
        async with self.database.worker_session() as connection:
            held = await queries.advance(
                connection, self.follower, self.log_id, self.holder, Cursor(seq, None), _LEASE_SECONDS
            )
        if not held:
            raise LeaseLostError


@asynccontextmanager
async def hold(database: Database, follower: str, log_id: int) -> AsyncGenerator[Lease]:
    """Hold a log for up to a minute, as soon as its follower lets go of it.

    Raises:
        DatabaseDownError: PostgreSQL does not answer.
    """
    lease = Lease(database, follower, log_id, f"holder:{secrets.token_hex(8)}")
    while True:
        async with database.worker_session() as connection:
            if await queries.lease(connection, follower, log_id, lease.holder, _LEASE_SECONDS):
                break
        await asyncio.sleep(_PAUSE_SECONDS)
    try:
        yield lease
    finally:
        with suppress(UnavailableError):  # the lease runs out by itself
            async with database.worker_session() as connection:
                await queries.release(connection, follower, log_id, lease.holder)
