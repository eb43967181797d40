"""Few events appended by one statement: two trips to the database, with the commit, instead of five.

The server takes the seqs, finishes the bodies and hashes them, exactly as `log.plan` does; this process then does the
same for its answers. Each trip waits for the event loop and for a core while the logs stay locked: beside a tenant that
floods, two thirds of an append's time.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from tallystick.database.pools import OwnConnection
from tallystick.log.commit import Appended, Probe
from tallystick.log.identity import RANDOM_BITS, draw_random
from tallystick.log.lanes import Append
from tallystick.log.plan import New, Plan
from tallystick.query.timestamps import format_milliseconds, moment

_MOST_EVENTS: Final = 64
"""At so many, one statement takes as long as `COPY` with its trips, and still spares this process a quarter."""

_MOST_BYTES: Final = 256 * 1024

# In the order of ids, as no two transactions may wait for each other, and without those that another one holds.
_FREE = "free as (select id from tallystick.logs where id = any($1::int[]) order by id for no key update skip locked), "

_APPEND = """
with {free}grown as (
    update tallystick.logs as log
       set size = log.size + more.events,
           last_at = greatest(log.last_at, date_trunc('milliseconds', clock_timestamp()))
      from unnest($1::int[], $2::bigint[]) as more (id, events){join}
     where log.id = more.id
    returning log.id, log.size - more.events as first,
              (extract(epoch from log.last_at) * 1000)::bigint as last_ms
), arrived as (
    select *, timestamptz 'epoch' + last_ms * interval '1 millisecond' as arrival from grown
), placed as (
    select log.*, to_char(arrival at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as received_at,
           first + new.place as seq, new.occurred_at, new.rest, lpad(to_hex(last_ms), 12, '0') as clock,
           lpad(to_hex((first + new.place) >> 28), 3, '0') as high,
           to_hex((-1::bigint << 63) | (((first + new.place) & 268435455) << {random_bits}) | new.random) as low
      from unnest($3::int[], $4::bigint[], $5::timestamptz[], $6::text[], $7::bigint[])
        as new (log_id, place, occurred_at, rest, random)
      join arrived as log on log.id = new.log_id
), formed as (
    select id, seq, arrival, coalesce(occurred_at, arrival) as occurred_at,
           '{{"id":"' || left(clock, 8) || '-' || right(clock, 4) || '-7' || high || '-' || left(low, 4) || '-'
           || right(low, 12) || '","received_at":"' || received_at || '"'
           || case when occurred_at is null then ',"timestamp":"' || received_at || '"' else '' end || rest as body
      from placed
), stored as (
    insert into tallystick.events (log_id, seq, received_at, occurred_at, leaf_hash, body)
    select id, seq, arrival, occurred_at, sha256(decode('00', 'hex') || convert_to(body, 'UTF8')), body from formed
)
select id, first, last_ms from grown"""

_APPEND_TO_ONE: Final = _APPEND.format(free="", join="", random_bits=RANDOM_BITS)
_APPEND_TO_MANY: Final = _APPEND.format(free=_FREE, join=" join free using (id)", random_bits=RANDOM_BITS)


def are_few(batch: Sequence[Append]) -> bool:
    """Whether a batch is appended by one statement: it is small, and there is no retry key to look up."""
    return (
        0 < sum(len(append.events) for append in batch) <= _MOST_EVENTS
        and sum(append.size for append in batch) <= _MOST_BYTES
        and not any(append.has_keys for append in batch)
    )


async def append_few(connection: OwnConnection, batch: Sequence[Append], appended: Appended) -> None:
    """Append a batch of few events, in a transaction that was begun.

    Args:
        connection: Of the writer role.
        batch: Requests; those of one log in the order they are to be stored.
        appended: Is told what was done.

    Raises:
        asyncpg.PostgresError: Refused.
    """
    counts = Counter[int]()
    placed: list[tuple[int, int, datetime | None, str, int]] = []
    drawn = draw_random(sum(len(append.events) for append in batch))
    events = [(append.log_id, event) for append in batch for event in append.events]
    for (log_id, event), random in zip(events, drawn, strict=True):
        occurred_at = None if event.occurred_us is None else moment(event.occurred_us)
        placed.append((log_id, counts[log_id], occurred_at, event.rest.decode(), random))
        counts[log_id] += 1
    rows = await connection.fetch(
        _APPEND_TO_ONE if len(counts) == 1 else _APPEND_TO_MANY,
        list(counts),
        list(counts.values()),
        *map(list, zip(*placed, strict=True)),
    )
    received = {row["id"]: (row["last_ms"], format_milliseconds(row["last_ms"])) for row in rows}
    seqs = {row["id"]: row["first"] for row in rows}
    randoms = iter(drawn)
    for append in batch:
        log_id = append.log_id
        plan = Plan(append, [New(event) for event in append.events])
        for new, random in zip(plan.new, randoms, strict=False):
            if log_id in seqs:
                _, leaf = new.place(seqs[log_id], *received[log_id], random)
                appended.probe = appended.probe or Probe(log_id, seqs[log_id], received[log_id][0], leaf)
                seqs[log_id] += 1
        if log_id in seqs:
            appended.results[append] = plan.outcome()
        else:
            appended.set_aside.append(append)
    appended.sizes = seqs
