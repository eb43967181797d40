"""The log as followers read it: in order, each reading a short transaction of its own."""

from collections.abc import Mapping, Sequence

from tallystick.database.pools import Database
from tallystick.followers.model import LoggedEvent, Stretch
from tallystick.log import queries
from tallystick.log.heads import Heads
from tallystick.log.queries import Chunk, Place, Removed


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
        return _stretch(Place(log_id, after, received_us), chunk, size)

    async def read_all(self, places: Sequence[Place], *, limit: int, max_bytes: int) -> dict[int, Stretch]:
        """Read what follows a place in each of several logs, in one round trip; limits are those of each log.

        Raises:
            DatabaseDownError: PostgreSQL does not answer.
        """
        found = await queries.read_stretches(self._database, places, limit=limit, budget=max_bytes)
        return {place.log_id: _stretch(place, *found[place.log_id]) for place in places if place.log_id in found}

    async def grown(self, sizes: Mapping[int, int]) -> dict[int, int]:
        """Which of several logs are of other sizes than these, and of which, in one round trip.

        One that is smaller is an older copy: its database was restored.

        Raises:
            DatabaseDownError: PostgreSQL does not answer.
        """
        records = await self._database.control_fetch(
            "select log.id, log.size from unnest($1::int[], $2::bigint[]) as known (id, size)"
            " join tallystick.logs as log using (id) where log.size <> known.size",
            list(sizes),
            list(sizes.values()),
        )
        return {record["id"]: record["size"] for record in records}

    async def removed(self, log_id: int, after: int, through: int) -> tuple[Removed, ...]:
        """What was removed after a seq and up to another.

        Raises:
            DatabaseDownError: PostgreSQL does not answer.
        """
        async with self._database.log_session(log_id) as connection:
            return tuple(await queries.read_removed(connection, after, through))

    async def size(self, log_id: int) -> int:
        """See `followers.model.Source`."""
        return await self._heads.size(log_id)


def _stretch(place: Place, chunk: Chunk, size: int) -> Stretch:
    events = tuple(
        LoggedEvent(row.seq, row.received_us, row.occurred_us, row.leaf_hash, row.body) for row in chunk.rows
    )
    last = events[-1] if events else None
    # In one snapshot with the head, so what is not there below it was removed and will never come.
    through = max(size - 1, place.seq) if chunk.ended else chunk.rows[-1].seq
    return Stretch(place.seq, through, events, place.received_us if last is None else last.received_us, chunk.ended)
