-- See its namesake: here a chunk without bounds is one that is not of time.
create or replace function tallystick.event_partitions() returns table (name text, begins timestamptz, ends timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select chunk_name::text, range_start, range_end from timescaledb_information.chunks
     where hypertable_schema = 'tallystick' and hypertable_name = 'events' and range_start is not null and range_end is not null
     order by 2
$$;
