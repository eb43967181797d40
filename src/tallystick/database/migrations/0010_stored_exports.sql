-- Exports that a job writes into the object store. The job's row says how far it is; this one says what was asked for, by whom, what
-- that principal might see then, and where the object is. Who asks (control) never says where an object is, and who writes it
-- (worker) never says what may be in it.

create table tallystick.exports (
    job_id uuid primary key references tallystick.jobs (id),
    tenant_id text not null references tallystick.tenants (id),
    log_id int not null references tallystick.logs (id),
    issuer text not null,
    subject text not null,
    asked jsonb not null,
    narrowing text not null,
    through_seq bigint not null check (through_seq >= -1),
    object text,
    events bigint,
    bytes bigint,
    sha256 bytea,
    expires_at timestamptz,
    deleted_at timestamptz,
    removed_at timestamptz
);
create index exports_in_store on tallystick.exports (tenant_id) where removed_at is null;

-- What was done in all, for metrics: rows are forgotten some time after their objects.
create table tallystick.export_totals (
    single boolean primary key default true check (single),
    exports bigint not null default 0,
    bytes bigint not null default 0,
    removed bigint not null default 0
);
insert into tallystick.export_totals default values;

grant select on tallystick.exports, tallystick.export_totals to tallystick_control, tallystick_worker;
grant insert (job_id, tenant_id, log_id, issuer, subject, asked, narrowing, through_seq) on tallystick.exports to tallystick_control;
grant update (deleted_at) on tallystick.exports to tallystick_control;
grant update (object, events, bytes, sha256, expires_at, removed_at) on tallystick.exports to tallystick_worker;
grant delete on tallystick.exports to tallystick_worker;
grant update (exports, bytes, removed) on tallystick.export_totals to tallystick_worker;
