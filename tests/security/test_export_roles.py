"""What each role may do with exports: who asks never says where an object is, who writes it never what may be in it."""

import asyncpg
import pytest

from tallystick.database.pools import Database

ALLOWED = {
    "control": ("select count(*) from tallystick.exports", "update tallystick.exports set deleted_at = now()"),
    "worker": (
        "select count(*) from tallystick.exports",
        "update tallystick.exports set object = 'x', removed_at = now()",
        "delete from tallystick.exports",
    ),
    "reader": (),
}
STATEMENTS = (
    *sorted({statement for allowed in ALLOWED.values() for statement in allowed}),
    "update tallystick.exports set narrowing = '[\"everything\"]'",
    "update tallystick.exports set through_seq = 7",
    "update tallystick.exports set subject = 'eve'",
    "update tallystick.exports set tenant_id = 'other'",
    "update tallystick.exports set asked = '{}'",
    "update tallystick.exports set log_id = 1",
    "insert into tallystick.exports (job_id, object) select gen_random_uuid(), 'x' where false",
)


@pytest.mark.parametrize("statement", STATEMENTS)
@pytest.mark.parametrize("role", sorted(ALLOWED))
async def test_a_role_may_do_what_it_needs_and_nothing_else(database: Database, role: str, statement: str) -> None:
    pool = {"control": database.control, "worker": database.worker, "reader": database.reader}[role]
    async with pool.acquire() as connection:
        if statement in ALLOWED[role]:
            await connection.execute(statement)
        else:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)


async def test_the_writer_knows_nothing_of_exports(database: Database) -> None:
    connection = await database.connect_writer()
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("select count(*) from tallystick.exports")
    finally:
        await connection.close()
