"""SQL that reads rollups."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, TypeAlias

import asyncpg

from tallystick.database.pools import Connection
from tallystick.errors import Flaw, InvalidError
from tallystick.query.facets import Facet
from tallystick.query.timestamps import moment
from tallystick.stats.model import KINDS, By, KindFilter, Period, Piece, pieces

Kinds: TypeAlias = tuple[list[int], dict[By, list[tuple[str, int]]]]
"""Events of each bucket, and for each of `KINDS` its most frequent values."""

Rankings: TypeAlias = dict[Facet, list[list[tuple[str, int]]]]
"""The most frequent values of facets, in each of several periods."""

_COUNT: Final = """
    with of_bucket as (
        select piece.bucket, sum(events)::bigint as events
          from unnest($1::smallint[], $2::timestamptz[], $3::timestamptz[], $4::int[])
               as piece (minutes, begins, ends, bucket)
          join tallystick.log_rollups rollup
            on rollup.minutes = piece.minutes and rollup.starts_at >= piece.begins and rollup.starts_at < piece.ends
         where ($8::text[] is null or action = any ($8))
           and ($9::text[] is null or resource_type = any ($9))
           and ($10::text[] is null or severity = any ($10))
         group by piece.bucket
    ), kind as materialized (
        select action, resource_type, severity, sum(events) as events
          from unnest($5::smallint[], $6::timestamptz[], $7::timestamptz[]) as piece (minutes, begins, ends)
          join tallystick.log_rollups rollup
            on rollup.minutes = piece.minutes and rollup.starts_at >= piece.begins and rollup.starts_at < piece.ends
         where ($8::text[] is null or action = any ($8))
           and ($9::text[] is null or resource_type = any ($9))
           and ($10::text[] is null or severity = any ($10))
         group by action, resource_type, severity)
    select bucket, null as action, null as resource_type, null as severity, events from of_bucket
     union all
    select null, action, resource_type, severity, events
      from (select action, resource_type, severity, coalesce(sum(events), 0)::bigint as events,
                   row_number() over (partition by grouping(action, resource_type, severity)
                                      order by sum(events) desc,
                                               coalesce(action, resource_type, severity) collate "C") as place
              from kind
             group by grouping sets ((action), (resource_type), (severity), ())) as counted
     where place <= $11"""


async def rolled_up_through(connection: Connection) -> int:
    """The last seq of the session's log that its rollups count; -1 for none."""
    return await connection.fetchval("select coalesce((select seq from tallystick.log_rolled_up), -1)")


async def export_snapshot(connection: Connection) -> str:
    """Name what the session sees, for another to see the same while this one lasts."""
    return await connection.fetchval("select pg_export_snapshot()")


async def count(connection: Connection, edges: Sequence[int], filters: KindFilter, most: int) -> Kinds:
    """Count the events of the session's log in each bucket, and by each part of their kind.

    Kinds are those of the whole period, which wider rollups cover than its buckets: counted by bucket, they would be
    many more rows and each of them four columns to group by.

    Args:
        connection: With a session of the log.
        edges: Of a `Period` of whole quarters of an hour.
        filters: What counts.
        most: Most values of each part.
    """
    whole = list(pieces((edges[0], edges[-1])))
    covered = list(pieces(edges)) if len(edges) > 2 else []  # one bucket is the total
    # Piece by piece: a join by hash compares every row with every piece.
    await connection.execute("set local enable_hashjoin = off; set local enable_mergejoin = off")
    found = await connection.fetch(
        _COUNT, *_arrays(covered), [piece.bucket for piece in covered], *_arrays(whole), *_values(filters), most
    )
    counts = [0] * (len(edges) - 1)
    lists: dict[By, list[tuple[str, int]]] = {by: [] for by in KINDS}
    for bucket, *values, events in found:
        if bucket is not None:
            counts[bucket] = events
            continue
        for by, value in zip(KINDS, values, strict=True):
            if value is not None:
                lists[by].append((value, events))
        if not covered and all(value is None for value in values):
            counts[0] = events
    for shown in lists.values():
        shown.sort(key=lambda item: (-item[1], item[0]))
    return counts, lists


async def rank(connection: Connection, log_id: int, period: Period, facet: Facet, most: int) -> list[tuple[str, int]]:
    """The most frequent values of a facet in the session's log, as `query.facets` writes them, and their events.

    Raises:
        InvalidError: It took longer than the database gives a statement, as with very many values about equally
            frequent. Not an outage: whoever asks again without waiting would keep the database at it.
    """
    try:
        found = await connection.fetch(
            "select name, events from tallystick.rank_facet($1, $2, $3, $4, $5)",
            log_id,
            facet,
            moment(period.from_us),
            moment(period.to_us),
            most,
        )
    except asyncpg.QueryCanceledError as error:
        flaw = Flaw("could not be ranked in the time that a statement has; ask for a shorter period", parameter="by")
        raise InvalidError("this takes too long to count", flaws=[flaw]) from error
    return [(name, events) for name, events in found]


def _arrays(covered: Sequence[Piece]) -> tuple[list[int], list[datetime], list[datetime]]:
    return (
        [piece.minutes for piece in covered],
        [moment(piece.from_us) for piece in covered],
        [moment(piece.to_us) for piece in covered],
    )


def _values(filters: KindFilter) -> list[list[str] | None]:
    wanted = (filters.actions, filters.resource_types, filters.severities)
    return [None if values is None else sorted(values) for values in wanted]
