"""Puts events into a log as the owner, past the writer: with arrivals and occurrences of a test's own choosing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

import asyncpg
import orjson

from tallystick.log.identity import make_id
from tallystick.query.timestamps import microseconds, moment
from tallystick_tlog import leaf_hash

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

DAY_US = 86_400_000_000
HOUR_US = 3_600_000_000


@dataclass(frozen=True, slots=True)
class Row:
    """An event to be. Its seq is given by its place among all that were put.

    Attributes:
        received_us: Arrival in Unix microseconds, in whole milliseconds.
        occurred_us: Occurrence in Unix microseconds.
        fields: Further fields of the body.
    """

    received_us: int
    occurred_us: int
    fields: Mapping[str, object] = field(default_factory=dict[str, object])


@dataclass(frozen=True, slots=True)
class Put:
    """An event that was put.

    Attributes:
        item: As it must be answered.
    """

    seq: int
    id: str
    received_us: int
    occurred_us: int
    leaf_hash: bytes
    body: bytes

    @property
    def item(self) -> bytes:
        return b'{"seq":%d,"leaf_hash":"%s",%s' % (self.seq, self.leaf_hash.hex().encode(), self.body[1:])


async def partitions_back(owner: Connection, days: int, width: int = 1) -> int:
    """Make partitions of so many days each for the days before the oldest; returns when the first begins, in µs."""
    bound = await owner.fetchval(
        "select min((regexp_match(pg_get_expr(relpartbound, pg_class.oid), 'FROM \\(''([^'']+)''\\)'))[1]::timestamptz)"
        "  from pg_inherits join pg_class on pg_class.oid = inhrelid where inhparent = 'tallystick.events'::regclass"
    )
    if bound is None:  # a hypertable makes its chunks itself
        return now_us() // DAY_US * DAY_US - days * DAY_US
    begin = bound.astimezone(UTC)
    for _ in range(0, days, width):
        end, begin = begin, begin - timedelta(days=width)
        name = f"events_{begin:%Y%m%d}"
        await owner.execute(
            f"create table tallystick.{name} partition of tallystick.events for values from ('{begin}') to ('{end}')"
        )
    return microseconds(begin)


def _body(row: Row, seq: int) -> tuple[str, bytes]:
    event_id = make_id(row.received_us // 1000, seq, seq)
    shown = {"id": event_id, "received_at": _text(row.received_us), "timestamp": _text(row.occurred_us), **row.fields}
    return event_id, orjson.dumps(shown)


def _text(us: int) -> str:
    return moment(us).isoformat().replace("+00:00", "Z")


async def put(owner: Connection, log_id: int, rows: Sequence[Row]) -> list[Put]:
    """Append rows, in the order of their arrival, as the log's next events."""
    size: int = await owner.fetchval("select size from tallystick.logs where id = $1", log_id)
    events: list[Put] = []
    for seq, row in enumerate(rows, size):
        event_id, body = _body(row, seq)
        events.append(Put(seq, event_id, row.received_us, row.occurred_us, leaf_hash(body), body))
    async with owner.transaction():
        await owner.copy_records_to_table(
            "events",
            schema_name="tallystick",
            columns=["log_id", "seq", "received_at", "occurred_at", "leaf_hash", "body"],
            records=[
                (
                    log_id,
                    event.seq,
                    moment(event.received_us),
                    moment(event.occurred_us),
                    event.leaf_hash,
                    event.body.decode(),
                )
                for event in events
            ],
        )
        await owner.execute(
            "update tallystick.logs set size = size + $2, last_at = greatest(last_at, clock_timestamp()) where id = $1",
            log_id,
            len(events),
        )
    return events


async def fill_log(owner: Connection, log_id: int, events: int, **fields: object) -> list[Put]:
    """Append so many events that arrive together now, and occurred a millisecond after each other."""
    now = now_us()
    return await put(owner, log_id, [Row(now, now + 1_000 * number, fields) for number in range(events)])


async def remove(owner: Connection, log_id: int, first_seq: int, last_seq: int, reason: str = "retention") -> None:
    """Take a range of seqs out of a log, as retention does."""
    async with owner.transaction():
        await owner.execute(
            "delete from tallystick.events where log_id = $1 and seq between $2 and $3", log_id, first_seq, last_seq
        )
        await owner.execute(
            "insert into tallystick.removed (log_id, first_seq, last_seq, seqs, reason)"
            " values ($1, $2, $3, int8multirange(int8range($2, $3, '[]')), $4)",
            log_id,
            first_seq,
            last_seq,
            reason,
        )


def now_us() -> int:
    """Now, in Unix microseconds, cut to the millisecond."""
    return microseconds(datetime.now(UTC)) // 1000 * 1000


async def put_cursor(owner: Connection, follower: str, log_id: int, seq: int) -> None:
    """Have a follower say that it has handled all up to a seq."""
    await owner.execute(
        """
        insert into tallystick.cursors (follower, log_id, seq) values ($1, $2, $3)
            on conflict (follower, log_id) do update set seq = excluded.seq""",
        follower,
        log_id,
        seq,
    )
