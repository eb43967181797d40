"""An index that lost what its follower had put into it. Where the log does not grow, searches alone can notice."""

from contextlib import suppress
from time import monotonic
from typing import Final

import structlog

from tallystick.database.pools import Database
from tallystick.errors import UnavailableError
from tallystick.followers import queries
from tallystick.ports import SearchIndex
from tallystick.search.damage import ReportDamage
from tallystick.search.follower import NAME

_REST_SECONDS: Final = 10.0
_MOST_REMEMBERED: Final = 1_000

_log = structlog.get_logger("tallystick.search")


class Losses:
    """Looks for the reason of incomplete answers.

    A growing log's follower finds out by itself, since it is told after which seq to append.

    Args:
        database: Where the follower's cursor is.
        index: Of all logs.
        report: Sees to it that an index is made anew.
        spare: Events that an index may be behind the cursor: a copy of it that answers may be behind others.
        rest: Seconds between two looks at a log.
    """

    def __init__(
        self, database: Database, index: SearchIndex, report: ReportDamage, spare: int, rest: float = _REST_SECONDS
    ) -> None:
        self._database = database
        self._index = index
        self._report = report
        self._spare = spare
        self._rest = rest
        self._looked: dict[int, float] = {}

    async def look(self, log_id: int) -> None:
        """See whether an index whose answer was incomplete is only behind, or has lost something; report that."""
        now = monotonic()
        if now < self._looked.get(log_id, now - self._rest) + self._rest:
            return
        if len(self._looked) >= _MOST_REMEMBERED:
            self._looked.clear()
        self._looked[log_id] = now
        with suppress(UnavailableError):  # whoever asks next looks again
            async with self._database.control_session() as connection:  # first: the index is ahead of the cursor
                handled = await queries.handled_through(connection, NAME, log_id)
            through = (await self._index.state(log_id)).through
            if through + self._spare < handled:
                _log.warning("index_lost", log_id=log_id, through=through, handled=handled)
                await self._report(log_id)
