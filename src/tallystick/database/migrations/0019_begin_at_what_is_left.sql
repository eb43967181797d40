-- Before which seq nothing is left of a log, as those know who removed it in batches. Whoever looks for what is left begins there: an
-- index leads to what was removed until it is vacuumed, and each of its entries costs a look at the table. It may lag behind, and then
-- only time is lost; what guards a removal does not rest on it.
create table tallystick.removal_floors (
    log_id int primary key references tallystick.logs (id),
    seq bigint not null
);
grant select, insert, update on tallystick.removal_floors to tallystick_worker;

-- Which logs have events that arrived within a time, by one probe of an index for each log. Before, the planner was free to gather the
-- logs of all events there, and did: of a partition with eleven million it read each entry of an index, six seconds long, and longer
-- than a statement may take once a million of them were dead. What has a limit is not turned into a join.
create or replace function tallystick.logs_between(since timestamptz, until timestamptz) returns setof int
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp set enable_seqscan = off set plan_cache_mode = force_custom_plan as $$
begin
    return query
    select log.id
      from tallystick.logs log left join tallystick.removal_floors floor on floor.log_id = log.id
     cross join lateral (select from tallystick.events event
                          where event.log_id = log.id and event.seq >= coalesce(floor.seq, 0)
                            and received_at >= since and received_at < until
                          order by event.seq limit 1) as one;
end
$$;
