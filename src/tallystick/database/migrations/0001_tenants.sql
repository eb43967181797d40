-- Roles, and what changes by hand: tenants, their logs' heads, revocations.
--
-- Login roles own nothing. They are of the whole cluster, so another database of it may have made them already.
do $roles$
declare
    role text;
begin
    foreach role in array array['tallystick_writer', 'tallystick_reader', 'tallystick_control', 'tallystick_worker'] loop
        begin
            execute format('create role %I login noinherit', role);
        exception
            when duplicate_object or unique_violation then null;
        end;
        execute format('grant connect on database %I to %I', current_database(), role);
        execute format('grant usage on schema tallystick to %I', role);
    end loop;
    execute format('revoke create, temporary on database %I from public', current_database());
end
$roles$;

create sequence tallystick.control_versions;

create table tallystick.tenants (
    id text primary key check (id ~ '^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?|_platform)$'),
    name text not null,
    settings jsonb not null default '{}',
    suspended_at timestamptz,
    created_at timestamptz not null default date_trunc('milliseconds', clock_timestamp()),
    version bigint not null
);
create unique index tenants_version on tallystick.tenants (version);

create table tallystick.revocations (
    kind text not null check (kind in ('token', 'subject')),
    issuer text not null,
    value text not null,
    revoked_at timestamptz not null default date_trunc('milliseconds', clock_timestamp()),
    expires_at timestamptz not null,
    version bigint not null,
    primary key (kind, issuer, value)
);
create unique index revocations_version on tallystick.revocations (version);

-- Every process follows changes by version, so a version may become visible only after all smaller ones:
-- the lock makes the order of numbers the order of commits.
create function tallystick.take_version() returns trigger language plpgsql as $$
begin
    perform pg_advisory_xact_lock(hashtext('tallystick.control_versions'));
    new.version := nextval('tallystick.control_versions');
    return new;
end
$$;
create trigger take_version before insert or update on tallystick.tenants
    for each row execute function tallystick.take_version();
create trigger take_version before insert or update on tallystick.revocations
    for each row execute function tallystick.take_version();

-- The heads: the hottest table there is. Few rows a page, so that an update finds room beside the old version (HOT).
create table tallystick.logs (
    id int generated always as identity primary key,
    tenant_id text not null references tallystick.tenants (id),
    name text not null check (name in ('events', 'access')),
    size bigint not null default 0 check (size >= 0),
    last_at timestamptz not null default date_trunc('milliseconds', clock_timestamp()),
    unique (tenant_id, name)
) with (
    fillfactor = 20,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 500,
    autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0,
    autovacuum_analyze_threshold = 10000
);

insert into tallystick.tenants (id, name) values ('_platform', 'Platform');
insert into tallystick.logs (tenant_id, name) values ('_platform', 'access');
