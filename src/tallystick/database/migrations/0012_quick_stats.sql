-- Statistics of any period of a time zone in a few milliseconds.

-- Kinds are counted by the hour and by the quarter of a day too: a day of most time zones is three quarters of a day and a few hours,
-- where it was 96 quarters of an hour. Rollups were in no release yet, so that they are counted anew by the worker instead of here, and
-- no worker of a release leaves these out.
truncate tallystick.rollups, tallystick.facet_parts, tallystick.facet_spans, tallystick.rolled_spans;
alter table tallystick.rollups
    drop constraint rollups_minutes_check,
    add constraint rollups_minutes_check check (minutes in (15, 60, 360, 1440));
delete from tallystick.quarantine where follower = 'rollups';
update tallystick.cursors set seq = -1, received_at = null, leased_by = null, leased_until = null where follower = 'rollups';

-- The most frequent actors or resources of whole quarters of an hour, exactly, without adding up all that there are. The *sources* of an
-- answer are the closed spans that lie in the period; those that an end of it cuts through, which tell more than what lies in it, and so
-- bound that; and the *rest*, what the period has of open spans, added up. Every day of arrival of a span is closed with it, and what
-- comes late to a closed span is in its parts and among its values.
--
-- The steps are those of Cao and Wang, "Efficient top-k query calculation in distributed networks" (2004):
-- (1) The first of each source give a bound that the last of the answer reaches.
-- (2) With that bound shared out over the sources, what stays below its share in each of them cannot be among the answer. Each source
--     gets the same share, and what one cannot use, since its greatest count is less, is left to the others. Most values of the rest are
--     there once: they count as one more below the bound.
-- (3) Of what is left, that which could not reach the last of the surest, by what (2) saw of it and the shares of where it did not, goes.
-- (4) The few that remain are added up: by their values in spans, and in *pieces*, which are the rest and, of each span that is cut, the
--     lesser side, to be added or to be taken from the span again.
-- Where values are about equally frequent no share is left, and everything is added up. Without a span inside, that is the period's parts.
create or replace function tallystick.rank_facet(in_log int, in_facet text, in_from timestamptz, in_to timestamptz, in_most int)
returns table (name text, events bigint)
language plpgsql stable
set search_path = pg_catalog, pg_temp set timezone = 'UTC' set work_mem = '32MB' set enable_sort = on set enable_seqscan = off
set plan_cache_mode = force_custom_plan as $$
#variable_conflict use_column
declare
    width constant interval := '6 hours';
    spans timestamptz[]; days date[]; inside boolean[];  -- of the sources but the rest
    first_span timestamptz; next_span timestamptz;       -- of those that are added up by their values
    rest_from timestamptz[]; rest_to timestamptz[]; rest_names text[]; rest_counts bigint[];
    pieces_from timestamptz[]; pieces_to timestamptz[]; signs int[];
    heads bigint[]; below bigint; given bigint := 1; share bigint := 0; sources_left int; head bigint; candidates text[];
