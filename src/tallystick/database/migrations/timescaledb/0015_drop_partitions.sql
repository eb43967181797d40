-- The chunks of the log, and how one of them goes. See its namesake.

create function tallystick.event_partitions() returns table (name text, begins timestamptz, ends timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select chunk_name::text, range_start, range_end from timescaledb_information.chunks
     where hypertable_schema = 'tallystick' and hypertable_name = 'events'
     order by 2
$$;

create function tallystick.drop_event_partition(
    in_name text, followers text[], in_job uuid, in_reason text, platform_days int) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '30ms' as $$
declare
    part record;
    events bigint;
begin
    select * into part from tallystick.event_partitions() where name = in_name;
    if part is null then
        raise exception 'there is no such partition' using errcode = '42P01';
    end if;
    events := tallystick.record_leaving(part.begins, part.ends, followers, in_job, in_reason, platform_days);
    perform public.drop_chunks('tallystick.events', older_than => part.ends, newer_than => part.begins);
    return events;
end
$$;

revoke all on function
    tallystick.event_partitions(), tallystick.drop_event_partition(text, text[], uuid, text, int) from public;
grant execute on function
    tallystick.event_partitions(), tallystick.drop_event_partition(text, text[], uuid, text, int) to tallystick_worker;
