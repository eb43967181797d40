import asyncio
from collections.abc import Callable
from typing import TypeAlias

import asyncpg
import pytest
from pydantic import SecretStr

from factories import unique
from tallystick.database.pools import Database
from tallystick.errors import DatabaseDownError, UnavailableError
from tallystick.settings import DatabaseSettings
from tallystick.tenants.directory import MAX_MISSES, MISS_MEMORY, TenantDirectory
from tallystick.tenants.queries import insert_tenant, update_tenant

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


class Counting(TenantDirectory):
    """Counts how often it looks, and tells how many misses it remembers."""

    def __init__(self, database: Database, freshness: float) -> None:
        super().__init__(database, freshness)
        self.looks = 0
        self.looked = asyncio.Event()

    @property
    def remembered(self) -> int:
        return len(self._misses)

    async def _poll(self) -> None:
        self.looks += 1
        await super()._poll()
        self.looked.set()


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        self.now += 1e-6  # no two looks at the same moment
        return self.now


async def make(database: Database, tenant_id: str) -> None:
    async with database.control_session() as connection:
        assert await insert_tenant(connection, tenant_id, tenant_id, {}) is not None


async def suspend(database: Database, tenant_id: str) -> None:
    async with database.control_session() as connection:
        await update_tenant(connection, tenant_id, tenant_id, {}, suspended=True)


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until the condition holds."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - growing stale is no event
            await asyncio.sleep(0.01)


async def test_a_tenant_is_known_with_its_logs(database: Database) -> None:
    await make(database, "acme")
    directory = TenantDirectory(database, freshness=5)
    await directory.refresh()
    found = await directory.find("acme")
    assert found is not None
    assert set(found.logs) == {"events", "access"}
    assert not found.suspended
    reserved = await directory.find("_platform")
    assert reserved is not None
    assert set(reserved.logs) == {"access"}


async def test_a_miss_asks_at_once_and_is_remembered_for_a_second(database: Database) -> None:
    clock = Clock()
    directory = TenantDirectory(database, 5, clock)
    await directory.refresh()
    await make(database, "made-since")
    assert await directory.find("made-since") is not None
    assert await directory.find("not-yet") is None
    await make(database, "not-yet")
    assert await directory.find("not-yet") is None
    clock.now += MISS_MEMORY
    assert await directory.find("not-yet") is not None


async def test_what_cannot_be_an_id_never_reaches_the_database(database: Database) -> None:
    directory = TenantDirectory(database, freshness=5)
    await directory.refresh()
    await database.control.close()
    for tenant_id in ("", "ACME", "a" * 64, "a'b", "\x00", "*"):
        assert await directory.find(tenant_id) is None


async def test_misses_are_bounded(database: Database) -> None:
    directory = Counting(database, freshness=60)
    await directory.refresh()
    await asyncio.gather(*(directory.find(f"t{number}") for number in range(MAX_MISSES + 50)))
    assert directory.remembered == MAX_MISSES


async def test_many_who_miss_together_share_few_looks(database: Database) -> None:
    directory = Counting(database, freshness=60)
    await directory.refresh()
    await asyncio.gather(*(directory.find(unique("nobody")) for _ in range(500)))
    assert directory.looks <= 3


