"""SQL that takes what was removed out of the rollups."""

from collections.abc import Sequence
from datetime import date
from typing import Final

from tallystick.database.pools import Connection
from tallystick.stats.rolling import WIDTHS, Increments
from tallystick.stats.rollup_queries import TABLES, arrays_of, begin_of

_LESS_KINDS: Final = """
    with counted as (
        select minutes, date_bin(make_interval(mins => minutes), to_timestamp(quarter * 900), 'epoch') as starts_at,
               date '1970-01-01' + day as received_day, action, resource_type, severity, sum(events)::bigint as events
          from unnest($2::bigint[], $3::int[], $4::text[], $5::text[], $6::text[], $7::bigint[])
               as counted (quarter, day, action, resource_type, severity, events)
         cross join unnest($8::smallint[]) as width (minutes)
         group by 1, 2, 3, 4, 5, 6
    ), emptied as (
        delete from tallystick.rollups as rollup using counted
         where log_id = $1 and rollup.minutes = counted.minutes and rollup.starts_at = counted.starts_at
           and rollup.received_day = counted.received_day and rollup.action = counted.action
           and rollup.resource_type = counted.resource_type and rollup.severity = counted.severity
           and rollup.events = counted.events
        returning 1
    ), lessened as (
        update tallystick.rollups as rollup set events = rollup.events - counted.events from counted
         where log_id = $1 and rollup.minutes = counted.minutes and rollup.starts_at = counted.starts_at
           and rollup.received_day = counted.received_day and rollup.action = counted.action
           and rollup.resource_type = counted.resource_type and rollup.severity = counted.severity
           and rollup.events > counted.events
        returning 1)
    select (select count(*) from counted)
         = (select count(*) from emptied) + (select count(*) from lessened)"""

_LESS_PARTS: Final = """
    with counted as (
        select facet, to_timestamp(quarter * 900) as starts_at, date '1970-01-01' + day as received_day, name, n
          from unnest($2::text[], $3::bigint[], $4::int[], $5::text[], $6::bigint[])
               as counted (facet, quarter, day, name, n)
    ), taken as (
        delete from tallystick.facet_parts as part
         using (select distinct facet, starts_at, received_day from counted) as touched
         where log_id = $1 and part.facet = touched.facet and part.starts_at = touched.starts_at
           and part.received_day = touched.received_day
        returning part.*
    ), through as (
        select facet, starts_at, received_day, max(through_seq) as through_seq from taken group by 1, 2, 3
    ), rest as materialized (
        select facet, starts_at, received_day, name, sum(n)::bigint as n
          from (select facet, starts_at, received_day, entry.name, entry.n
                  from taken cross join lateral unnest(names, counts) as entry (name, n)
                 union all
                select facet, starts_at, received_day, name, -n from counted) as both_of
         group by 1, 2, 3, 4
    ), kept as (
        insert into tallystick.facet_parts (log_id, facet, starts_at, received_day, through_seq, names, counts)
        select $1, facet, starts_at, received_day, through_seq, array_agg(name), array_agg(n)
          from rest join through using (facet, starts_at, received_day) where n > 0
         group by facet, starts_at, received_day, through_seq)
    select not exists (select from rest where n < 0)"""

_LESS_SPANS: Final = """
    with counted as (
        select facet, to_timestamp(span * 21600) as span, date '1970-01-01' + day as received_day,
               tallystick.facet_key(name) as key, events
          from unnest($2::bigint[], $3::int[], $4::text[], $5::text[], $6::bigint[])
               as counted (span, day, facet, name, events)
    ), emptied as (
        delete from tallystick.facet_spans as known using counted
         where log_id = $1 and known.facet = counted.facet and known.key = counted.key and known.span = counted.span
           and known.received_day = counted.received_day and known.events = counted.events
        returning 1
    ), lessened as (
        update tallystick.facet_spans as known set events = known.events - counted.events from counted
         where log_id = $1 and known.facet = counted.facet and known.key = counted.key and known.span = counted.span
           and known.received_day = counted.received_day and known.events > counted.events
        returning 1)
    select (select count(*) from counted)
         = (select count(*) from emptied) + (select count(*) from lessened)"""


async def subtract(connection: Connection, log_id: int, increments: Increments) -> bool:
    """Take away from the rollups of a log; false where they did not hold what was to be taken away.

    Args:
        connection: With a transaction that holds the cursor of the rollups.
        log_id: The log.
        increments: What its removed events had added.
    """
    agree: list[bool] = []
    if rows := increments.kind_rows():
        agree.append(await connection.fetchval(_LESS_KINDS, log_id, *_columns(rows), WIDTHS))
    if parts := [
        (part.facet, part.quarter, part.day, name, count)
        for part, values in increments.parts.items()
        for name, count in zip(*arrays_of(values), strict=True)
    ]:
        agree.append(await connection.fetchval(_LESS_PARTS, log_id, *_columns(parts)))
    begins = {begin_of(span): span for span, _ in increments.spans}
    closed = await connection.fetch(
        "select distinct span from tallystick.rolled_spans"
        " where log_id = $1 and closed and span = any ($2::timestamptz[])",
        log_id,
        list(begins),
    )
    if values := increments.values_of_spans({begins[record["span"]] for record in closed}):
        agree.append(await connection.fetchval(_LESS_SPANS, log_id, *_columns(values)))
    return all(agree)


async def cut_days(connection: Connection, log_id: int, before: date) -> None:
    """Remove from the rollups of a log what counts events that arrived before a day of UTC."""
    await connection.execute("set local statement_timeout = 0")
    for table in TABLES:
        await connection.execute(
            f"delete from tallystick.{table} where log_id = $1 and received_day < $2",  # noqa: S608  # our names
            log_id,
            before,
        )


async def hold_cursor(connection: Connection, follower: str, log_id: int) -> int:
    """Keep a follower's cursor of a log where it is until the transaction ends; the last seq it has handled."""
    seq = await connection.fetchval(
        "select seq from tallystick.cursors where follower = $1 and log_id = $2 for update", follower, log_id
    )
    return -1 if seq is None else seq


def _columns(rows: Sequence[tuple[object, ...]]) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)]
