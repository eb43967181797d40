-- Rollups: how many events of what kind, by whom and on what, occurred in each quarter of an hour and on each day of UTC. The
-- worker's `rollups` follower adds to them in the transaction that moves its cursor, so that each event is counted once. The day of
-- arrival is part of each key: what retention takes from a log, a prefix by that day, can be taken from its rollups. No row refers
-- to `logs`: looking that up for each of them was a fifth of the work.
create table tallystick.rollups (
    log_id int not null,
    minutes smallint not null check (minutes in (15, 1440)),
    starts_at timestamptz not null,
    received_day date not null,
    action text not null,
    resource_type text not null,
    severity text not null,
    events bigint not null check (events > 0),
    primary key (log_id, minutes, starts_at, received_day, action, resource_type, severity) include (events)
);

-- By actor and by resource. Of these there may be about as many as events, and a row for each in each quarter would cost more than
-- to index the events. So what a stretch of the log brings is one row for a quarter, its values as arrays.
create table tallystick.facet_parts (
    log_id int not null,
    facet text not null check (facet in ('actor', 'resource')),
    starts_at timestamptz not null,
    received_day date not null,
    through_seq bigint not null,
    names text[] not null,
    counts bigint[] not null check (cardinality(counts) = cardinality(names)),
    primary key (log_id, facet, starts_at, received_day, through_seq)
);

-- A *span* is a quarter of a day of UTC. One that is *closed*, since a while has passed without an event of it, has a row for each of
-- its values as well, and late events are added there, too. A key is the value itself, or a hash where that is too long for an index;
-- then `name` tells it.
create table tallystick.facet_spans (
    log_id int not null,
    facet text not null check (facet in ('actor', 'resource')),
    span timestamptz not null,
    received_day date not null,
    key text not null check (octet_length(key) <= 1000),
    name text,
    events bigint not null check (events > 0),
    primary key (log_id, facet, key, span, received_day) include (events)
);
create index facet_spans_by_rank on tallystick.facet_spans (log_id, facet, span, received_day, events desc, key);

create table tallystick.rolled_spans (
    log_id int not null,
    span timestamptz not null,
    received_day date not null,
    closed boolean not null,
    large boolean not null default false,  -- it has so many values that it stays open
    primary key (log_id, span, received_day)
);

create function tallystick.facet_key(name text) returns text
language sql immutable strict parallel safe as $$
    select case when octet_length(name) > 1000 or starts_with(name, '#')
                then '#' || encode(sha256(convert_to(name, 'UTF8')), 'hex') else name end
$$;

grant select, insert, update, delete on
    tallystick.rollups, tallystick.facet_parts, tallystick.facet_spans, tallystick.rolled_spans to tallystick_worker;

create view tallystick.log_rollups as
    select minutes, starts_at, received_day, action, resource_type, severity, events from tallystick.rollups
     where log_id = nullif(current_setting('tallystick.log', true), '')::int;
create view tallystick.log_facet_parts as
    select facet, starts_at, names, counts from tallystick.facet_parts
     where log_id = nullif(current_setting('tallystick.log', true), '')::int;
create view tallystick.log_facet_spans as
    select facet, span, received_day, key, name, events from tallystick.facet_spans
     where log_id = nullif(current_setting('tallystick.log', true), '')::int;
create view tallystick.log_rolled_spans as
    select span, received_day, closed from tallystick.rolled_spans
     where log_id = nullif(current_setting('tallystick.log', true), '')::int;
create view tallystick.log_rolled_up as
    select seq from tallystick.cursors
     where follower = 'rollups' and log_id = nullif(current_setting('tallystick.log', true), '')::int;
grant select on
    tallystick.log_rollups, tallystick.log_facet_parts, tallystick.log_facet_spans, tallystick.log_rolled_spans,
    tallystick.log_rolled_up to tallystick_reader;

-- The most frequent actors or resources of whole quarters of an hour, exactly, without adding up all that there are. What closed spans
-- do not cover, the ends of the period and the latest hours, is added up: the *rest*. With it, there are as many sources as closed
-- spans and one more. Then three steps, after Cao and Wang, "Efficient top-k query calculation in distributed networks" (2004): (1) the
-- first of each source give a bound that the last of the answer reaches; (2) with that bound shared out over the sources, what stays
-- below its share in each of them cannot be among the answer, so that few are left; (3) these are added up. Each source gets the same
-- share, and what one cannot use, since its greatest count is less, is left to the others. Most values of the rest are there once:
-- they count as one more below the bound, and are looked at only if they are among the few. Where values are about equally frequent no
-- share is left, and everything is added up.
create function tallystick.rank_facet(in_log int, in_facet text, in_from timestamptz, in_to timestamptz, in_most int)
returns table (name text, events bigint)
language plpgsql stable
set search_path = pg_catalog, pg_temp set timezone = 'UTC' set work_mem = '32MB' set enable_sort = on set enable_seqscan = off
set plan_cache_mode = force_custom_plan as $$
#variable_conflict use_column
declare
    first_span timestamptz := date_bin('6 hours', in_from + interval '6 hours' - interval '1 microsecond', 'epoch');
    next_span timestamptz := date_bin('6 hours', in_to, 'epoch');
    spans timestamptz[]; days date[]; heads bigint[]; rest_names text[]; rest_counts bigint[]; candidates text[];
    below bigint; share bigint := 0; sources_left int; head bigint;