async def test_many_who_wait_together_share_a_failure() -> None:
    nowhere = DatabaseSettings(url=SecretStr("postgresql://nobody@127.0.0.1:1/nothing"))
    async with Database.from_settings(nowhere) as database:
        directory = Counting(database, freshness=60)
        outcomes = await asyncio.gather(*(directory.refresh() for _ in range(200)), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {DatabaseDownError}
    assert directory.looks <= 3


async def test_a_suspension_elsewhere_is_followed(database: Database) -> None:
    await make(database, "acme")
    directory = Counting(database, freshness=1)
    await directory.refresh()
    following = asyncio.create_task(directory.run())
    try:
        await suspend(database, "acme")
        async with asyncio.timeout(20):
            for _ in range(2):  # the look under way may have begun before
                directory.looked.clear()
                await directory.looked.wait()
        found = await directory.find("acme")
        assert found is not None
        assert found.suspended
    finally:
        following.cancel()
        await asyncio.wait([following])


async def test_a_stale_directory_lets_nobody_in(database: Database) -> None:
    clock = Clock()
    directory = TenantDirectory(database, 5, clock)
    with pytest.raises(UnavailableError):
        await directory.find("acme")
    await directory.refresh()
    assert directory.fresh
    clock.now += 6
    assert not directory.fresh
    with pytest.raises(UnavailableError):
        await directory.find("acme")


async def test_it_recovers_when_the_database_comes_back(
    database: Database, owner: Connection, superuser: Connection
) -> None:
    directory = TenantDirectory(database, freshness=0.4)
    dbname = await owner.fetchval("select current_database()")
    following = asyncio.create_task(directory.run())
    try:
        await until(lambda: directory.fresh)
        await superuser.execute(f'alter database "{dbname}" allow_connections false')
        await superuser.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1", dbname)
        await until(lambda: not directory.fresh)
        await superuser.execute(f'alter database "{dbname}" allow_connections true')
        await until(lambda: directory.fresh)
    finally:
        following.cancel()
        await asyncio.wait([following])


async def test_a_database_put_back_in_time_is_believed(database: Database, owner: Connection) -> None:
    await make(database, "acme")
    await make(database, "later")
    directory = TenantDirectory(database, freshness=60)
    await directory.refresh()
    assert await directory.find("later") is not None
    await owner.execute("delete from tallystick.logs where tenant_id = 'later'")
    await owner.execute("delete from tallystick.tenants where id = 'later'")
    await directory.refresh()
    assert await directory.find("later") is None
    assert await directory.find("acme") is not None


async def test_a_tenant_is_made_with_its_logs_or_not_at_all(database: Database, owner: Connection) -> None:
    """Also where the caller is in no transaction."""
    await owner.execute("alter table tallystick.logs add constraint no_more check (tenant_id <> 'halved')")
    async with database.control.acquire() as connection:
        assert await insert_tenant(connection, "acme", "Acme", {}) is not None
        assert await insert_tenant(connection, "acme", "Acme", {}) is None
        with pytest.raises(asyncpg.CheckViolationError):
            await insert_tenant(connection, "halved", "Halved", {})
    assert await owner.fetchval("select count(*) from tallystick.logs where tenant_id = 'acme'") == 2
    assert await owner.fetchval("select count(*) from tallystick.tenants where id = 'halved'") == 0


async def test_a_tenant_seen_without_its_logs_is_asked_for_again(database: Database, owner: Connection) -> None:
    """Its version does not change when they come, so nothing but another look would ever show them."""
    directory = TenantDirectory(database, freshness=60)
    await owner.execute("insert into tallystick.tenants (id, name) values ('halved', 'Halved')")
    for names in ([], ["events"]):
        await owner.execute("insert into tallystick.logs (tenant_id, name) select 'halved', unnest($1::text[])", names)
        await directory.refresh()
        with pytest.raises(UnavailableError, match="the logs of the tenant halved are not there yet"):
            await directory.find("halved")
    await make(database, "whole")
    assert await directory.find("whole") is not None
    await owner.execute("insert into tallystick.logs (tenant_id, name) values ('halved', 'access')")
    found = await directory.find("halved")
    assert found is not None
    assert set(found.logs) == {"events", "access"}


async def test_five_thousand_tenants_are_cheap(database: Database, owner: Connection) -> None:
    await owner.execute(
        "insert into tallystick.tenants (id, name) select 't' || n, 'T' from generate_series(1, 5000) n"
    )
    await owner.execute(
        "insert into tallystick.logs (tenant_id, name) select 't' || n, name"
        " from generate_series(1, 5000) n, unnest(array['events', 'access']) name"
    )
    directory = TenantDirectory(database, freshness=60)
    await directory.refresh()
    found = await directory.find("t4711")
    assert found is not None

    async def rows_read() -> int:
        async with database.control_session() as connection:
            await connection.execute("select pg_stat_force_next_flush()")
        # Its foreign keys looked ten thousand tenants up, which the owner's session may tell much later.
        await owner.execute("select pg_stat_force_next_flush()")
        read = "select seq_tup_read + idx_tup_fetch from pg_stat_user_tables where relname = 'tenants'"
        return await owner.fetchval(read)

    before = await rows_read()
    assert before >= 5_000
    for _ in range(100):
        await directory.refresh()
    assert await rows_read() - before <= 100, "a look that finds nothing new must not read the tenants"
