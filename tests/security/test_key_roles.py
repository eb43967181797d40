"""What each role may do with the keys of tenants: one makes and wraps them, and no other knows of any."""

import asyncpg
import pytest

from tallystick.database.pools import Database

ALLOWED = {
    "control": (
        "select count(*) from tallystick.data_keys",
        (
            "insert into tallystick.data_keys (tenant_id, key_id, purpose, wrapped, master_key_id)"
            " select id, 'k', 'data', '', 'm' from tallystick.tenants where false"
        ),
        "update tallystick.data_keys set state = 'retired', wrapped = '', master_key_id = 'm', wrapped_at = now()",
    ),
    "worker": ("update tallystick.exports set key_id = 'k'",),
    "reader": (),
}
STATEMENTS = (
    *sorted({statement for allowed in ALLOWED.values() for statement in allowed}),
    "select wrapped from tallystick.data_keys",
    "update tallystick.data_keys set tenant_id = 'other'",
    "update tallystick.data_keys set key_id = 'k'",
    "update tallystick.data_keys set purpose = 'digest'",
    "update tallystick.data_keys set created_at = now()",
    "delete from tallystick.data_keys",
    "truncate tallystick.data_keys",
    "select tenant_id from tallystick.data_keys for key share",
)
ALSO_CONTROL = ("select wrapped from tallystick.data_keys", "select tenant_id from tallystick.data_keys for key share")


@pytest.mark.parametrize("statement", STATEMENTS)
@pytest.mark.parametrize("role", sorted(ALLOWED))
async def test_a_role_may_do_what_it_needs_and_nothing_else(database: Database, role: str, statement: str) -> None:
    pool = {"control": database.control, "worker": database.worker, "reader": database.reader}[role]
    async with pool.acquire() as connection:
        if statement in ALLOWED[role] or (role == "control" and statement in ALSO_CONTROL):
            await connection.execute(statement)
        else:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)


async def test_the_writer_knows_nothing_of_keys(database: Database) -> None:
    connection = await database.connect_writer()
    try:
        for statement in STATEMENTS:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
    finally:
        await connection.close()