begin
    perform set_config('tallystick.log', in_log::text, true);
    with rolled as materialized (
        select span, received_day, closed, greatest(span, in_from) as begins, least(span + width, in_to) as ends
          from tallystick.log_rolled_spans where span > in_from - width and span < in_to
    ), source as materialized (
        select span, received_day, begins, ends, ends - begins = width as inside, ends - begins > width / 2 as added
          from rolled where closed
    ), piece as materialized (
        select begins, ends, 1 as sign, true as rest from rolled where not closed
         union
        select begins, ends, 1, false from source where not added
         union
        select span, begins, -1, false from source where added and span < begins
         union
        select ends, span + width, -1, false from source where added and ends < span + width)
    select of_sources.*, of_pieces.*
      into spans, days, inside, first_span, next_span, pieces_from, pieces_to, signs, rest_from, rest_to
      from (select coalesce(array_agg(span), '{}'), coalesce(array_agg(received_day), '{}'), coalesce(array_agg(source.inside), '{}'),
                   min(span) filter (where added), max(span) filter (where added) + width from source) as of_sources,
           (select array_agg(begins), array_agg(ends), array_agg(sign),
                   array_agg(begins) filter (where rest), array_agg(ends) filter (where rest) from piece) as of_pieces;

    if not true = any (inside) then
        first_span := null;
        pieces_from := array[in_from];
        pieces_to := array[in_to];
        signs := array[1];
    else
        select array_agg(added.name), array_agg(added.n) into rest_names, rest_counts
          from (select entry.name, sum(entry.n)::bigint as n
                  from unnest(rest_from, rest_to) as piece (begins, ends)
                 cross join lateral (select names, counts from tallystick.log_facet_parts
                                      where facet = in_facet and starts_at >= piece.begins and starts_at < piece.ends) as part
                 cross join lateral unnest(part.names, part.counts) as entry (name, n)
                 group by entry.name having sum(entry.n) > 1) as added;

        with first as materialized (
            select source.span, source.received_day, source.inside, coalesce(entry.name, entry.key) as name, entry.events
              from unnest(spans, days, inside) as source (span, received_day, inside)
             cross join lateral (select key, name, events from tallystick.log_facet_spans
                                  where facet = in_facet and span = source.span and received_day = source.received_day
                                  order by events desc limit in_most) as entry
             union all
            select null, null, true, rest.name, rest.n
              from (select name, n from unnest(rest_names, rest_counts) as entry (name, n) order by n desc limit in_most) as rest)
        select (select case when count(*) = in_most then greatest(min(total) - 2, 0) else 0 end
                  from (select sum(first.events) as total from first where first.inside
                         group by first.name order by total desc limit in_most) as best),
               (select array_agg(greatest_count order by greatest_count)
                  from (select max(first.events) as greatest_count from first group by first.span, first.received_day) as of_source)
          into below, heads;

        sources_left := coalesce(cardinality(heads), 0);
        foreach head in array coalesce(heads, '{}') loop
            share := below / sources_left;
            exit when head > share;
            given := given + head;
            below := below - head;
            sources_left := sources_left - 1;
            exit when sources_left = 0;
        end loop;
    end if;

    if share = 0 then
        return query
        select added.name, sum(added.events)::bigint
          from (select coalesce(name, key) as name, events from tallystick.log_facet_spans
                 where facet = in_facet and span >= first_span and span < next_span
                 union all
                select entry.name, entry.n * piece.sign
                  from unnest(pieces_from, pieces_to, signs) as piece (begins, ends, sign)
                 cross join lateral (select names, counts from tallystick.log_facet_parts
                                      where facet = in_facet and starts_at >= piece.begins and starts_at < piece.ends) as part
                 cross join lateral unnest(part.names, part.counts) as entry (name, n)) as added
         group by added.name
        having sum(added.events) > 0
         order by 2 desc, added.name collate "C" limit in_most;
        return;
    end if;

    with seen as (
        select coalesce(entry.name, entry.key) as name, entry.events, source.inside
          from unnest(spans, days, inside) as source (span, received_day, inside)
         cross join lateral (select key, name, events from tallystick.log_facet_spans
                              where facet = in_facet and span = source.span and received_day = source.received_day
                                and events > share) as entry
         union all
        select rest.name, rest.n, true from unnest(rest_names, rest_counts) as rest (name, n) where rest.n > share
    ), bounded as materialized (
        -- Each source that it was not seen in gives its share, or what it was given instead: its greatest count.
        select seen.name, coalesce(sum(seen.events) filter (where seen.inside), 0) as least,
               sum(seen.events) + share * (sources_left - count(*)) + given as most
          from seen group by seen.name)
    select array_agg(bounded.name) into candidates
      from bounded
     where most >= coalesce((select last.least from bounded as last order by last.least desc offset in_most - 1 limit 1), 0);

    return query
    select added.name, sum(added.events)::bigint
      from (select candidate.name, in_spans.events
              from unnest(candidates) as candidate (name)
             cross join lateral (select sum(events) as events from tallystick.log_facet_spans
                                  where facet = in_facet and key = tallystick.facet_key(candidate.name)
                                    and span >= first_span and span < next_span) as in_spans
             union all
            select entry.name, entry.n * piece.sign
              from unnest(pieces_from, pieces_to, signs) as piece (begins, ends, sign)
             cross join lateral (select names, counts from tallystick.log_facet_parts
                                  where facet = in_facet and starts_at >= piece.begins and starts_at < piece.ends) as part
             cross join lateral unnest(part.names, part.counts) as entry (name, n)
             where entry.name = any (candidates)) as added
     group by added.name
    having sum(added.events) > 0
     order by 2 desc, added.name collate "C" limit in_most;
end
$$;
