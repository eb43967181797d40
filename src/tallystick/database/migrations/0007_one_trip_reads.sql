-- The reads that searches and followers make all the time, in one round trip each instead of three. They set the log for their own
-- statement and read through its views with the rights of the caller, so a reader sees nothing that it did not see before.
-- Their plans are made once for a connection, as those of listings, and exclude the same: see `database.pools.open_log`.

-- The events at places, each a seq and its arrival; those removed are left out. With its limit the inner query is run for
-- each place; else a plan could be made that joins whole partitions. The bounds add nothing but speed: partitions outside of
-- them are not opened (with a hundred, 1.3 ms become 0.35).
create function tallystick.read_places(in_log int, in_seqs bigint[], in_arrivals timestamptz[])
returns table (seq bigint, received_at timestamptz, occurred_at timestamptz, leaf_hash bytea, body bytea)
language plpgsql stable
set search_path = pg_catalog, pg_temp set enable_sort = off set enable_seqscan = off set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
declare
    earliest timestamptz := (select min(arrival) from unnest(in_arrivals) as arrival);
    latest timestamptz := (select max(arrival) from unnest(in_arrivals) as arrival);
begin
    perform set_config('tallystick.log', in_log::text, true);
    return query
    select event.seq, event.received_at, event.occurred_at, event.leaf_hash, textsend(event.body)
      from unnest(in_seqs, in_arrivals) as place (seq, received_at)
     cross join lateral (select * from tallystick.log_events
                          where seq = place.seq and received_at = place.received_at
                            and received_at between earliest and latest limit 1) as event;
end
$$;

-- What follows a seq, in order. First comes a row with nothing but the size of the log, in the same snapshot; then at most
-- `in_most` events, fewer where their bodies take `in_budget` bytes: the event that crosses these is still among them. `in_since`
-- is the arrival of the event at `in_after`, if known: none came later in the log and earlier in time. Bodies may be 400 times
-- as long as they usually are, so the length of a stored value is looked at before the value is read. A whole stretch fits
-- into `work_mem`: no reading needs room on the disk.
create function tallystick.read_stretch(in_log int, in_after bigint, in_since timestamptz, in_most int, in_budget bigint)
returns table (seq bigint, received_at timestamptz, occurred_at timestamptz, leaf_hash bytea, body bytea, size bigint)
language plpgsql stable
set search_path = pg_catalog, pg_temp set enable_sort = off set enable_incremental_sort = off set enable_seqscan = off
set work_mem = '32MB' set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
declare
    earliest timestamptz := coalesce(in_since, '-infinity');
begin
    perform set_config('tallystick.log', in_log::text, true);
    return query
    select null::bigint, null::timestamptz, null::timestamptz, null::bytea, null::bytea, size from tallystick.log_head;
    return query
    select seq, received_at, occurred_at, leaf_hash, textsend(body), null::bigint
      from (select *, sum(octet_length(body)) over (rows unbounded preceding) as bytes
              from (select seq, received_at, occurred_at, leaf_hash, body from tallystick.log_events
                     where seq > in_after and received_at >= earliest
                     order by seq limit in_most) as page) as measured
     where bytes - octet_length(body) < in_budget;
end
$$;

revoke all on function
    tallystick.read_places(int, bigint[], timestamptz[]),
    tallystick.read_stretch(int, bigint, timestamptz, int, bigint) from public;
grant execute on function
    tallystick.read_places(int, bigint[], timestamptz[]),
    tallystick.read_stretch(int, bigint, timestamptz, int, bigint) to tallystick_reader;
