"""Waits for locks on tables, as the benchmark of retention sees them."""

import asyncio

import asyncpg

from installations import until
from stored_events import Connection
from tallystick.bench.lockwaits import watching_lock_waits
from tallystick.settings import DatabaseSettings


async def test_the_longest_wait_is_seen_while_it_lasts(owner: Connection, database_settings: DatabaseSettings) -> None:
    url = database_settings.url
    assert url is not None
    other: Connection = await asyncpg.connect(url.get_secret_value())
    async with watching_lock_waits(url.get_secret_value()) as waits:
        await owner.fetch("select * from tallystick.facts")
        await until(lambda: waits.looks > 2)
        assert waits.longest == 0
        async with owner.transaction():
            await owner.execute("lock table tallystick.facts in access exclusive mode")
            reading = asyncio.create_task(other.fetch("select * from tallystick.facts"))
            await until(lambda: waits.longest > 0.05)
        await reading
        seen, looks = waits.longest, waits.looks
        await until(lambda: waits.looks > looks + 2)
    assert waits.longest >= seen
    await other.close()
