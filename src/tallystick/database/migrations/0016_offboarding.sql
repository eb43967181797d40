-- Tenants that are being removed, and those that were: a row stays for ever, so that nobody else ever gets the id.

create table tallystick.offboardings (
    tenant_id text primary key references tallystick.tenants (id) check (tenant_id <> '_platform'),
    job_id uuid not null references tallystick.jobs (id),
    reason text not null,
    issuer text not null,
    subject text not null,
    asked_at timestamptz not null,
    removal_at timestamptz not null check (removal_at >= asked_at),
    begun_at timestamptz,
    exports_until timestamptz,
    keys_erased_at timestamptz,
    removed_at timestamptz
);

-- An export of a whole log that is made before the log goes is not removed before this moment.
alter table tallystick.exports add column kept_until timestamptz;

-- Every process follows tenants by their versions, so what happens here is a change of the tenant.
create function tallystick.tell_of_offboarding() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    update tallystick.tenants set version = version where id = coalesce(new.tenant_id, old.tenant_id);
    return null;
end
$$;
create trigger tell_of_offboarding after insert or update or delete on tallystick.offboardings
    for each row execute function tallystick.tell_of_offboarding();

-- Whoever does not know of this, as the release before does not, cannot let such a tenant in again.
create function tallystick.keep_suspended() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if exists (select from tallystick.offboardings where tenant_id = new.id) then
        raise exception 'the tenant % is being removed', new.id using errcode = '55000';
    end if;
    return new;
end
$$;
create trigger keep_suspended before update on tallystick.tenants
    for each row when (new.suspended_at is null) execute function tallystick.keep_suspended();

-- Keys that were erased are not made anew: the row is passed over, as where another was first.
create function tallystick.make_no_keys() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if exists (select from tallystick.offboardings where tenant_id = new.tenant_id and keys_erased_at is not null) then
        return null;
    end if;
    return new;
end
$$;
create trigger make_no_keys before insert on tallystick.data_keys
    for each row execute function tallystick.make_no_keys();

-- Lets a tenant in again whose removal has not begun. Returns the job that was to remove it; null where there is none.
create function tallystick.restore_tenant(in_tenant text) returns uuid
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '5s' as $$
declare
    known tallystick.offboardings;
begin
    select * into known from tallystick.offboardings where tenant_id = in_tenant for update;
    if not found then
        return null;
    end if;
    if known.begun_at is not null then
        raise exception 'the removal of the tenant % has begun', in_tenant using errcode = '55000';
    end if;
    delete from tallystick.offboardings where tenant_id = in_tenant;
    -- One that was suspended before stays so.
    update tallystick.tenants set suspended_at = null where id = in_tenant and suspended_at >= known.asked_at;
    update tallystick.exports set deleted_at = coalesce(deleted_at, clock_timestamp())
     where tenant_id = in_tenant and kept_until is not null and removed_at is null;
    -- A job that only waits is nobody's, so that it ends at once.
    update tallystick.jobs
       set cancel_requested = true, leased_until = case when leased_by is not null then leased_until end
     where state in ('queued', 'running')
       and (id = known.job_id
            or id in (select job_id from tallystick.exports where tenant_id = in_tenant and kept_until is not null));
    return known.job_id;
end
$$;

-- From here on a removal cannot be undone. False where the tenant was restored.
create function tallystick.begin_tenant_removal(in_job uuid) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '5s' as $$
declare
    known tallystick.offboardings;
begin
    select * into known from tallystick.offboardings where job_id = in_job for update;
    if not found then
        return false;
    end if;
    perform tallystick.check_running(in_job);
    if known.removal_at > clock_timestamp() then
        raise exception 'the tenant % can still be restored', known.tenant_id using errcode = '55000';
    end if;
    update tallystick.offboardings set begun_at = date_trunc('milliseconds', clock_timestamp())
     where tenant_id = known.tenant_id and begun_at is null;
    return true;
end
$$;

-- Whether a log holds anything.
create function tallystick.holds_events(in_log int) returns boolean
language sql stable set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
    select exists (select from tallystick.events where log_id = in_log)
$$;

-- Erases the keys of a tenant whose events are gone and whose exports are: what they sealed is unreadable from here on. Its retry
-- keys, which no longer keep anything from being stored twice, go as well.
create function tallystick.erase_tenant_keys(in_job uuid) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '5s' as $$
declare
    known tallystick.offboardings;
begin
    select * into strict known from tallystick.offboardings where job_id = in_job for update;
    perform tallystick.check_running(in_job);
    if known.begun_at is null or known.exports_until is null or known.exports_until > clock_timestamp() then
        raise exception 'the keys of the tenant % are still needed', known.tenant_id using errcode = '55000';
    end if;
    if exists (select from tallystick.exports where tenant_id = known.tenant_id and removed_at is null) then
        raise exception 'there are exports of the tenant % that its keys open', known.tenant_id using errcode = '55000';
    end if;
    if exists (select from tallystick.logs
                where tenant_id = known.tenant_id and name = 'events' and tallystick.holds_events(id)) then
        raise exception 'there are events of the tenant %', known.tenant_id using errcode = '55000';
    end if;
    delete from tallystick.data_keys where tenant_id = known.tenant_id;
    delete from tallystick.retry_keys
     where log_id in (select id from tallystick.logs where tenant_id = known.tenant_id);
    update tallystick.offboardings set keys_erased_at = date_trunc('milliseconds', clock_timestamp())
     where tenant_id = known.tenant_id and keys_erased_at is null;
end
$$;

-- Leaves of a tenant that nothing is left of its id, and why and when it went.
create function tallystick.finish_tenant_removal(in_job uuid) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '5s' as $$
declare
    known tallystick.offboardings;
begin
    select * into strict known from tallystick.offboardings where job_id = in_job for update;
    perform tallystick.check_running(in_job);
    if known.keys_erased_at is null then
        raise exception 'the keys of the tenant % are not erased', known.tenant_id using errcode = '55000';
    end if;
    if exists (select from tallystick.logs where tenant_id = known.tenant_id and tallystick.holds_events(id)) then
        raise exception 'there are events of the tenant %', known.tenant_id using errcode = '55000';
    end if;
    update tallystick.tenants set name = id, settings = '{}' where id = known.tenant_id;
    update tallystick.offboardings set removed_at = date_trunc('milliseconds', clock_timestamp())
     where tenant_id = known.tenant_id and removed_at is null;
end
$$;

revoke all on function
    tallystick.tell_of_offboarding(), tallystick.keep_suspended(), tallystick.make_no_keys(), tallystick.restore_tenant(text),
    tallystick.begin_tenant_removal(uuid), tallystick.holds_events(int), tallystick.erase_tenant_keys(uuid),
    tallystick.finish_tenant_removal(uuid) from public;
grant execute on function tallystick.restore_tenant(text) to tallystick_control;
grant execute on function
    tallystick.begin_tenant_removal(uuid), tallystick.erase_tenant_keys(uuid), tallystick.finish_tenant_removal(uuid)
    to tallystick_worker;
grant select on tallystick.offboardings to tallystick_control, tallystick_worker;
grant insert (tenant_id, job_id, reason, issuer, subject, asked_at, removal_at), update (job_id)
    on tallystick.offboardings to tallystick_control;
grant update (exports_until) on tallystick.offboardings to tallystick_worker;
grant insert (kept_until) on tallystick.exports to tallystick_control;
