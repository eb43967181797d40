"""SQL that adds to rollups, in the transaction of the follower."""

from datetime import date, datetime, timedelta
from typing import Final

from tallystick.database.pools import Connection
from tallystick.query.timestamps import microseconds, moment
from tallystick.stats.rolling import QUARTER_US, SPAN_US, WIDTHS, Increments

MOST_VALUES: Final = 200_000
"""A span of more values, told in all its parts, stays open: to close it would hold the log for many seconds."""

TABLES: Final = ("rollups", "facet_parts", "facet_spans", "rolled_spans")
"""All that is kept of a log."""

_ADD_KINDS: Final = """
    with counted as (
        select to_timestamp(quarter * 900) as starts_at, date '1970-01-01' + day as received_day,
               action, resource_type, severity, events
          from unnest($2::bigint[], $3::int[], $4::text[], $5::text[], $6::text[], $7::bigint[])
               as counted (quarter, day, action, resource_type, severity, events))
    insert into tallystick.rollups as rollup
           (log_id, minutes, starts_at, received_day, action, resource_type, severity, events)
    select $1, minutes, date_bin(make_interval(mins => minutes), starts_at, 'epoch'), received_day,
           action, resource_type, severity, sum(events)::bigint
      from counted cross join unnest($8::smallint[]) as width (minutes)
     group by 2, 3, 4, 5, 6, 7
        on conflict (log_id, minutes, starts_at, received_day, action, resource_type, severity)
        do update set events = rollup.events + excluded.events"""

_ADD_TO_SPANS: Final = """
    insert into tallystick.facet_spans as known (log_id, facet, span, received_day, key, name, events)
    select $1, facet, to_timestamp(span * 21600), date '1970-01-01' + day,
           tallystick.facet_key(name), nullif(name, tallystick.facet_key(name)), events
      from unnest($2::bigint[], $3::int[], $4::text[], $5::text[], $6::bigint[])
           as counted (span, day, facet, name, events)
        on conflict (log_id, facet, key, span, received_day) do update set events = known.events + excluded.events"""

_NOTE_SPANS: Final = """
    insert into tallystick.rolled_spans (log_id, span, received_day, closed)
    select $1, counted.span, counted.received_day,
           exists (select from tallystick.rolled_spans where log_id = $1 and span = counted.span and closed)
      from unnest($2::timestamptz[], $3::date[]) as counted (span, received_day)
        on conflict do nothing"""

_VALUES_IN: Final = """
    select coalesce(sum(cardinality(names)), 0) from tallystick.facet_parts
     where log_id = $1 and starts_at >= $2 and starts_at < $3"""

_FILL_SPAN: Final = """
    insert into tallystick.facet_spans (log_id, facet, span, received_day, key, name, events)
    select $1, facet, $2, received_day, tallystick.facet_key(entry.name),
           nullif(entry.name, tallystick.facet_key(entry.name)), sum(entry.n)
      from tallystick.facet_parts cross join lateral unnest(names, counts) as entry (name, n)
     where log_id = $1 and starts_at >= $2 and starts_at < $3
     group by facet, received_day, entry.name
     order by facet, entry.name"""

_JOIN_PARTS: Final = """
    with taken as (
        delete from tallystick.facet_parts where log_id = $1 and starts_at >= $2 and starts_at < $3 returning *
    ), entry as (
        select facet, starts_at, received_day, max(through_seq) as through_seq, entry.name, sum(entry.n)::bigint as n
          from taken cross join lateral unnest(names, counts) as entry (name, n)
         group by facet, starts_at, received_day, entry.name)
    insert into tallystick.facet_parts (log_id, facet, starts_at, received_day, through_seq, names, counts)
    select $1, facet, starts_at, received_day, max(through_seq), array_agg(name), array_agg(n)
      from entry group by facet, starts_at, received_day"""


async def forget(connection: Connection, log_id: int) -> None:
    """Remove all rollups of a log, however long that takes."""
    await connection.execute("set local statement_timeout = 0")
    for table in TABLES:
        await connection.execute(f"delete from tallystick.{table} where log_id = $1", log_id)  # noqa: S608  # our names


async def add(connection: Connection, log_id: int, through: int, increments: Increments) -> None:
    """Add to the rollups of a log.

    Args:
        connection: With a transaction.
        log_id: The log.
        through: The last seq of what is added.
        increments: What is added.
    """
    if rows := increments.kind_rows():
        await connection.execute(_ADD_KINDS, log_id, *map(list, zip(*rows, strict=True)), WIDTHS)
    await connection.copy_records_to_table(
        "facet_parts",
        schema_name="tallystick",
        columns=["log_id", "facet", "starts_at", "received_day", "through_seq", "names", "counts"],
        records=[
            (log_id, part.facet, moment(part.quarter * QUARTER_US), _date(part.day), through, *arrays_of(values))
            for part, values in increments.parts.items()
        ],
    )
    spans = increments.spans
    begins = [begin_of(span) for span, _ in spans]
    await connection.execute(_NOTE_SPANS, log_id, begins, [_date(day) for _, day in spans])
    closed = await connection.fetch(
        "select span from tallystick.rolled_spans where log_id = $1 and closed and span = any ($2::timestamptz[])",
        log_id,
        begins,
    )
    if late := increments.values_of_spans({microseconds(record["span"]) // SPAN_US for record in closed}):
        await connection.execute(_ADD_TO_SPANS, log_id, *map(list, zip(*late, strict=True)))


async def close_spans(connection: Connection, log_id: int, before: int, besides: set[int], most: int) -> None:
    """Close spans of a log, the oldest first. One with too many values stays open, and is marked so.

    Args:
        connection: With a transaction.
        log_id: The log.
        before: Only spans that begin before this one, counted from 1970.
        besides: Spans that stay open.
        most: Spans to close at most.
    """
    found = await connection.fetch(
        "select distinct span from tallystick.rolled_spans"
        " where log_id = $1 and not closed and not large and span < $2 and span <> all ($3::timestamptz[])"
        " order by span limit $4",
        log_id,
        begin_of(before),
        [begin_of(span) for span in besides],
        most,
    )
    for (begin,) in found:
        end = begin + _SPAN
        if await connection.fetchval(_VALUES_IN, log_id, begin, end) > MOST_VALUES:
            await connection.execute(
                "update tallystick.rolled_spans set large = true where log_id = $1 and span = $2", log_id, begin
            )
            continue
        await connection.execute(_FILL_SPAN, log_id, begin, end)
        await connection.execute(_JOIN_PARTS, log_id, begin, end)
        await connection.execute(
            "update tallystick.rolled_spans set closed = true where log_id = $1 and span = $2", log_id, begin
        )


_SPAN: Final = timedelta(microseconds=SPAN_US)
_EPOCH: Final = date(1970, 1, 1)


def begin_of(span: int) -> datetime:
    """When a span, counted from 1970, begins."""
    return moment(span * SPAN_US)


def _date(day: int) -> date:
    return _EPOCH + timedelta(days=day)


def arrays_of(values: dict[str, int]) -> tuple[list[str], list[int]]:
    """Values and their events, side by side."""
    return list(values), list(values.values())
