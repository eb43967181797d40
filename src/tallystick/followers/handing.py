"""Hands events to a follower; one that it cannot handle is found, quarantined and passed over."""

from typing import Final

import structlog

from tallystick.database.pools import Database
from tallystick.errors import UnavailableError
from tallystick.followers import queries
from tallystick.followers.model import Follower, RestartLogError, Stretch

_log = structlog.get_logger("tallystick.followers")

_LONGEST_ERROR: Final = 200


async def hand_over(follower: Follower, database: Database, log_id: int, stretch: Stretch) -> None:
    """Hand a stretch over, in halves where it fails, until the event that cannot be handled stands alone.

    Raises:
        UnavailableError: The follower's engine, or the database, does not answer.
        RestartLogError: See `Follower.handle`.
    """
    try:
        await follower.handle(log_id, stretch)
    except (UnavailableError, RestartLogError):
        raise
    except Exception as error:  # noqa: BLE001  # whatever it is, it is an event's fault
        if len(stretch.events) > 1:
            for half in stretch.halves():
                await hand_over(follower, database, log_id, half)
            return
        for event in stretch.events:
            await _quarantine(follower, database, log_id, event.seq, error)
        passed = Stretch(stretch.after, stretch.through, (), stretch.received_us, stretch.ended)
        await follower.handle(log_id, passed)


async def _quarantine(follower: Follower, database: Database, log_id: int, seq: int, error: Exception) -> None:
    _log.error("event_quarantined", follower=follower.name, log_id=log_id, seq=seq, exc_info=error)
    # The class alone: a message may hold what is in the event.
    told = f"{type(error).__module__}.{type(error).__qualname__}"[:_LONGEST_ERROR]
    async with database.worker_session() as connection:
        await queries.quarantine(connection, follower.name, log_id, seq, told)
