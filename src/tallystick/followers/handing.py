"""Hands events to a follower; one that it cannot handle is found, quarantined and passed over."""

from typing import Final

import structlog

from tallystick.database.pools import Database
from tallystick.errors import UnavailableError
from tallystick.followers import queries
from tallystick.followers.model import Follower, Recorder, RestartLogError, Stretch
from tallystick.followers.queries import Cursor

_log = structlog.get_logger("tallystick.followers")

_LONGEST_ERROR: Final = 200


class NotRecordedError(Exception):
    """A stretch could not be recorded, and nothing of it was. It comes again."""


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


async def record(follower: Recorder, database: Database, log_id: int, holder: str, stretch: Stretch) -> Cursor | None:
    """Let a stretch be recorded and move the cursor in one transaction; None when the lease was lost meanwhile.

    Raises:
        DatabaseDownError: PostgreSQL does not answer. Whether the transaction took place, the cursor tells.
        NotRecordedError: Anything else went wrong. It is in the log of the process.
    """
    cursor = Cursor(stretch.through, stretch.received_us)
    try:
        write = await follower.prepare(log_id, stretch)
        async with database.worker_session() as connection, connection.transaction():
            if not await queries.advance_from(connection, follower.name, log_id, holder, stretch.after, cursor):
                return None
            await write(connection)
    except UnavailableError:
        raise
    except Exception as error:
        _tell(error, "stretch_not_recorded", follower, log_id, stretch)
        raise NotRecordedError from error
    await _tidy(follower, database, log_id, holder, stretch)
    return cursor


async def _tidy(follower: Recorder, database: Database, log_id: int, holder: str, stretch: Stretch) -> None:
    try:
        async with database.worker_session() as connection, connection.transaction():
            if await queries.holds(connection, follower.name, log_id, holder, stretch.through):
                await follower.tidy(connection, log_id, stretch)
    except Exception as error:  # noqa: BLE001  # the stretch counts, and there is another time
        _tell(error, "log_not_tidied", follower, log_id, stretch)


def _tell(error: Exception, what: str, follower: Recorder, log_id: int, stretch: Stretch) -> None:
    _log.error(what, follower=follower.name, log_id=log_id, after=stretch.after, error=_class_of(error))


async def _quarantine(follower: Follower, database: Database, log_id: int, seq: int, error: Exception) -> None:
    _log.error("event_quarantined", follower=follower.name, log_id=log_id, seq=seq, exc_info=error)
    async with database.worker_session() as connection:
        await queries.quarantine(connection, follower.name, log_id, seq, _class_of(error))


def _class_of(error: Exception) -> str:
    """What is told of an error: its message may hold what is in an event."""
    return f"{type(error).__module__}.{type(error).__qualname__}"[:_LONGEST_ERROR]
