"""SQL for reading one log, through views that show that log and nothing else.

Every listing is one index range per partition, merged: it stops when the page is full. A plan that finds the rows some
other way and sorts them would take seconds for the largest logs; `database.pools.open_log` excludes it.
"""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import product
from types import MappingProxyType
from typing import Final, NamedTuple, cast

from tallystick.database.pools import Connection, Database
from tallystick.query.timestamps import microseconds, moment

EARLIEST_ARRIVAL: Final = timedelta(hours=1)
"""An event arrives at most this much before it occurred: the check of the table bounds every read by it."""


class StoredEvent(NamedTuple):
    """A row of the log. A page makes up to thousands, so moments are converted only where they are asked for.

    Attributes:
        seq: Position in the log.
        received_at: Arrival.
        occurred_at: Occurrence.
        leaf_hash: 32 bytes.
        body: The stored JSON, byte for byte.
    """

    seq: int
    received_at: datetime
    occurred_at: datetime
    leaf_hash: bytes
    body: bytes

    @property
    def received_us(self) -> int:
        """Arrival in Unix microseconds."""
        return microseconds(self.received_at)

    @property
    def occurred_us(self) -> int:
        """Occurrence in Unix microseconds."""
        return microseconds(self.occurred_at)


class PlacedEvent(NamedTuple):
    """An event that was read at a place, which is known to who asked.

    Attributes:
        seq: Position in the log.
        leaf_hash: 32 bytes.
        body: The stored JSON, byte for byte.
    """

    seq: int
    leaf_hash: bytes
    body: bytes


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive rows of a walk.

    Attributes:
        rows: In the order of the walk.
        ended: Nothing follows them.
    """

    rows: tuple[StoredEvent, ...]
    ended: bool


@dataclass(frozen=True, slots=True)
class TimeWalk:
    """A walk by ``(occurred_at, seq)``, towards the newest or towards the oldest, between exclusive bounds.

    Attributes:
        descending: From the newest to the oldest.
        above: Only what is greater than this ``(occurred_us, seq)``, or None.
        below: Only what is less than this ``(occurred_us, seq)``, or None.
    """

    descending: bool
    above: tuple[int, int] | None
    below: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL that reads events.

    Attributes:
        sql: The text.
        arguments: What its numbered parameters stand for; of a chunk the last two are the limit and the budget.
    """

    sql: str
    arguments: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Removed:
    """A range of seqs that retention or cleanup took, whole.

    Attributes:
        first_seq: The first of them.
        last_seq: The last of them.
        reason: Why, in a word or a few.
    """

    first_seq: int
    last_seq: int
    reason: str


# Bodies may be 400 times as long as they usually are, so a chunk is cut by bytes too, before any body leaves the table:
# the length of a stored value is known without reading it. `textsend` gives the bytes as they are, with no decoding.
_CUT: Final = """
select seq, received_at, occurred_at, leaf_hash, textsend(body) as body, bytes
  from (select *, sum(octet_length(body)) over (rows unbounded preceding) as bytes from ({page}) as page) as measured
 where bytes - octet_length(body) < ${budget}"""

_PAGE: Final = """
select seq, received_at, occurred_at, leaf_hash, body from tallystick.log_events
 {where}
 order by {order} limit ${limit}"""


def _time_statement(*, descending: bool, above: bool, below: bool) -> str:
    conditions: list[str] = []
    number = 0
    if above:
        conditions += ["(occurred_at, seq) > ($1, $2)", "received_at >= $3"]
        number = 3
    if below:
        conditions.append(f"(occurred_at, seq) < (${number + 1}, ${number + 2})")
        number += 2
    page = _PAGE.format(
        where=f"where {' and '.join(conditions)}" if conditions else "",
        order="occurred_at desc, seq desc" if descending else "occurred_at, seq",
        limit=number + 1,
    )
    return _CUT.format(page=page, budget=number + 2)


_BY_TIME: Final[Mapping[tuple[bool, bool, bool], str]] = MappingProxyType(
    {
        (descending, above, below): _time_statement(descending=descending, above=above, below=below)
        for descending, above, below in product((False, True), repeat=3)
    }
)


def by_time(walk: TimeWalk, *, limit: int, budget: int) -> Statement:
    """The statement that reads on in a walk by occurrence.

    There is a lower bound on arrival, from the lower bound on occurrence, and never an upper one: events may be late.

    Args:
        walk: From where, and which way.
        limit: Most rows.
        budget: Bytes of bodies after which the chunk is cut; the body that crosses them is still in it.
    """
    arguments: list[object] = []
    if walk.above is not None:
        occurred_at = moment(walk.above[0])
        arguments += [occurred_at, walk.above[1], occurred_at - EARLIEST_ARRIVAL]
    if walk.below is not None:
        arguments += [moment(walk.below[0]), walk.below[1]]
    statement = _BY_TIME[walk.descending, walk.above is not None, walk.below is not None]
    return Statement(statement, (*arguments, limit, budget))


async def read_chunk(connection: Connection, statement: Statement) -> Chunk:
    """Read rows in a log session that keeps index order."""
    *_, limit, budget = cast("tuple[*tuple[object, ...], int, int]", statement.arguments)
    records = await connection.fetch(statement.sql, *statement.arguments)
    rows = tuple(StoredEvent(*tuple(record)[:-1]) for record in records)
    return Chunk(rows, ended=len(rows) < limit and (not records or records[-1]["bytes"] < budget))


