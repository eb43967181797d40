-- The only ways in which events leave. Each asks first whether they may: a worker has no other right to take one away.

-- What was removed has a number, so that whoever keeps something made of the log can follow removals as it follows appends. Within a
-- log numbers commit in their order: each is taken under a lock of the log. A row that grows takes a new one.
create sequence tallystick.removals;
alter table tallystick.removed
    add column number bigint not null default nextval('tallystick.removals'),
    add column removed_at timestamptz not null default date_trunc('milliseconds', clock_timestamp());
create unique index removed_by_number on tallystick.removed (log_id, number);
create index removed_by_leaves on tallystick.removed (leaves);

-- Up to which removal of a log somebody has forgotten what was removed.
create table tallystick.removal_cursors (
    follower text not null,
    log_id int not null references tallystick.logs (id),
    number bigint not null,
    primary key (follower, log_id)
);

-- What a partition that is to be dropped holds of each log, once the leaf hashes of that are stored.
create table tallystick.leaving (
    begins timestamptz not null,
    log_id int not null references tallystick.logs (id),
    first_seq bigint not null,
    last_seq bigint not null,
    seqs int8multirange not null,
    job_id uuid not null references tallystick.jobs (id),
    leaves text not null,
    primary key (begins, log_id)
);

-- The days on which retention was applied: one job for each.
create table tallystick.retention_runs (
    day date primary key,
    job_id uuid not null references tallystick.jobs (id)
);

-- For how many days each log's events are kept; null is for ever.
create view tallystick.retention_policies as
    select logs.id as log_id, logs.tenant_id, logs.name,
           (tenants.settings -> 'retention' ->> (logs.name || '_days'))::int as days
      from tallystick.logs join tallystick.tenants on tenants.id = logs.tenant_id;

-- Refuses while a follower has not passed a seq. Its cursor stays where it is until the transaction ends: sent back later, it reads
-- what is left then.
create function tallystick.check_followed(in_log int, through bigint, followers text[]) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    passed int;
begin
    perform 1 from tallystick.cursors where log_id = in_log and follower = any (followers) for share;
    select count(*) into passed
      from tallystick.cursors where log_id = in_log and follower = any (followers) and seq >= through;
    if passed < greatest(cardinality(followers), 1) then
        raise exception 'a follower has not passed what is to be removed' using errcode = '55000';
    end if;
end
$$;

-- Refuses unless a job runs, and keeps its end from being recorded until the transaction ends: what an ended job stored of leaf hashes
-- and no row names is nobody's.
create function tallystick.check_running(in_job uuid) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    perform 1 from tallystick.jobs where id = in_job and state = 'running' for share;
    if not found then
        raise exception 'no job runs on whose behalf to remove' using errcode = '55000';
    end if;
end
$$;

-- Takes events out of a log, and says so in the same transaction: a row for each object of leaf hashes. Returns how many there were.
create function tallystick.remove_events(
    in_log int, in_seqs bigint[], since timestamptz, until timestamptz, followers text[], in_job uuid, in_reason text, in_leaves text)
returns bigint
language plpgsql security definer
set search_path = pg_catalog, pg_temp set lock_timeout = '1s' set enable_seqscan = off set enable_hashjoin = off
set plan_cache_mode = force_custom_plan as $$
declare
    taken int8multirange;
    number_taken bigint;
begin
    if cardinality(in_seqs) not between 1 and 10000 then
        raise exception 'between 1 and 10,000 events are removed at once' using errcode = '22023';
    end if;
    if coalesce(in_leaves, '') = '' or coalesce(in_reason, '') = '' then
        raise exception 'a removal names its reason and the object with the leaf hashes' using errcode = '22023';
    end if;
    perform pg_advisory_xact_lock_shared(hashtext('tallystick.removal'));
    perform pg_advisory_xact_lock(hashtext('tallystick.removal'), in_log);
    perform tallystick.check_running(in_job);
    perform tallystick.check_followed(in_log, (select max(seq) from unnest(in_seqs) as seq), followers);
    with gone as (
        delete from tallystick.events
         where log_id = in_log and seq = any (in_seqs) and received_at between since and until returning seq)
    select range_agg(int8range(seq, seq, '[]')), count(*) into taken, number_taken from gone;
    if number_taken = 0 then
        return 0;
    end if;
    update tallystick.removed
       set first_seq = least(first_seq, lower(taken)), last_seq = greatest(last_seq, upper(taken) - 1), seqs = seqs + taken,
           number = nextval('tallystick.removals'), removed_at = date_trunc('milliseconds', clock_timestamp())
     where log_id = in_log and leaves = in_leaves;
    if not found then
        insert into tallystick.removed (log_id, first_seq, last_seq, seqs, job_id, reason, leaves)
        values (in_log, lower(taken), upper(taken) - 1, taken, in_job, in_reason, in_leaves);
    end if;
    return number_taken;
