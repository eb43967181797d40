-- Retry keys, removed ranges, and who may touch what.
create table tallystick.retry_keys (
    day date not null,
    scope text not null check (scope in ('event', 'request')),
    log_id int not null,
    key text not null,
    digest bytea not null,
    key_id text not null,
    answer text not null,
    primary key (day, scope, log_id, key)
) partition by range (day);

create table tallystick.removed (
    log_id int not null references tallystick.logs (id),
    first_seq bigint not null,
    last_seq bigint not null check (last_seq >= first_seq),
    seqs int8multirange not null,
    job_id text,
    reason text not null,
    leaves text,
    primary key (log_id, first_seq)
);

create function tallystick.make_retry_key_partitions(until date) returns setof text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    partition_day date := (now() at time zone 'UTC')::date - 1;
    partition text;
begin
    if until > partition_day + 60 then
        raise exception 'partitions are made at most 60 days ahead' using errcode = '22023';
    end if;
    perform pg_advisory_xact_lock(hashtext('tallystick.make_retry_key_partitions'));
    while partition_day <= until loop
        partition := 'retry_keys_' || to_char(partition_day, 'YYYYMMDD');
        if to_regclass('tallystick.' || partition) is null then
            execute format('create table tallystick.%I (like tallystick.retry_keys including constraints)', partition);
            execute format('alter table tallystick.retry_keys attach partition tallystick.%I for values from (%L) to (%L)',
                           partition, partition_day, partition_day + 1);
            return next partition;
        end if;
        partition_day := partition_day + 1;
    end loop;
end
$$;

-- A key is looked for in its own day and the one before, so a day's keys are needed until the end of the next.
create function tallystick.drop_old_retry_keys() returns setof text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    partition text;
begin
    for partition in
        select child.relname from pg_inherits join pg_class child on child.oid = inhrelid
         where inhparent = 'tallystick.retry_keys'::regclass
           and to_date(right(child.relname, 8), 'YYYYMMDD') < (now() at time zone 'UTC')::date - 1
    loop
        execute format('drop table tallystick.%I', partition);
        return next partition;
    end loop;
end
$$;

-- Whether the event with this leaf hash was committed at this place. Asked after a connection was lost at COMMIT: the row lock
-- waits for the lost transaction to end, and each statement here sees what was committed before it. The writer cannot read
-- events; to ask it must already know 256 bits of the answer.
create function tallystick.was_appended(in_log int, at_seq bigint, at_received timestamptz, with_leaf bytea) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform 1 from tallystick.logs where id = in_log for no key update;
    return exists (select from tallystick.events
                    where log_id = in_log and seq = at_seq and received_at = at_received and leaf_hash = with_leaf);
end
$$;

-- Plain views, not `security_barrier` ones: those are planned apart from the query's order and limit, so every page would sort
-- the whole log.
create view tallystick.log_events as
    select seq, received_at, occurred_at, leaf_hash, body from tallystick.events
     where log_id = nullif(current_setting('tallystick.log', true), '')::int;
create view tallystick.log_head as
    select size, last_at from tallystick.logs
     where id = nullif(current_setting('tallystick.log', true), '')::int;
create view tallystick.log_removed as
    select first_seq, last_seq, seqs, reason from tallystick.removed
     where log_id = nullif(current_setting('tallystick.log', true), '')::int;

revoke all on all functions in schema tallystick from public;

grant select on tallystick.logs to tallystick_writer;
grant update (size, last_at) on tallystick.logs to tallystick_writer;
grant insert on tallystick.events to tallystick_writer;
grant select, insert on tallystick.retry_keys to tallystick_writer;
grant execute on function tallystick.was_appended to tallystick_writer;

grant select on tallystick.log_events, tallystick.log_head, tallystick.log_removed to tallystick_reader;

grant select, insert on tallystick.tenants, tallystick.logs, tallystick.revocations to tallystick_control;
grant update (name, settings, suspended_at) on tallystick.tenants to tallystick_control;
grant update (revoked_at, expires_at) on tallystick.revocations to tallystick_control;
grant select on tallystick.facts, tallystick.migrations to tallystick_control;
grant usage on sequence tallystick.control_versions to tallystick_control;
grant execute on function tallystick.take_version, tallystick.event_partitions_until to tallystick_control;

grant select on tallystick.logs, tallystick.facts to tallystick_worker;
grant select, delete on tallystick.revocations to tallystick_worker;
grant execute on function
    tallystick.make_event_partitions, tallystick.event_partitions_until, tallystick.make_retry_key_partitions,
    tallystick.drop_old_retry_keys to tallystick_worker;
