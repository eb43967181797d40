"""How large logs are, read once for all who ask at the same time."""

import asyncio

from tallystick.database.pools import Database


class Heads:
    """Reads the sizes of logs, one reading at a time.

    Every search asks, so that it misses nothing that was acknowledged before it came. Who asks while a reading is under
    way waits for the next, since that one may have looked too early.

    Args:
        database: Whose control role reads.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._asked: set[int] = set()
        self._next: asyncio.Task[dict[int, int]] | None = None
        self._turn = asyncio.Lock()

    async def size(self, log_id: int) -> int:
        """How many seqs a log has given out, at some moment after the call; 0 where there is no such log.

        Raises:
            DatabaseDownError: PostgreSQL does not answer.
        """
        self._asked.add(log_id)
        if self._next is None:
            self._next = asyncio.create_task(self._read())
        sizes = await asyncio.shield(self._next)
        return sizes.get(log_id, 0)

    async def _read(self) -> dict[int, int]:
        async with self._turn:
            asked, self._asked, self._next = self._asked, set(), None
            records = await self._database.control_fetch(
                "select id, size from tallystick.logs where id = any ($1::int[])", list(asked)
            )
        return {record["id"]: record["size"] for record in records}
