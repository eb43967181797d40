-- The log as a TimescaleDB hypertable on arrival. The only file that knows TimescaleDB: it takes the place of its namesake
-- one folder up and gives the same names to what stands behind it.
create extension if not exists timescaledb with schema public;

create table tallystick.events (
    log_id int not null,
    seq bigint not null,
    received_at timestamptz not null,
    occurred_at timestamptz not null,
    leaf_hash bytea not null check (octet_length(leaf_hash) = 32),
    body text not null,
    primary key (log_id, seq, received_at),
    check (occurred_at <= received_at + interval '1 hour')
);
select public.create_hypertable(
    'tallystick.events', public.by_range('received_at', interval '30 days'), create_default_indexes => false);
create index events_by_occurrence on tallystick.events (log_id, occurred_at, seq);

-- Chunks are made as rows arrive, so there is nothing to make ahead: this sets the span of those to come.
create function tallystick.make_event_partitions(span text, until timestamptz) returns setof text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    step interval := case span when 'day' then interval '1 day' when 'month' then interval '30 days' end;
begin
    if step is null then
        raise exception 'a partition spans a day or a month, not %', span using errcode = '22023';
    end if;
    if step is distinct from (select time_interval from timescaledb_information.dimensions
                               where hypertable_schema = 'tallystick' and hypertable_name = 'events') then
        perform public.set_chunk_time_interval('tallystick.events', step);
    end if;
end
$$;

create function tallystick.event_partitions_until() returns timestamptz
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select 'infinity'::timestamptz
$$;
