"""SQL for reading one log. Runs in `Database.log_session`, whose views show that log and nothing else.

Every listing is one index range per partition, merged: it stops when the page is full. A plan that finds the rows some
other way and sorts them would take seconds for the largest logs; `database.pools.open_log` excludes it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import product
from types import MappingProxyType
from typing import Final, NamedTuple, cast

from tallystick.database.pools import Connection
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

_BY_SEQ: Final = _CUT.format(
    page=_PAGE.format(where="where seq > $1 and received_at >= $2", order="seq", limit=3), budget=4
)

_BY_SEQ_UNBOUNDED: Final = _CUT.format(page=_PAGE.format(where="where seq > $1", order="seq", limit=2), budget=3)


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


def by_seq(after_seq: int, received_from_us: int | None, *, limit: int, budget: int) -> Statement:
    """The statement that reads on by seq.

    Args:
        after_seq: Exclusive; -1 starts.
        received_from_us: Arrival of the event at `after_seq` in Unix microseconds, if known: none came later in the log
            and earlier in time.
        limit: Most rows.
        budget: As in `by_time`.
    """
    if received_from_us is None:
        return Statement(_BY_SEQ_UNBOUNDED, (after_seq, limit, budget))
    return Statement(_BY_SEQ, (after_seq, moment(received_from_us), limit, budget))


async def read_chunk(connection: Connection, statement: Statement) -> Chunk:
    """Read rows in a log session that keeps index order."""
    *_, limit, budget = cast("tuple[*tuple[object, ...], int, int]", statement.arguments)
    records = await connection.fetch(statement.sql, *statement.arguments)
    rows = tuple(StoredEvent(*tuple(record)[:-1]) for record in records)
    return Chunk(rows, ended=len(rows) < limit and (not records or records[-1]["bytes"] < budget))


async def read_event(connection: Connection, seq: int, received_us: int) -> StoredEvent | None:
    """Read the event at a place, or None."""
    record = await connection.fetchrow(
        "select seq, received_at, occurred_at, leaf_hash, textsend(body) as body from tallystick.log_events"
        " where seq = $1 and received_at = $2",
        seq,
        moment(received_us),
    )
    return None if record is None else StoredEvent(*record)


def by_places(places: Sequence[tuple[int, int]]) -> Statement:
    """The statement that reads the events at places, at least one, each a seq and its arrival in Unix microseconds.

    Row by row through the primary key: of each place only the partition of its arrival is looked at.
    """
    arrivals = [moment(received_us) for _, received_us in places]
    return Statement(_BY_PLACES, ([seq for seq, _ in places], arrivals, min(arrivals), max(arrivals)))


# With its limit the inner query is run for each place; else a plan could be made that joins whole partitions. The
# bounds add nothing but speed: partitions outside of them are not opened (with a hundred, 1.3 ms become 0.35).
_BY_PLACES: Final = """
select event.seq, event.received_at, event.occurred_at, event.leaf_hash, textsend(event.body) as body
  from unnest($1::bigint[], $2::timestamptz[]) as place (seq, received_at)
 cross join lateral (select * from tallystick.log_events
                      where seq = place.seq and received_at = place.received_at
                        and received_at between $3 and $4 limit 1) as event"""


async def read_events(connection: Connection, places: Sequence[tuple[int, int]]) -> list[StoredEvent]:
    """Read the events at places; those removed are left out."""
    if not places:
        return []
    statement = by_places(places)
    return [StoredEvent(*record) for record in await connection.fetch(statement.sql, *statement.arguments)]


async def read_size(connection: Connection) -> int:
    """How many seqs the log has given out; 0 where there is no such log."""
    size: int | None = await connection.fetchval("select size from tallystick.log_head")
    return size or 0


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


async def is_removed(connection: Connection, seq: int) -> bool:
    """Whether retention or cleanup took the event at this seq."""
    removed: bool = await connection.fetchval(
        "select exists (select from tallystick.log_removed where $1 between first_seq and last_seq and seqs @> $1)", seq
    )
    return removed
