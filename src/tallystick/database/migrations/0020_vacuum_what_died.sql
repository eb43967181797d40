-- Events die only where some are removed, and then many at once: a partition is vacuumed when a twentieth of it is dead, not a fifth. Of
-- eleven million the million that one log lost stayed in the indexes for good, and who read that log from its beginning passed each.
create or replace function tallystick.make_event_partitions(span text, until timestamptz) returns setof text
language plpgsql security definer set search_path = pg_catalog, pg_temp set timezone = 'UTC' set lock_timeout = '200ms' as $$
declare
    step interval := case span when 'day' then interval '1 day' when 'month' then interval '1 month' end;
    lower_bound timestamptz;
    upper_bound timestamptz;
    partition text;
begin
    if step is null then
        raise exception 'a partition spans a day or a month, not %', span using errcode = '22023';
    end if;
    if until > now() + interval '2 years' then
        raise exception 'partitions are made at most two years ahead' using errcode = '22023';
    end if;
    perform pg_advisory_xact_lock(hashtext('tallystick.make_event_partitions'));
    select max((regexp_match(pg_get_expr(child.relpartbound, child.oid), 'TO \(''([^'']+)''\)'))[1]::timestamptz)
      into lower_bound
      from pg_inherits join pg_class child on child.oid = inhrelid
     where inhparent = 'tallystick.events'::regclass;
    -- An hour back: an append that waited for the first partition, or a clock set back a little, still finds one.
    lower_bound := coalesce(lower_bound, date_trunc(span, now() - interval '1 hour'));
    while lower_bound < until loop
        upper_bound := date_trunc(span, lower_bound) + step;
        partition := 'events_' || to_char(lower_bound, 'YYYYMMDD');
        execute format(
            'create table tallystick.%I (like tallystick.events including defaults including constraints including storage,
             constraint bounds check (received_at >= %L and received_at < %L)) with (autovacuum_vacuum_scale_factor = 0.05)',
            partition, lower_bound, upper_bound);
        execute format('alter table tallystick.events attach partition tallystick.%I for values from (%L) to (%L)',
                       partition, lower_bound, upper_bound);
        execute format('alter table tallystick.%I drop constraint bounds', partition);
        return next partition;
        lower_bound := upper_bound;
    end loop;
end
$$;

do $$
declare
    partition regclass;
begin
    for partition in
        select inhrelid from pg_inherits join pg_class on oid = inhrelid
         where inhparent = 'tallystick.events'::regclass and relkind = 'r'
    loop
        execute format('alter table %s set (autovacuum_vacuum_scale_factor = 0.05)', partition);
    end loop;
end
$$;