async def read_places(database: Database, log_id: int, places: Sequence[tuple[int, int]]) -> list[PlacedEvent]:
    """Read the events at places, each a seq and its arrival in Unix microseconds; those removed are left out.

    Row by row through the primary key: of each place only the partition of its arrival is looked at.

    Raises:
        DatabaseDownError: PostgreSQL does not answer.
    """
    if not places:
        return []
    seqs, arrivals = zip(*places, strict=True)
    return [PlacedEvent(*record) for record in await database.log_fetch("read_places", log_id, seqs, arrivals)]


async def read_stretch(
    database: Database, log_id: int, after_seq: int, received_us: int | None, *, limit: int, budget: int
) -> tuple[Chunk, int]:
    """Read what follows a seq, and the size of the log in the same snapshot.

    Args:
        database: Whose reader role reads.
        log_id: The log.
        after_seq: Exclusive; -1 starts.
        received_us: Arrival of the event at `after_seq` in Unix microseconds, if known.
        limit: Most rows.
        budget: Bytes of bodies after which the chunk is cut; the body that crosses them is still in it.

    Raises:
        DatabaseDownError: PostgreSQL does not answer.
    """
    since = None if received_us is None else moment(received_us)
    records = await database.log_fetch("read_stretch", log_id, after_seq, since, limit, budget)
    size: int = records[0]["size"] if records else 0
    rows = tuple(StoredEvent(*tuple(record)[:-1]) for record in records[1:])
    return _chunk(rows, limit, budget), size


_LINES: Final = """
    select '{{"seq":' || seq || ',"leaf_hash":"' || encode(leaf_hash, 'hex') || '",' || right(body, -1)
      from tallystick.log_events where {where} order by occurred_at, seq limit {most:d}"""


async def copy_lines(
    connection: Connection,
    after: tuple[int, int] | None,
    until_us: int | None,
    through: int,
    most: int,
    take: Callable[[bytes], Coroutine[None, None, None]],
) -> int:
    """Copy events in order of occurrence as they are answered, each a line, in a log session; returns how many.

    As CSV of one column, whose quoting characters no JSON holds (RFC 8259 §7), a value is written as it is.

    Args:
        connection: Of the session.
        after: Occurrence in Unix microseconds and seq, exclusive; None starts.
        until_us: Only what occurred before, in Unix microseconds, or None.
        through: Only events up to this seq.
        most: Most events.
        take: Called with whole lines, and awaited before more are read. What it raises breaks the copying off, and ends
            the connection.
    """
    conditions = [f"seq <= {through:d}"]
    if after is not None:
        occurred_at = moment(after[0])
        conditions += [
            f"(occurred_at, seq) > ('{occurred_at.isoformat()}', {after[1]:d})",
            f"received_at >= '{(occurred_at - EARLIEST_ARRIVAL).isoformat()}'",
        ]
    if until_us is not None:
        conditions.append(f"occurred_at < '{moment(until_us).isoformat()}'")
    statement = _LINES.format(where=" and ".join(conditions), most=most)
    try:
        told = await connection.copy_from_query(statement, output=take, format="csv", delimiter="\x01", quote="\x02")
    except BaseException:
        connection.terminate()  # else the driver waits for ever, where the server had sent all before it was broken off
        raise
    return int(told.rpartition(" ")[2])


def _chunk(rows: tuple[StoredEvent, ...], limit: int, budget: int) -> Chunk:
    return Chunk(rows, ended=len(rows) < limit and sum(len(row.body) for row in rows) < budget)


class Place(NamedTuple):
    """Up to where a log was read.

    Attributes:
        log_id: The log.
        seq: Of the last event; -1 before the first.
        received_us: Its arrival in Unix microseconds, if known.
    """

    log_id: int
    seq: int
    received_us: int | None


async def read_stretches(
    database: Database, places: Sequence[Place], *, limit: int, budget: int
) -> dict[int, tuple[Chunk, int]]:
    """Read what follows a place in each of several logs, all in one snapshot; by log, each as `read_stretch` gives it.

    Raises:
        DatabaseDownError: PostgreSQL does not answer.
    """
    log_ids, seqs, arrivals = zip(*places, strict=True)
    sinces = [None if arrival is None else moment(arrival) for arrival in arrivals]
    sizes: dict[int, int] = {}
    rows: dict[int, list[StoredEvent]] = {}
    for record in await database.logs_fetch(log_ids, seqs, sinces, limit, budget):
        log_id, *event, size = record
        if size is None:
            rows[log_id].append(StoredEvent(*event))
        else:
            sizes[log_id], rows[log_id] = size, []
    return {log_id: (_chunk(tuple(found), limit, budget), sizes[log_id]) for log_id, found in rows.items()}


async def read_removed(connection: Connection, after_seq: int, last_seq: int) -> list[Removed]:
    """What was removed after `after_seq` and up to `last_seq`, cut to these bounds, in order, neighbours joined."""
    records = await connection.fetch(
        """
        select lower(seqs) as first_seq, upper(seqs) - 1 as last_seq, reason
          from (select unnest(seqs * int8multirange(int8range($1, $2, '(]'))) as seqs, reason
                  from tallystick.log_removed where last_seq > $1 and first_seq <= $2) as clipped
         order by first_seq""",
        after_seq,
        last_seq,
    )
    joined: list[Removed] = []
    for record in records:
        first, last, reason = record["first_seq"], record["last_seq"], record["reason"]
        if joined and joined[-1].last_seq == first - 1 and joined[-1].reason == reason:
            first = joined.pop().first_seq
        joined.append(Removed(first, last, reason))
    return joined


async def why_removed(connection: Connection, seq: int) -> str | None:
    """Why retention or cleanup took the event at this seq; None where neither did."""
    return await connection.fetchval(
        "select reason from tallystick.log_removed where $1 between first_seq and last_seq and seqs @> $1 limit 1", seq
    )
