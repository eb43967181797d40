"""SQL for tenants and their logs."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import orjson

from tallystick.database.pools import Connection
from tallystick.tenants.model import LOGS, Json, Offboarding, Tenant

if TYPE_CHECKING:
    import asyncpg

_OFFBOARDING = """(select jsonb_build_object('job_id', job_id, 'reason', reason, 'asked_at', asked_at,
    'removal_at', removal_at, 'begun_at', begun_at, 'exports_until', exports_until, 'removed_at', removed_at)
    from tallystick.offboardings where tenant_id = tenants.id) as offboarding"""
_COLUMNS = f"tenants.id, tenants.name, settings, suspended_at, created_at, {_OFFBOARDING}"


_MOMENTS = ("asked_at", "removal_at", "begun_at", "exports_until", "removed_at")


@dataclass(frozen=True, slots=True)
class Change:
    """A tenant as the directory keeps it, and the version at which it became so."""

    version: int
    id: str
    logs: dict[str, int]
    suspended: bool
    settings: dict[str, Any]
    offboarding: Offboarding | None


def _offboarding(written: str | None) -> Offboarding | None:
    if written is None:
        return None
    fields: dict[str, Any] = orjson.loads(written)
    for name in _MOMENTS:
        fields[name] = fields[name] and datetime.fromisoformat(fields[name])
    return Offboarding(**fields)


def _tenant(row: "asyncpg.Record") -> Tenant:
    return Tenant(
        id=row["id"],
        name=row["name"],
        settings=orjson.loads(row["settings"]),
        suspended_at=row["suspended_at"],
        created_at=row["created_at"],
        offboarding=_offboarding(row["offboarding"]),
    )


async def insert_tenant(connection: Connection, tenant_id: str, name: str, settings: Json) -> Tenant | None:
    """Store a new tenant with its logs; None when the id is taken.

    One statement, so that nobody sees the one without the others, whether the caller is in a transaction or not.
    """
    row = await connection.fetchrow(
        "with made as (insert into tallystick.tenants (id, name, settings) values ($1, $2, $3::text::jsonb)"  # noqa: S608 - a constant
        f" on conflict (id) do nothing returning {_COLUMNS}),"
        " logs as (insert into tallystick.logs (tenant_id, name) select made.id, unnest($4::text[]) from made)"
        " select * from made",
        tenant_id,
        name,
        orjson.dumps(dict(settings)).decode(),
        list(LOGS),
    )
    return _tenant(row) if row else None


async def get_tenant(connection: Connection, tenant_id: str, *, lock: bool = False) -> Tenant | None:
    """Read one tenant.

    Args:
        connection: In a transaction when `lock` is set.
        tenant_id: Its id.
        lock: Whether to keep others from changing it until the transaction ends.
    """
    row = await connection.fetchrow(
        f"select {_COLUMNS} from tallystick.tenants where id = $1"  # noqa: S608 - a constant
        + (" for no key update" if lock else ""),
        tenant_id,
    )
    return _tenant(row) if row else None


@dataclass(frozen=True, slots=True)
class Listed:
    """A tenant in a listing, and the key it is listed by."""

    key: int
    tenant: Tenant


async def list_tenants(connection: Connection, key: int, limit: int, *, backwards: bool) -> list[Listed]:
    """Read tenants in the order they were made, but for those that were removed.

    The reserved one has no log of events and so is left out.

    Args:
        connection: Any.
        key: Of the tenant to start after (or before); 0 starts at the first.
        limit: Most tenants to read.
        backwards: Read the last ones before `key` instead of the first after it; the answer still ascends.
    """
    # A tenant's log is made in its transaction, after the lock that orders changes: ids commit in their order.
    comparison, direction = ("<", "desc") if backwards else (">", "asc")
    rows = await connection.fetch(
        f"select l.id as key, {_COLUMNS}"  # noqa: S608 - constants
        " from tallystick.logs l join tallystick.tenants on tenants.id = l.tenant_id"
        f" where l.name = 'events' and l.id {comparison} $1 and not exists (select from tallystick.offboardings"
        "  where tenant_id = tenants.id and removed_at is not null)"
        f" order by l.id {direction} limit $2",
        key,
        limit,
    )
    listed = [Listed(row["key"], _tenant(row)) for row in rows]
    return listed[::-1] if backwards else listed


async def update_tenant(
    connection: Connection, tenant_id: str, name: str, settings: Json, *, suspended: bool
) -> Tenant:
    """Write a tenant that is locked; a suspension keeps the time at which it began."""
    row = await connection.fetchrow(
        "update tallystick.tenants set name = $2, settings = $3::text::jsonb, suspended_at ="  # noqa: S608 - a constant
        " case when $4 then coalesce(suspended_at, date_trunc('milliseconds', clock_timestamp())) end"
        f" where id = $1 returning {_COLUMNS}",
        tenant_id,
        name,
        orjson.dumps(dict(settings)).decode(),
        suspended,
    )
    if row is None:
        raise LookupError(tenant_id)
    return _tenant(row)


async def newest_version(connection: Connection) -> int:
    """The version of the latest change to any tenant."""
    version: int = await connection.fetchval("select coalesce(max(version), 0) from tallystick.tenants")
    return version


async def changes_since(connection: Connection, version: int, also: Collection[str] = ()) -> list[Change]:
    """Read the tenants that changed after `version`, and those of some ids, in the order of their changes."""
    rows = await connection.fetch(
        f"select version, {_COLUMNS},"  # noqa: S608 - constants
        " (select jsonb_object_agg(l.name, l.id) from tallystick.logs l where l.tenant_id = tenants.id) as logs"
        " from tallystick.tenants where version > $1 or id = any($2::text[]) order by version",
        version,
        list(also),
    )
    return [
        Change(
            version=row["version"],
            id=row["id"],
            logs=orjson.loads(row["logs"] or "{}"),
            suspended=row["suspended_at"] is not None,
            settings=orjson.loads(row["settings"]),
            offboarding=_offboarding(row["offboarding"]),
        )
        for row in rows
    ]
