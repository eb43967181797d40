"""The keys of tenants in memory: asked for once, shared between those who wait, dropped when old."""

import asyncio

import pytest

from tallystick.errors import UnavailableError
from tallystick.privacy.sealing import DataKeys
from tallystick.privacy.service import MAX_TENANTS, TenantKeys


class Loader:
    def __init__(self) -> None:
        self.asked: list[str] = []
        self.started = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()
        self.down = False
        self.newest = 1

    async def load(self, tenant_id: str) -> DataKeys:
        self.asked.append(tenant_id)
        made = {f"k-{number}": bytes(32) for number in range(1, self.newest + 1)}
        self.started.set()
        await self.gate.wait()
        if self.down:
            raise UnavailableError("down")
        return DataKeys(tenant_id, "k-1", made, bytes(32))


async def test_keys_are_used_until_they_are_old() -> None:
    loader, now = Loader(), [0.0]
    tenants = TenantKeys(loader.load, 5, lambda: now[0])
    first = await tenants.of("acme")
    now[0] = 5
    assert await tenants.of("acme") is first
    now[0] = 5.1
    assert await tenants.of("acme") is not first
    assert loader.asked == ["acme", "acme"]


async def test_those_who_wait_share_one_reading_and_one_who_leaves_disturbs_nobody() -> None:
    loader = Loader()
    loader.gate.clear()
    tenants = TenantKeys(loader.load, 5)
    leaving, staying = (asyncio.create_task(tenants.of("acme")) for _ in range(2))
    await loader.started.wait()
    leaving.cancel()
    await asyncio.sleep(0)
    loader.gate.set()
    assert (await staying).tenant_id == "acme"
    assert loader.asked == ["acme"]


async def test_a_reading_that_began_before_they_were_forgotten_is_not_kept() -> None:
    loader = Loader()
    loader.gate.clear()
    tenants = TenantKeys(loader.load, 5)
    early = asyncio.create_task(tenants.of("acme"))
    await loader.started.wait()
    loader.newest = 2
    tenants.forget("acme")
    late = asyncio.create_task(tenants.of("acme"))
    await asyncio.sleep(0)
    loader.gate.set()
    assert [*(await early).keys] == ["k-1"]
    assert [*(await late).keys] == ["k-1", "k-2"]
    assert [*(await tenants.of("acme")).keys] == ["k-1", "k-2"]
    assert len(loader.asked) == 2


async def test_a_key_that_was_made_after_a_reading_began_is_read_after_it() -> None:
    loader = Loader()
    loader.gate.clear()
    tenants = TenantKeys(loader.load, 5)
    early = asyncio.create_task(tenants.of("acme"))
    await loader.started.wait()
    loader.newest = 2
    joining = asyncio.create_task(tenants.of("acme", "k-2"))
    await asyncio.sleep(0)
    loader.gate.set()
    assert "k-2" not in (await early).keys
    assert "k-2" in (await joining).keys


async def test_a_failure_is_told_to_all_who_wait_and_not_remembered() -> None:
    loader = Loader()
    loader.down = True
    tenants = TenantKeys(loader.load, 5)
    answers = await asyncio.gather(tenants.of("acme"), tenants.of("acme"), return_exceptions=True)
    assert [type(answer) for answer in answers] == [UnavailableError, UnavailableError]
    loader.down = False
    assert (await tenants.of("acme")).tenant_id == "acme"


async def test_the_least_used_are_dropped() -> None:
    loader = Loader()
    tenants = TenantKeys(loader.load, 5)
    for number in range(MAX_TENANTS):
        await tenants.of(f"t{number}")
    await tenants.of("t0")
    await tenants.of("one-more")
    loader.asked.clear()
    await tenants.of("t0")
    await tenants.of("t1")
    assert loader.asked == ["t1"]


async def test_what_is_older_than_its_age_is_not_used_when_it_cannot_be_read_again() -> None:
    loader, now = Loader(), [0.0]
    tenants = TenantKeys(loader.load, 5, lambda: now[0])
    await tenants.of("acme")
    loader.down, now[0] = True, 6
    with pytest.raises(UnavailableError):
        await tenants.of("acme")


async def test_all_keys_that_are_needed_are_looked_for_in_one_reading() -> None:
    loader = Loader()
    tenants = TenantKeys(loader.load, 5)
    await tenants.of("acme")
    loader.newest = 3
    found = await tenants.of("acme", "k-2", "k-3", *(f"never-{number}" for number in range(50)))
    assert set(found.keys) == {"k-1", "k-2", "k-3"}
    assert len(loader.asked) == 2
