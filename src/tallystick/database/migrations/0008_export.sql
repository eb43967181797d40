-- A page of an export: what follows a place in order of occurrence, already as the lines of the answer, so that a process hands on
-- bytes and makes no object of an event. `in_through` bounds it by seq: what arrives meanwhile stays outside. Its plan, its rights
-- and its budget of bytes are as those of `read_stretch`. Of an empty page there is a row, too, with no lines.
create function tallystick.read_lines(
    in_log int, in_occurred timestamptz, in_seq bigint, in_until timestamptz, in_through bigint, in_most int, in_budget bigint)
returns table (events bigint, bytes bigint, last_occurred timestamptz, last_seq bigint, lines bytea)
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
    select count(*), max(measured.bytes)::bigint, max(occurred_at), (array_agg(seq))[count(*)],
           string_agg(convert_to('{"seq":' || seq || ',"leaf_hash":"' || encode(leaf_hash, 'hex') || '",', 'UTF8')
                      || substring(textsend(body) from 2), '\x0a'::bytea)
      from (select *, sum(octet_length(body)) over (rows unbounded preceding) as bytes
              from (select seq, occurred_at, leaf_hash, body from tallystick.log_events
                     where (occurred_at, seq) > (earliest, in_seq)
                       and received_at >= earliest - interval '1 hour'
                       and occurred_at < latest and seq <= in_through
                     order by occurred_at, seq limit in_most) as page) as measured
     where measured.bytes - octet_length(body) < in_budget;
end
$$;

revoke all on function
    tallystick.read_lines(int, timestamptz, bigint, timestamptz, bigint, int, bigint) from public;
grant execute on function
    tallystick.read_lines(int, timestamptz, bigint, timestamptz, bigint, int, bigint) to tallystick_reader;
