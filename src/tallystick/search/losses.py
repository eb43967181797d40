"""An index that lost its end, or all of it. Where the log does not grow, searches alone can notice."""

from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from time import monotonic
from typing import Final

import structlog

from tallystick.database.pools import Database
from tallystick.errors import UnavailableError
from tallystick.followers import queries
from tallystick.search.damage import ReportDamage
from tallystick.search.follower import NAME

_REST_SECONDS: Final = 10.0
_ASK_SECONDS: Final = 3_600.0
_MOST_REMEMBERED: Final = 1_000

_log = structlog.get_logger("tallystick.search")


@dataclass(slots=True)
class _Standstill:
    """An index that is behind its log and does not move.

    Attributes:
        through: Where it stands.
        since: When that was seen, or last looked into.
        asked: When it was last reported.
    """

    through: int
    since: float
    asked: float = -inf


class Losses:
    """Looks into indexes that are behind and stay there.

    That is as it should be while no worker runs. It is a loss where the follower has handled more: a growing log's
    follower finds out by itself, since it is told after which seq to append.

    Args:
        database: Where the follower's cursor is.
        report: Sees to it that an index is made anew.
        rest: Seconds for which an index must stand still.
    """

    def __init__(self, database: Database, report: ReportDamage, rest: float = _REST_SECONDS) -> None:
        self._database = database
        self._report = report
        self._rest = rest
        self._standing: OrderedDict[int, _Standstill] = OrderedDict()

    async def look(self, log_id: int, through: int, head: int) -> None:
        """Take note of how far an index was when it answered, and report it where it has lost something.

        Reported once an hour at most: whoever cancelled the job that came of it, or sees another index than the
        worker does, is left in peace meanwhile.

        Args:
            log_id: Whose index.
            through: The last seq that it held.
            head: The last of its log.
        """
        now, standing = monotonic(), self._standing.get(log_id)
        if through >= head:
            self._standing.pop(log_id, None)
        elif standing is None:
            self._standing[log_id] = _Standstill(through, now)
            if len(self._standing) > _MOST_REMEMBERED:
                self._standing.popitem(last=False)
        elif standing.through != through:
            standing.through, standing.since = through, now
        elif now >= standing.since + self._rest:
            standing.since = now
            if now >= standing.asked + _ASK_SECONDS:
                with suppress(UnavailableError):  # the answer is good as it is, and whoever searches next looks again
                    await self._look_into(log_id, standing)

    async def _look_into(self, log_id: int, standing: _Standstill) -> None:
        async with self._database.control_session() as connection:
            handled = await queries.handled_through(connection, NAME, log_id)
        if standing.through < handled:
            _log.warning("index_lost", log_id=log_id, through=standing.through, handled=handled)
            await self._report(log_id)
            standing.asked = monotonic()
