-- A partition that an operator attached as the default one has no bounds, so nothing can be said of what is in it: it is none of those
-- that are dropped. Before, the comparisons with its bounds were null and let it pass.
create or replace function tallystick.event_partitions() returns table (name text, begins timestamptz, ends timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp set timezone = 'UTC' as $$
    select child.relname::text, bounds[1]::timestamptz, bounds[2]::timestamptz
      from pg_inherits join pg_class child on child.oid = inhrelid
     cross join lateral regexp_match(pg_get_expr(child.relpartbound, child.oid), 'FROM \(''([^'']+)''\) TO \(''([^'']+)''\)') as bounds
     where inhparent = 'tallystick.events'::regclass and bounds is not null
     order by 2
$$;
