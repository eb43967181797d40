"""The log as followers read it: in order, each reading a short transaction of its own."""

from tallystick.database.pools import Database
from tallystick.followers.model import LoggedEvent, Stretch
from tallystick.log import queries
from tallystick.log.heads import Heads


class LogSource:
    """Reads stretches of logs.

    Args:
        database: Whose reader role reads the events, and whose control role their number.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._heads = Heads(database)

    async def read(self, log_id: int, after: int, received_us: int | None, *, limit: int, max_bytes: int) -> Stretch:
        """See `followers.model.Source`. Where events were removed, the stretch passes over them."""
        chunk, size = await queries.read_stretch(
            self._database, log_id, after, received_us, limit=limit, budget=max_bytes
        )
        events = tuple(
            LoggedEvent(row.seq, row.received_us, row.occurred_us, row.leaf_hash, row.body) for row in chunk.rows
        )
        last = events[-1] if events else None
        # In one snapshot with the head, so what is not there below it was removed and will never come.
        through = max(size - 1, after) if chunk.ended else chunk.rows[-1].seq
        return Stretch(after, through, events, received_us if last is None else last.received_us, chunk.ended)

    async def size(self, log_id: int) -> int:
        """See `followers.model.Source`."""
        return await self._heads.size(log_id)
