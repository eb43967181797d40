-- One open job of a kind for a log, and the age of what a follower has not handled.

create unique index jobs_open_of_log on tallystick.jobs (log_id, kind) where state in ('queued', 'running');

-- When the first event after a seq arrived; null where there is none. It tells a moment and nothing else of the log, to roles
-- that read no events. `since` is the arrival of the event at `after`, if known: then the partitions before it are left out.
create function tallystick.arrival_after(in_log int, after bigint, since timestamptz) returns timestamptz
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp set enable_sort = off set plan_cache_mode = force_generic_plan as $$
begin
    return (select received_at from tallystick.events
             where log_id = in_log and seq > after and received_at >= coalesce(since, '-infinity')
             order by seq limit 1);
end
$$;

revoke all on function tallystick.arrival_after(int, bigint, timestamptz) from public;
grant execute on function tallystick.arrival_after(int, bigint, timestamptz) to tallystick_worker, tallystick_control;