end
$$;

-- Which logs have events that arrived within a time.
create function tallystick.logs_between(since timestamptz, until timestamptz) returns setof int
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp set enable_seqscan = off set plan_cache_mode = force_custom_plan as $$
begin
    return query
    select id from tallystick.logs
     where exists (select from tallystick.events where log_id = id and received_at >= since and received_at < until);
end
$$;

-- Writes down as removed what a partition holds, having asked whether all of it may go: each log's retention is over, its leaf hashes
-- are stored, and its followers have passed. `platform_days` is the retention of the platform's own log.
create function tallystick.record_leaving(
    since timestamptz, until timestamptz, followers text[], in_job uuid, in_reason text, platform_days int) returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp set timezone = 'UTC' set enable_seqscan = off set plan_cache_mode = force_custom_plan as $$
declare
    log record;
    events bigint;
begin
    if until > date_trunc('day', now()) then
        raise exception 'a partition that ends later than today is not dropped' using errcode = '55000';
    end if;
    if not pg_try_advisory_xact_lock(hashtext('tallystick.removal')) then
        raise exception 'events are being removed right now' using errcode = '55P03';
    end if;
    perform tallystick.check_running(in_job);
    for log in
        select policy.log_id, case when policy.tenant_id = '_platform' then platform_days else policy.days end as days,
               leaving.seqs, leaving.first_seq, leaving.last_seq,
               (select min(seq) from tallystick.events e
                 where e.log_id = policy.log_id and received_at >= since and received_at < until) as first_there,
               (select max(seq) from tallystick.events e
                 where e.log_id = policy.log_id and received_at >= since and received_at < until) as last_there
          from tallystick.retention_policies policy
          left join tallystick.leaving on leaving.begins = since and leaving.log_id = policy.log_id
         where policy.log_id in (select tallystick.logs_between(since, until))
    loop
        if log.days is null or until > date_trunc('day', now()) - make_interval(days => log.days) then
            raise exception 'the retention of log % is not over', log.log_id using errcode = '55000';
        end if;
        if log.seqs is null or not log.seqs @> log.first_there or not log.seqs @> log.last_there then
            raise exception 'the leaf hashes of log % are not stored', log.log_id using errcode = '55000';
        end if;
        perform tallystick.check_followed(log.log_id, log.last_there, followers);
    end loop;
    with rest as (
        select leaving.log_id, leaving.leaves,
               leaving.seqs - coalesce((select range_agg(part)
                                          from tallystick.removed known cross join lateral unnest(known.seqs) as part
                                         where known.log_id = leaving.log_id and known.last_seq >= leaving.first_seq
                                           and known.first_seq <= leaving.last_seq), '{}') as seqs
          from tallystick.leaving where begins = since
    ), noted as (
        insert into tallystick.removed (log_id, first_seq, last_seq, seqs, job_id, reason, leaves)
        select rest.log_id, lower(rest.seqs), upper(rest.seqs) - 1, rest.seqs, in_job, in_reason, rest.leaves
          from rest where rest.seqs <> '{}' returning seqs)
    select coalesce(sum(upper(part) - lower(part)), 0) into events from noted cross join lateral unnest(noted.seqs) as part;
    delete from tallystick.leaving where begins = since;
    return events;
end
$$;

revoke all on function
    tallystick.check_followed(int, bigint, text[]), tallystick.check_running(uuid),
    tallystick.remove_events(int, bigint[], timestamptz, timestamptz, text[], uuid, text, text),
    tallystick.logs_between(timestamptz, timestamptz),
    tallystick.record_leaving(timestamptz, timestamptz, text[], uuid, text, int) from public;
grant execute on function
    tallystick.remove_events(int, bigint[], timestamptz, timestamptz, text[], uuid, text, text),
    tallystick.logs_between(timestamptz, timestamptz) to tallystick_worker;
grant select on tallystick.removed, tallystick.retention_policies to tallystick_worker, tallystick_control;
grant select, insert, update on tallystick.removal_cursors to tallystick_worker;
grant select on tallystick.removal_cursors, tallystick.retention_runs to tallystick_control;
grant select, insert, delete on tallystick.leaving to tallystick_worker;
grant select, insert on tallystick.retention_runs to tallystick_worker;
