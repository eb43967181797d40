-- What is made from here on is closed until it is granted.

-- For all schemas: the grant of EXECUTE to everybody is built in, and only a revocation that names no schema takes it away.
alter default privileges revoke execute on functions from public;

-- A database that was upgraded from PostgreSQL 14 or older still lets everybody make objects in `public`.
do $public$
begin
    revoke create on schema public from public;
exception
    when insufficient_privilege or invalid_schema_name then null;
end
$public$;

-- Whoever waits for a lock on a parent makes appends queue behind it: give up soon, the worker asks again.
alter function tallystick.drop_old_retry_keys() set lock_timeout = '200ms';
alter function tallystick.make_event_partitions(text, timestamptz) set lock_timeout = '200ms';
alter function tallystick.make_retry_key_partitions(date) set lock_timeout = '200ms';

-- Until when appends with a retry key find a partition.
create function tallystick.retry_key_partitions_until() returns timestamptz
language sql stable security definer set search_path = pg_catalog, pg_temp set timezone = 'UTC' as $$
    select max((regexp_match(pg_get_expr(child.relpartbound, child.oid), 'TO \(''([^'']+)''\)'))[1]::date::timestamptz)
      from pg_inherits join pg_class child on child.oid = inhrelid
     where inhparent = 'tallystick.retry_keys'::regclass
$$;
grant execute on function tallystick.retry_key_partitions_until to tallystick_control;
