-- The partitions of the log, and how one of them goes.

create function tallystick.event_partitions() returns table (name text, begins timestamptz, ends timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp set timezone = 'UTC' as $$
    select child.relname::text, bounds[1]::timestamptz, bounds[2]::timestamptz
      from pg_inherits join pg_class child on child.oid = inhrelid
     cross join lateral regexp_match(pg_get_expr(child.relpartbound, child.oid), 'FROM \(''([^'']+)''\) TO \(''([^'']+)''\)') as bounds
     where inhparent = 'tallystick.events'::regclass
     order by 2
$$;

-- Drops a partition all of whose events may go, and says in the same transaction what went. All is looked at before the lock that
-- appends wait for; whoever holds the table for longer is not waited for, since appends would queue behind: it is asked again.
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
    execute format('drop table tallystick.%I', in_name);
    return events;
end
$$;

revoke all on function
    tallystick.event_partitions(), tallystick.drop_event_partition(text, text[], uuid, text, int) from public;
grant execute on function
    tallystick.event_partitions(), tallystick.drop_event_partition(text, text[], uuid, text, int) to tallystick_worker;