begin
    perform set_config('tallystick.log', in_log::text, true);
    select coalesce(array_agg(span), '{}'), coalesce(array_agg(received_day), '{}') into spans, days
      from tallystick.log_rolled_spans where closed and span >= first_span and span < next_span;

    if cardinality(spans) > 0 then
        select array_agg(added.name), array_agg(added.n) into rest_names, rest_counts
          from (select entry.name, sum(entry.n)::bigint as n
                  from tallystick.log_facet_parts part cross join lateral unnest(part.names, part.counts) as entry (name, n)
                 where part.facet = in_facet and part.starts_at >= in_from and part.starts_at < in_to
                   and date_bin('6 hours', part.starts_at, 'epoch') <> all (spans)
                 group by entry.name having sum(entry.n) > 1) as added;

        with first as materialized (
            select source.span, source.received_day, coalesce(entry.name, entry.key) as name, entry.events
              from unnest(spans, days) as source (span, received_day)
             cross join lateral (select key, name, events from tallystick.log_facet_spans
                                  where facet = in_facet and span = source.span and received_day = source.received_day
                                  order by events desc limit in_most) as entry
             union all
            select null, null, rest.name, rest.n
              from (select name, n from unnest(rest_names, rest_counts) as entry (name, n) order by n desc limit in_most) as rest)
        select (select case when count(*) = in_most then greatest(min(total) - 2, 0) else 0 end
                  from (select sum(first.events) as total from first group by first.name order by total desc limit in_most) as best),
               (select array_agg(greatest_count order by greatest_count)
                  from (select max(first.events) as greatest_count from first group by first.span, first.received_day) as of_source)
          into below, heads;

        sources_left := coalesce(cardinality(heads), 0);
        foreach head in array coalesce(heads, '{}') loop
            share := below / sources_left;
            exit when head > share;
            below := below - head;
            sources_left := sources_left - 1;
            exit when sources_left = 0;
        end loop;
    end if;

    if share = 0 then
        return query
        select added.name, sum(added.events)::bigint
          from (select coalesce(name, key) as name, events from tallystick.log_facet_spans
                 where facet = in_facet and span = any (spans)
                 union all
                select entry.name, entry.n
                  from tallystick.log_facet_parts part cross join lateral unnest(part.names, part.counts) as entry (name, n)
                 where part.facet = in_facet and part.starts_at >= in_from and part.starts_at < in_to
                   and date_bin('6 hours', part.starts_at, 'epoch') <> all (spans)) as added
         group by added.name
         order by 2 desc, added.name collate "C" limit in_most;
        return;
    end if;

    select array_agg(candidate.name) into candidates
      from (select coalesce(entry.name, entry.key) as name
              from unnest(spans, days) as source (span, received_day)
             cross join lateral (select key, name from tallystick.log_facet_spans
                                  where facet = in_facet and span = source.span and received_day = source.received_day
                                    and events > share) as entry
             union
            select rest.name from unnest(rest_names, rest_counts) as rest (name, n) where rest.n > share) as candidate;

    return query
    select added.name, sum(added.events)::bigint
      from (select candidate.name, in_spans.events
              from unnest(candidates) as candidate (name)
             cross join lateral (select sum(events) as events from tallystick.log_facet_spans
                                  where facet = in_facet and key = tallystick.facet_key(candidate.name)
                                    and span >= first_span and span < next_span) as in_spans
             union all
            select entry.name, entry.n
              from tallystick.log_facet_parts part cross join lateral unnest(part.names, part.counts) as entry (name, n)
             where part.facet = in_facet and part.starts_at >= in_from and part.starts_at < in_to
               and date_bin('6 hours', part.starts_at, 'epoch') <> all (spans)
               and entry.name = any (candidates)) as added
     group by added.name
    having sum(added.events) > 0
     order by 2 desc, added.name collate "C" limit in_most;
end
$$;

revoke all on function tallystick.facet_key(text), tallystick.rank_facet(int, text, timestamptz, timestamptz, int) from public;
grant execute on function tallystick.facet_key(text) to tallystick_worker, tallystick_reader;
grant execute on function tallystick.rank_facet(int, text, timestamptz, timestamptz, int) to tallystick_reader;
