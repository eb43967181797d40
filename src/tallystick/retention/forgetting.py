"""Has the search index forget what was removed: each log up to the last removal, under the lease of its follower."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import structlog

from tallystick.database.pools import Database
from tallystick.errors import UnavailableError
from tallystick.followers.leases import hold
from tallystick.ports import CorruptIndexError, EventForgetter
from tallystick.retention import queries
from tallystick.search.follower import NAME

FORGET_SECONDS: Final = 2.0
"""Seconds between two looks for what was removed."""

_PURGE: Final = "search files"
"""The name of the cursor of what is gone from files, too."""

_log = structlog.get_logger("tallystick.retention")


class IndexForgetting:
    """Follows removals. A crash between an index that has forgotten and the cursor lets it forget the same again.

    Args:
        database: Where removals are, and how far they are followed.
        index: Of all logs.
        report_damage: Called where an index is damaged, or must be made anew for its files to lose what it forgot.
    """

    def __init__(
        self, database: Database, index: EventForgetter, report_damage: Callable[[int], Awaitable[None]]
    ) -> None:
        self._database = database
        self._index = index
        self._report_damage = report_damage

    async def run(self) -> None:
        """Follow removals until cancelled."""
        while True:
            with suppress(UnavailableError):
                await self.forget_all()
            await asyncio.sleep(FORGET_SECONDS)

    async def forget_all(self) -> int:
        """Forget what was removed of all logs; returns of how many.

        One whose engine does not answer is left to the next time.

        Raises:
            DatabaseDownError: PostgreSQL does not answer.
        """
        async with self._database.worker_session() as connection:
            logs = await queries.find_unforgotten(connection, NAME)
        forgotten = 0
        for log_id in logs:
            try:
                forgotten += await self.forget(log_id)
            except UnavailableError as error:
                _log.warning("removal_not_forgotten", log_id=log_id, reason=error.detail)
            except Exception:  # noqa: BLE001  # what one log meets must not keep the others' events in their indexes
                _log.exception("removal_not_forgotten", log_id=log_id)
        return forgotten

    async def forget(self, log_id: int) -> bool:
        """Forget what was removed of a log; whether there was something.

        Raises:
            UnavailableError: The engine or PostgreSQL does not answer.
        """
        # Nothing is being added meanwhile that was read before it was removed.
        async with hold(self._database, NAME, log_id):
            async with self._database.worker_session() as connection:
                removed = await queries.read_unforgotten(connection, NAME, log_id)
            if removed is None:
                return False
            try:
                await self._index.forget(log_id, removed.seqs)
            except CorruptIndexError:
                await self._report_damage(log_id)  # made anew from what the log still has
                return False
            async with self._database.worker_session() as connection:
                await queries.note_forgotten(connection, NAME, log_id, removed.number)
        return True

    async def purge_all(self, days: float) -> int:
        """Rid files of what was removed so many days ago; returns of how many logs that is done.

        Raises:
            UnavailableError: The engine or PostgreSQL does not answer.
        """
        async with self._database.worker_session() as connection:
            found = await queries.find_unpurged(connection, _PURGE, days)
        purged = 0
        for log_id, number in found:
            if await self._index.purge(log_id):
                async with self._database.worker_session() as connection:
                    await queries.note_forgotten(connection, _PURGE, log_id, number)
                purged += 1
            else:
                await self._report_damage(log_id)
        return purged
