"""SQL for data keys, run as the control role."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from tallystick.database.pools import Connection, Database
from tallystick.ports import Wrapped

if TYPE_CHECKING:
    import asyncpg


class Purpose(StrEnum):
    """What a tenant's key is for: to encrypt, or to make digests."""

    DATA = "data"
    DIGEST = "digest"


@dataclass(frozen=True, slots=True)
class DataKey:
    """A key of a tenant, as it is stored."""

    tenant_id: str
    key_id: str
    purpose: Purpose
    active: bool
    wrapped: Wrapped
    created_at: datetime

    @property
    def context(self) -> dict[str, str]:
        """What is bound to it when it is wrapped."""
        return context_of(self.tenant_id, self.key_id, self.purpose)


@dataclass(frozen=True, slots=True)
class MasterUse:
    """How many keys a master key wraps, of how many tenants, and the newest of them."""

    master_key_id: str
    keys: int
    tenants: int
    newest: DataKey


def context_of(tenant_id: str, key_id: str, purpose: Purpose) -> dict[str, str]:
    """What is bound to a key when it is wrapped."""
    return {"tenant_id": tenant_id, "key_id": key_id, "purpose": purpose.value}


_COLUMNS: Final = "tenant_id, key_id, purpose, state = 'active' as active, wrapped, master_key_id, created_at"


def _key(record: "asyncpg.Record") -> DataKey:
    return DataKey(
        record["tenant_id"],
        record["key_id"],
        Purpose(record["purpose"]),
        record["active"],
        Wrapped(record["master_key_id"], record["wrapped"]),
        record["created_at"],
    )


async def find_keys(database: Database, tenant_id: str) -> list[DataKey]:
    """The keys of a tenant, the oldest first."""
    statement = f"select {_COLUMNS} from tallystick.data_keys where tenant_id = $1 order by created_at, key_id"  # noqa: S608  # a constant
    return [_key(record) for record in await database.control_fetch(statement, tenant_id)]


async def newest_key(database: Database) -> DataKey | None:
    """The key that was wrapped last, whosever it is."""
    statement = f"select {_COLUMNS} from tallystick.data_keys order by wrapped_at desc limit 1"  # noqa: S608  # a constant
    return next(iter([_key(record) for record in await database.control_fetch(statement)]), None)


async def insert_first(database: Database, tenant_id: str, key_id: str, purpose: Purpose, wrapped: Wrapped) -> bool:
    """Keep a tenant's key; false where another was made meanwhile."""
    async with database.control_session() as connection:
        await _hold_keys(connection, tenant_id)
        inserted = await connection.fetchval(
            """
            insert into tallystick.data_keys (tenant_id, key_id, purpose, wrapped, master_key_id)
            values ($1, $2, $3, $4, $5)
                on conflict (tenant_id, purpose) where state = 'active' do nothing
            returning true""",
            tenant_id,
            key_id,
            purpose.value,
            wrapped.content,
            wrapped.master_key_id,
        )
    return bool(inserted)


async def _hold_keys(connection: Connection, tenant_id: str) -> None:
    """Let nobody else make a key of a tenant until the transaction ends.

    Of two who replace a key each would retire the same, and who makes the first key between retiring and making would
    have the other refused.
    """
    await connection.execute("select pg_advisory_xact_lock(hashtextextended('tallystick keys ' || $1, 0))", tenant_id)


async def replace_active(database: Database, tenant_id: str, key_id: str, purpose: Purpose, wrapped: Wrapped) -> bool:
    """Retire the active key of a purpose, and make this one the active one; false where there is no such tenant."""
    async with database.control_session() as connection:
        await _hold_keys(connection, tenant_id)
        await connection.execute(
            "update tallystick.data_keys set state = 'retired'"
            " where tenant_id = $1 and purpose = $2 and state = 'active'",
            tenant_id,
            purpose.value,
        )
        inserted = await connection.fetchval(
            """
            insert into tallystick.data_keys (tenant_id, key_id, purpose, wrapped, master_key_id)
            select id, $2, $3, $4, $5 from tallystick.tenants where id = $1 returning true""",
            tenant_id,
            key_id,
            purpose.value,
            wrapped.content,
            wrapped.master_key_id,
        )
        return bool(inserted)


async def find_wrapped_otherwise(
    database: Database, master_key_id: str, before: datetime | None, after: tuple[str, str], limit: int
) -> list[DataKey]:
    """Keys that are to be wrapped anew, in order of tenant and id.

    Args:
        database: Where they are.
        master_key_id: Those that this one wraps are left out,
        before: but for those that were wrapped before this moment.
        after: Tenant and id of the key after which to go on.
        limit: Most keys.
    """
    records = await database.control_fetch(
        f"""
        select {_COLUMNS} from tallystick.data_keys
         where (master_key_id <> $1 or wrapped_at < $2) and (tenant_id, key_id) > ($3, $4)
         order by tenant_id, key_id limit $5""",  # noqa: S608  # constants
        master_key_id,
        before,
        *after,
        limit,
    )
    return [_key(record) for record in records]


async def count_wrapped_otherwise(database: Database, master_key_id: str, before: datetime | None) -> int:
    """How many keys are to be wrapped anew; see `find_wrapped_otherwise`."""
    (record,) = await database.control_fetch(
        "select count(*) as keys from tallystick.data_keys where master_key_id <> $1 or wrapped_at < $2",
        master_key_id,
        before,
    )
    return record["keys"]


async def rewrap(database: Database, key: DataKey, wrapped: Wrapped) -> None:
    """Put a key that was wrapped anew in the place of the former; one that changed meanwhile stays as it is."""
    await database.control_fetch(
        """
        update tallystick.data_keys set wrapped = $4, master_key_id = $5, wrapped_at = clock_timestamp()
         where tenant_id = $1 and key_id = $2 and wrapped = $3""",
        key.tenant_id,
        key.key_id,
        key.wrapped.content,
        wrapped.content,
        wrapped.master_key_id,
    )


async def now(database: Database) -> datetime:
    """The database's clock."""
    (record,) = await database.control_fetch("select clock_timestamp() as now")
    return record["now"]


async def sum_up(database: Database) -> Sequence[MasterUse]:
    """What each master key wraps."""
    records = await database.control_fetch(
        f"""
        select {_COLUMNS}, uses.keys, uses.tenants
          from (select master_key_id, count(*) as keys, count(distinct tenant_id) as tenants
                  from tallystick.data_keys group by master_key_id) as uses
         cross join lateral (select * from tallystick.data_keys as key where key.master_key_id = uses.master_key_id
                              order by wrapped_at desc limit 1) as newest (tenant_id, key_id, purpose, state, wrapped,
                              newest_master_key_id, created_at, wrapped_at)
         order by uses.master_key_id"""  # noqa: S608  # constants
    )
    return [MasterUse(record["master_key_id"], record["keys"], record["tenants"], _key(record)) for record in records]
