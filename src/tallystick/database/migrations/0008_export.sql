-- An export in order of occurrence, in two steps: how far a page reaches, and its events, already as the lines of the answer, so that
-- a process hands on bytes and makes no object of an event. The first is quick, and several pages can then be made at once.
-- `in_through` bounds an export by seq: what arrives meanwhile stays outside. Plans, rights and the budget of bytes are as those of
-- `read_stretch`; a running sum over whole bodies would take half of the time, and is made of their sizes alone.

-- Of an empty page there is a row, too, that counts 0.
create function tallystick.measure_lines(
    in_log int, in_occurred timestamptz, in_seq bigint, in_until timestamptz, in_through bigint, in_most int, in_budget bigint)
returns table (events bigint, bytes bigint, last_occurred timestamptz, last_seq bigint)
language plpgsql stable
set search_path = pg_catalog, pg_temp set enable_sort = off set enable_incremental_sort = off set enable_seqscan = off
set work_mem = '32MB' set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
declare
    earliest timestamptz := coalesce(in_occurred, '-infinity');
    latest timestamptz := coalesce(in_until, 'infinity');
begin
    perform set_config('tallystick.log', in_log::text, true);
    return query
    select count(*), max(total), max(occurred_at), (array_agg(seq))[count(*)]
      from (select *, sum(size) over (rows unbounded preceding) as total
              from (select seq, occurred_at, octet_length(body) as size from tallystick.log_events
                     where (occurred_at, seq) > (earliest, in_seq)
                       and received_at >= earliest - interval '1 hour'
                       and occurred_at < latest and seq <= in_through
                     order by occurred_at, seq limit in_most) as page) as measured
     where total - size < in_budget;
end
$$;

-- What lies after one place and up to another. What stands before each body is the delimiter of `string_agg`, which saves joining
-- them first; the first has none and is told apart. Null where all was removed.
create function tallystick.read_lines(
    in_log int, in_occurred timestamptz, in_seq bigint, in_last_occurred timestamptz, in_last_seq bigint, in_through bigint)
returns table (lines bytea)
language plpgsql stable
set search_path = pg_catalog, pg_temp set enable_sort = off set enable_incremental_sort = off set enable_seqscan = off
set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
declare
    earliest timestamptz := coalesce(in_occurred, '-infinity');
begin
    perform set_config('tallystick.log', in_log::text, true);
    return query
    select textsend('{"seq":' || (array_agg(seq))[1] || ',"leaf_hash":"' || encode((array_agg(leaf_hash))[1], 'hex') || '",')
           || string_agg(substring(textsend(body) from 2),
                         textsend(e'\n{"seq":' || seq || ',"leaf_hash":"' || encode(leaf_hash, 'hex') || '",'))
      from (select seq, leaf_hash, body from tallystick.log_events
             where (occurred_at, seq) > (earliest, in_seq)
               and received_at >= earliest - interval '1 hour'
               and (occurred_at, seq) <= (in_last_occurred, in_last_seq) and seq <= in_through
             order by occurred_at, seq) as page;
end
$$;

revoke all on function
    tallystick.measure_lines(int, timestamptz, bigint, timestamptz, bigint, int, bigint),
    tallystick.read_lines(int, timestamptz, bigint, timestamptz, bigint, bigint) from public;
grant execute on function
    tallystick.measure_lines(int, timestamptz, bigint, timestamptz, bigint, int, bigint),
    tallystick.read_lines(int, timestamptz, bigint, timestamptz, bigint, bigint) to tallystick_reader;
