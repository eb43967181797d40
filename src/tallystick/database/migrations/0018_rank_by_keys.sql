-- Rankings that read indexes alone. Step (1) of `rank_facet` (see 0012) took for its bound what the first of each source tell of a
-- value: of one that is the first of few, a fraction. Now the values that look best by that are added up inside the period, and the
-- last of them bounds the answer: about twice as high, so that step (2) reads a quarter of what it did. Values go by their keys, which
-- the indexes hold; how a long one is written is looked up for those alone that may be among the answer.
create or replace function tallystick.rank_facet(in_log int, in_facet text, in_from timestamptz, in_to timestamptz, in_most int)
returns table (name text, events bigint)
language plpgsql stable
set search_path = pg_catalog, pg_temp set timezone = 'UTC' set work_mem = '32MB' set enable_sort = on set enable_seqscan = off
set plan_cache_mode = force_custom_plan as $$
#variable_conflict use_column
declare
    width constant interval := '6 hours';
    spans timestamptz[]; days date[]; inside boolean[];  -- of the sources but the rest
    first_inside timestamptz; next_inside timestamptz;   -- of those that lie inside
    first_span timestamptz; next_span timestamptz;       -- of those that are added up by their values
    rest_from timestamptz[]; rest_to timestamptz[]; rest_names text[]; rest_keys text[]; rest_counts bigint[];
    pieces_from timestamptz[]; pieces_to timestamptz[]; signs int[];
    heads bigint[]; below bigint; given bigint := 1; share bigint := 0; sources_left int; head bigint; best text[]; reached bigint;
    candidates text[]; candidate_names text[];
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
      into spans, days, inside, first_span, next_span, first_inside, next_inside, pieces_from, pieces_to, signs, rest_from, rest_to
      from (select coalesce(array_agg(span), '{}'), coalesce(array_agg(received_day), '{}'), coalesce(array_agg(source.inside), '{}'),
                   min(span) filter (where added), max(span) filter (where added) + width,
                   min(span) filter (where inside), max(span) filter (where inside) + width from source) as of_sources,
           (select array_agg(begins), array_agg(ends), array_agg(sign),
                   array_agg(begins) filter (where rest), array_agg(ends) filter (where rest) from piece) as of_pieces;

    if not true = any (inside) then
        first_span := null;
        pieces_from := array[in_from];
        pieces_to := array[in_to];
        signs := array[1];
    else
        select array_agg(added.name), array_agg(case when octet_length(added.name) > 1000 or starts_with(added.name, '#')
                    then tallystick.facet_key(added.name) else added.name end), array_agg(added.n)
          into rest_names, rest_keys, rest_counts
          from (select entry.name, sum(entry.n)::bigint as n
                  from unnest(rest_from, rest_to) as piece (begins, ends)
                 cross join lateral (select names, counts from tallystick.log_facet_parts
                                      where facet = in_facet and starts_at >= piece.begins and starts_at < piece.ends) as part
                 cross join lateral unnest(part.names, part.counts) as entry (name, n)
                 group by entry.name having sum(entry.n) > 1) as added;

        with first as materialized (
            select source.span, source.received_day, source.inside, entry.key, entry.events
              from unnest(spans, days, inside) as source (span, received_day, inside)
             cross join lateral (select key, events from tallystick.log_facet_spans
                                  where facet = in_facet and span = source.span and received_day = source.received_day
                                  order by events desc limit in_most) as entry
             union all
            select null, null, true, rest.key, rest.n
              from (select key, n from unnest(rest_keys, rest_counts) as entry (key, n) order by n desc limit in_most) as rest)
        select (select array_agg(best.key)
                  from (select first.key from first where first.inside
                         group by first.key order by sum(first.events) desc limit in_most) as best),
               (select array_agg(greatest_count order by greatest_count)
                  from (select max(first.events) as greatest_count from first group by first.span, first.received_day) as of_source)
          into best, heads;

        select case when count(*) = in_most then min(total) else 0 end into reached
          from (select (select coalesce(sum(events), 0) from tallystick.log_facet_spans
                         where facet = in_facet and key = best.key and span >= first_inside and span < next_inside)
                     + (select coalesce(sum(rest.n), 0) from unnest(rest_keys, rest_counts) as rest (key, n)
                         where rest.key = best.key) as total
                  from unnest(best) as best (key)) as added;
        below := greatest(reached - 2, 0);

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
        select entry.key, entry.events, source.inside
          from unnest(spans, days, inside) as source (span, received_day, inside)
         cross join lateral (select key, events from tallystick.log_facet_spans
                              where facet = in_facet and span = source.span and received_day = source.received_day
                                and events > share) as entry
         union all
        select rest.key, rest.n, true from unnest(rest_keys, rest_counts) as rest (key, n) where rest.n > share
    ), bounded as materialized (
        -- Each source that it was not seen in gives its share, or what it was given instead: its greatest count.
        select seen.key, coalesce(sum(seen.events) filter (where seen.inside), 0) as least,
               sum(seen.events) + share * (sources_left - count(*)) + given as most
          from seen group by seen.key)
    select array_agg(bounded.key),
           array_agg(case when starts_with(bounded.key, '#')
                          then coalesce((select name from tallystick.log_facet_spans
                                          where facet = in_facet and key = bounded.key limit 1),
                                        (select rest.name from unnest(rest_keys, rest_names) as rest (key, name)
                                          where rest.key = bounded.key))
                          else bounded.key end)
      into candidates, candidate_names
      from bounded
     where most >= greatest(reached,
                            (select last.least from bounded as last order by last.least desc offset in_most - 1 limit 1));

    return query
    select added.name, sum(added.events)::bigint
      from (select candidate.name, in_spans.events
              from unnest(candidates, candidate_names) as candidate (key, name)
             cross join lateral (select sum(events) as events from tallystick.log_facet_spans
                                  where facet = in_facet and key = candidate.key
                                    and span >= first_span and span < next_span) as in_spans
             union all
            select entry.name, entry.n * piece.sign
              from unnest(pieces_from, pieces_to, signs) as piece (begins, ends, sign)
             cross join lateral (select names, counts from tallystick.log_facet_parts
                                  where facet = in_facet and starts_at >= piece.begins and starts_at < piece.ends) as part
             cross join lateral unnest(part.names, part.counts) as entry (name, n)
             where entry.name = any (candidate_names)) as added
     group by added.name
    having sum(added.events) > 0
     order by 2 desc, added.name collate "C" limit in_most;
end
$$;

-- An index tells all only of pages that a vacuum has seen since they were filled. By default that waits for a fifth of the table, which
-- is the latest eighteen of ninety days. Of rows that are not changed again a vacuum reads new pages only.
alter table tallystick.rollups set (autovacuum_vacuum_insert_scale_factor = 0.02);
alter table tallystick.facet_spans set (autovacuum_vacuum_insert_scale_factor = 0.02);
