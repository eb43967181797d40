-- The log, partitioned by arrival: only the newest partition takes rows, older ones are closed to them for ever.
create table tallystick.events (
    log_id int not null,
    seq bigint not null,
    received_at timestamptz not null,
    occurred_at timestamptz not null,
    leaf_hash bytea not null check (octet_length(leaf_hash) = 32),
    body text not null,
    primary key (log_id, seq, received_at),
    check (occurred_at <= received_at + interval '1 hour')
) partition by range (received_at);
create index events_by_occurrence on tallystick.events (log_id, occurred_at, seq);

-- Made aside and then attached, since `create table … partition of` would lock the whole log against appends.
create function tallystick.make_event_partitions(span text, until timestamptz) returns setof text
language plpgsql security definer set search_path = pg_catalog, pg_temp set timezone = 'UTC' as $$
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
             constraint bounds check (received_at >= %L and received_at < %L))', partition, lower_bound, upper_bound);
        execute format('alter table tallystick.events attach partition tallystick.%I for values from (%L) to (%L)',
                       partition, lower_bound, upper_bound);
        execute format('alter table tallystick.%I drop constraint bounds', partition);
        return next partition;
        lower_bound := upper_bound;
    end loop;
end
$$;

-- Until when appends find a partition.
create function tallystick.event_partitions_until() returns timestamptz
language sql stable security definer set search_path = pg_catalog, pg_temp set timezone = 'UTC' as $$
    select max((regexp_match(pg_get_expr(child.relpartbound, child.oid), 'TO \(''([^'']+)''\)'))[1]::timestamptz)
      from pg_inherits join pg_class child on child.oid = inhrelid
     where inhparent = 'tallystick.events'::regclass
$$;
