-- The keys of tenants, wrapped by a master key that is not in the database.
create table tallystick.data_keys (
    tenant_id text not null references tallystick.tenants (id),
    key_id text not null check (key_id ~ '^[0-9a-z-]{1,64}$'),
    purpose text not null check (purpose in ('data', 'digest')),
    state text not null default 'active' check (state in ('active', 'retired')),
    wrapped bytea not null,
    master_key_id text not null,
    created_at timestamptz not null default date_trunc('milliseconds', clock_timestamp()),
    wrapped_at timestamptz not null default clock_timestamp(),
    primary key (tenant_id, key_id)
);
-- Of two processes that make a tenant's first key, one is first, and the other takes that key.
create unique index data_keys_active on tallystick.data_keys (tenant_id, purpose) where state = 'active';
create index data_keys_by_master on tallystick.data_keys (master_key_id, tenant_id, key_id);
create index data_keys_by_wrapping on tallystick.data_keys (wrapped_at);

-- Which data key encrypts the object of an export; null for one that is not encrypted, as those of earlier releases.
alter table tallystick.exports add column key_id text;

-- Keys are made and wrapped anew by the control role alone. Nobody changes whose a key is, its id or what it is for, or deletes one.
grant select, insert on tallystick.data_keys to tallystick_control;
grant update (state, wrapped, master_key_id, wrapped_at) on tallystick.data_keys to tallystick_control;
grant update (key_id) on tallystick.exports to tallystick_worker;
