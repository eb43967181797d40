-- What is new in several logs, in one round trip: streams follow many at once, and each alone would cost as much as all together.
-- Every log is read by `read_stretch`, one after the other, so each statement sees one log as it does elsewhere. A row says which.
create function tallystick.read_stretches(in_logs int[], in_afters bigint[], in_sinces timestamptz[], in_most int, in_budget bigint)
returns table (log int, seq bigint, received_at timestamptz, occurred_at timestamptz, leaf_hash bytea, body bytea, size bigint)
language plpgsql stable
set search_path = pg_catalog, pg_temp as $$
begin
    for place in 1 .. cardinality(in_logs) loop
        return query
        select in_logs[place], stretch.*
          from tallystick.read_stretch(in_logs[place], in_afters[place], in_sinces[place], in_most, in_budget) as stretch;
    end loop;
end
$$;

revoke all on function tallystick.read_stretches(int[], bigint[], timestamptz[], int, bigint) from public;
grant execute on function tallystick.read_stretches(int[], bigint[], timestamptz[], int, bigint) to tallystick_reader;
