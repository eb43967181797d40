"""What counts as an outage of the database, and what as a fault of ours."""

from typing import TypeAlias

import asyncpg
import pytest

from tallystick.database.migrate import migrate
from tallystick.database.outage import OUTAGES, as_database_down
from tallystick.database.pools import Database
from tallystick.errors import DatabaseDownError

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


async def test_a_database_that_takes_no_connections_is_down(
    database: Database, owner: Connection, superuser: Connection
) -> None:
    name = await owner.fetchval("select current_database()")
    await superuser.execute(f'alter database "{name}" allow_connections false')

    with pytest.raises(DatabaseDownError):
        async with database.log_session(1):
            pass
    with pytest.raises(DatabaseDownError):
        async with database.control_session():
            pass
    with pytest.raises(OUTAGES):
        await database.connect_writer()
    with pytest.raises(DatabaseDownError):
        async with as_database_down():
            await migrate(database.settings)


async def test_a_statement_out_of_turn_is_a_fault_of_ours(owner: Connection) -> None:
    await owner.execute("create sequence tallystick.fresh")
    with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError):
        async with as_database_down():
            await owner.fetchval("select currval('tallystick.fresh')")


async def test_a_statement_that_takes_too_long_is_told_apart(owner: Connection) -> None:
    await owner.execute("set statement_timeout = '20ms'")
    with pytest.raises(DatabaseDownError, match=r"took longer than"):
        async with as_database_down():
            await owner.execute("select pg_sleep(20)")
