"""Reads a log in order of occurrence as lines of JSON that PostgreSQL made: nothing is done for each event here."""

from dataclasses import dataclass

from tallystick.database.pools import Database
from tallystick.query.timestamps import microseconds, moment


@dataclass(frozen=True, slots=True)
class Lines:
    """Consecutive events, as they are answered.

    Attributes:
        text: One event a line, no line break after the last; empty for none.
        events: How many.
        last: Occurrence in Unix microseconds and seq of the last of them; None for none.
        ended: Nothing follows them.
    """

    text: bytes
    events: int
    last: tuple[int, int] | None
    ended: bool


async def read_lines(
    database: Database,
    log_id: int,
    after: tuple[int, int] | None,
    until_us: int | None,
    through: int,
    *,
    limit: int,
    budget: int,
) -> Lines:
    """Read on from a place.

    Args:
        database: Whose reader role reads, in a short transaction.
        log_id: The log.
        after: Occurrence in Unix microseconds and seq, exclusive; None starts.
        until_us: Only what occurred before, or None.
        through: Only events up to this seq.
        limit: Most events.
        budget: Bytes of bodies after which no further event is read; the one that crosses them still is.

    Raises:
        DatabaseDownError: PostgreSQL does not answer.
    """
    (row,) = await database.log_fetch(
        "read_lines",
        log_id,
        None if after is None else moment(after[0]),
        -1 if after is None else after[1],
        None if until_us is None else moment(until_us),
        through,
        limit,
        budget,
    )
    if row["events"] == 0:
        return Lines(b"", 0, None, ended=True)
    last = (microseconds(row["last_occurred"]), row["last_seq"])
    return Lines(row["lines"], row["events"], last, ended=row["events"] < limit and row["bytes"] < budget)
