"""The queue that is none: whoever works looks into the database, where everything is recorded anyway."""

import asyncio
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Final

from tallystick.database.pools import Database
from tallystick.followers import queries
from tallystick.jobs.queries import find_open
from tallystick.ports import Depth, Message, QueueKind

POLL_SECONDS: Final = 0.2
"""Seconds between two looks while there is nothing to do."""

_RECENT_SECONDS: Final = 60.0
"""A look sees the logs that grew within so many seconds. Others are in hand already, or found by a worker's sweep."""


class EmbeddedQueue:
    """A `Queue` over the heads of the logs, the cursors and the jobs.

    Args:
        database: Whose worker role looks.
        followers: Names of those that are to be woken.
    """

    def __init__(self, database: Database, followers: Sequence[str]) -> None:
        self._database = database
        self._followers = list(followers)

    async def wake(self, sizes: Mapping[int, int], causes: Mapping[int, str]) -> None:
        """Do nothing: the heads of the logs say it."""

    async def submit(self, job_id: str, cause: str | None = None) -> None:
        """Do nothing: the job's row says it."""

    async def receive(self, kind: QueueKind, *, limit: int, wait: float) -> Sequence[Message]:
        """See `Queue`. What is found is found again until it is done."""
        end = monotonic() + wait
        while True:
            if subjects := await self._look(kind):
                return [Message(subject, "") for subject in subjects[:limit]]
            if monotonic() >= end:
                return []
            await asyncio.sleep(POLL_SECONDS)

    async def done(self, kind: QueueKind, messages: Sequence[Message]) -> None:
        """Do nothing: cursors and states say it."""

    async def depth(self, kind: QueueKind) -> Depth:
        """See `Queue`. Of logs, those that grew of late and that a follower is behind in."""
        return Depth(waiting=len(await self._look(kind)))

    async def _look(self, kind: QueueKind) -> list[str]:
        async with self._database.worker_session() as connection:
            if kind == "jobs":
                return await find_open(connection)
            grown = await queries.find_grown(connection, self._followers, _RECENT_SECONDS)
            return [f"{log_id}:{size}" for log_id, size in grown]
