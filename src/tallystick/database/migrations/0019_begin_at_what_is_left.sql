-- The seq before which all of a log is removed; 0 where nothing is. To begin there passes what was removed and not yet vacuumed: an
-- index leads to it still, and each entry costs a look at the table.
create function tallystick.first_left(in_log int) returns bigint
language sql stable set search_path = pg_catalog, pg_temp as $$
    select coalesce(max(upper(part)), 0)
      from unnest((select range_agg(seqs) from tallystick.removed where log_id = in_log)) as part
     where lower(part) = 0
$$;

-- Which logs have events that arrived within a time, by one probe of an index for each log. Before, the planner was free to gather the
-- logs of all events there, and did: of a partition with eleven million it read each entry of an index, six seconds long, and longer
-- than a statement may take once a million of them were dead. What has a limit is not turned into a join.
create or replace function tallystick.logs_between(since timestamptz, until timestamptz) returns setof int
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp set enable_seqscan = off set plan_cache_mode = force_custom_plan as $$
begin
    return query
    select log.id
      from tallystick.logs log
     cross join lateral (select from tallystick.events
                          where log_id = log.id and seq >= tallystick.first_left(log.id)
                            and received_at >= since and received_at < until
                          order by seq limit 1) as one;
end
$$;

revoke all on function tallystick.first_left(int) from public;
grant execute on function tallystick.first_left(int) to tallystick_worker;
