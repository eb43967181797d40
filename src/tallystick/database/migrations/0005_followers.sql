-- What follows the logs: cursors with leases, events that could not be handled, and jobs.

-- A row changes with every batch: room in its page keeps the update there (HOT), so no column that changes is indexed.
create table tallystick.cursors (
    follower text not null,
    log_id int not null references tallystick.logs (id),
    seq bigint not null default -1 check (seq >= -1),
    received_at timestamptz,
    leased_by text,
    leased_until timestamptz,
    primary key (follower, log_id)
) with (fillfactor = 50);

create table tallystick.quarantine (
    follower text not null,
    log_id int not null references tallystick.logs (id),
    seq bigint not null,
    error text not null,
    quarantined_at timestamptz not null default date_trunc('milliseconds', clock_timestamp()),
    primary key (follower, log_id, seq)
);

create table tallystick.jobs (
    id uuid primary key default gen_random_uuid(),
    tenant_id text not null references tallystick.tenants (id),
    log_id int references tallystick.logs (id),
    kind text not null,
    arguments jsonb not null default '{}',
    state text not null default 'queued' check (state in ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    done bigint not null default 0,
    total bigint,
    checkpoint jsonb not null default '{}',
    attempts int not null default 0,
    error text,
    created_by jsonb not null,
    created_at timestamptz not null default date_trunc('milliseconds', clock_timestamp()),
    started_at timestamptz,
    finished_at timestamptz,
    cancel_requested boolean not null default false,
    leased_by text,
    leased_until timestamptz
);
create index jobs_open on tallystick.jobs (created_at) where state in ('queued', 'running');
create index jobs_of_tenant on tallystick.jobs (tenant_id, created_at, id);

grant select, insert, update on tallystick.cursors to tallystick_worker;
grant select, insert, delete on tallystick.quarantine to tallystick_worker;
grant select, insert, update on tallystick.jobs to tallystick_worker;

grant select on tallystick.cursors, tallystick.quarantine to tallystick_control;
grant select on tallystick.jobs to tallystick_control;
grant insert (tenant_id, log_id, kind, arguments, created_by) on tallystick.jobs to tallystick_control;
grant update (cancel_requested) on tallystick.jobs to tallystick_control;
