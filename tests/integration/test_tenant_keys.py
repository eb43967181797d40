"""The keys of tenants: made once whoever asks first, rotated under load, and missed by nobody who needs none."""

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path

import pytest
import pytest_asyncio

from conftest import Connection
from doors import open_door
from factories import event
from sealed_events import append_sealed
from tallystick.auth.keys import KeyKind, SigningKeys, load_or_create
from tallystick.auth.keys import rotate as rotate_file
from tallystick.database.pools import Database
from tallystick.errors import KeysDownError, NotFoundError
from tallystick.ports import KeyRing, Wrapped
from tallystick.privacy.local import LocalKeyRing
from tallystick.privacy.queries import Purpose, find_keys
from tallystick.privacy.rotation import master_states, pending, rewrap_all, rotate
from tallystick.privacy.sealing import UnsealError
from tallystick.privacy.service import TenantKeys
from tallystick.privacy.store import DataKeyStore
from tallystick.settings import KeySettings, Settings

SALT = bytes(12)
PLACE = "/metadata/card"


class Ring:
    """A local ring that counts what is asked of it, and can be down or slow."""

    def __init__(self, keys: SigningKeys) -> None:
        self._ring = LocalKeyRing(keys)
        self.unwrapped = 0
        self.down = False
        self.disabled: str | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def active_id(self) -> str:
        return await self._ring.active_id()

    async def wrap(self, key: bytes, context: Mapping[str, str]) -> Wrapped:
        self._refuse()
        return await self._ring.wrap(key, context)

    async def unwrap(self, wrapped: Wrapped, context: Mapping[str, str]) -> bytes:
        self.unwrapped += 1
        self._refuse()
        if wrapped.master_key_id == self.disabled:
            raise KeysDownError("disabled")
        await self.gate.wait()
        return await self._ring.unwrap(wrapped, context)

    async def rewrap(self, wrapped: Wrapped, context: Mapping[str, str]) -> Wrapped:
        self._refuse()
        return await self._ring.rewrap(wrapped, context)

    def _refuse(self) -> None:
        if self.down:
            raise KeysDownError("down")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    load_or_create(tmp_path / "keys")
    return tmp_path / "keys"


@pytest.fixture
def ring(folder: Path) -> Ring:
    return Ring(load_or_create(folder).master)


@pytest_asyncio.fixture(autouse=True)
async def tenants(owner: Connection) -> AsyncGenerator[None]:
    for tenant_id in ("acme", "other"):
        await owner.execute("insert into tallystick.tenants (id, name, version) values ($1, $1, 1)", tenant_id)
    yield


def unheard(_done: int, _total: int) -> None:
    """Progress that nobody looks at."""


def keys_of(database: Database, ring: KeyRing, **ages: float) -> TenantKeys:
    return TenantKeys(DataKeyStore(database, ring, ages.get("cache", 300)).load, ages.get("max_age", 5))


async def test_keys_are_made_on_first_need_and_the_same_afterwards(database: Database, ring: Ring) -> None:
    first = await keys_of(database, ring).of("acme")
    again = await keys_of(database, ring).of("acme")
    assert (first.active_id, dict(first.keys)) == (again.active_id, dict(again.keys))
    assert first.digest("x") == again.digest("x")
    other = await keys_of(database, ring).of("other")
    assert other.keys.values() != first.keys.values()
    assert other.digest("x") != first.digest("x")
    stored = await find_keys(database, "acme")
    assert sorted(key.purpose for key in stored) == [Purpose.DATA, Purpose.DIGEST]


async def test_those_who_make_the_first_key_at_once_have_the_same(database: Database, folder: Path) -> None:
    """Each with a cache and a ring of its own, as processes have."""
    holders = [keys_of(database, Ring(load_or_create(folder).master)) for _ in range(10)]
    made = await asyncio.gather(*(holder.of("acme") for holder in holders))
    assert len({keys.active_id for keys in made}) == 1
    assert len({keys.digest("x") for keys in made}) == 1
    assert len(await find_keys(database, "acme")) == 2


RACE = """
import asyncio
from tallystick.auth.keys import load_or_create
from tallystick.bootstrap.adapters import tenant_keys
from tallystick.database.pools import Database
from tallystick.settings import KeySettings, Settings

async def run():
    settings = Settings()
    async with Database.from_settings(settings.database) as database:
        async with tenant_keys(settings, database, load_or_create(settings.key_folder)) as keys:
            held = await keys.of("acme")
            print(held.active_id, held.digest("x"))

asyncio.run(run())
"""


async def test_processes_that_make_the_master_key_and_the_first_key_at_once_agree(
    settings: Settings, database: Database
) -> None:
    url = settings.database.url
    assert url is not None
    environment = {
        **os.environ,
        "TALLYSTICK_DATABASE__URL": url.get_secret_value(),
        "TALLYSTICK_HOME": str(settings.home / "raced"),
    }
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", RACE, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        for _ in range(3)
    ]
    said = await asyncio.gather(*(process.communicate() for process in processes))
    held = {out.decode().splitlines()[-1] for out, _ in said if out}
    assert len(held) == 1, said
    assert " hmac:" in held.pop()
    assert len(await find_keys(database, "acme")) == 2


async def test_a_key_is_unwrapped_once_for_all_who_wait_and_not_again_while_it_is_as_it_was(
    database: Database, ring: Ring
) -> None:
    await keys_of(database, ring).of("acme")
    ring.unwrapped = 0
    keys = keys_of(database, ring, max_age=0)
    await asyncio.gather(*(keys.of("acme") for _ in range(50)))
    assert ring.unwrapped == 2
    await keys.of("acme")
    assert ring.unwrapped == 2


async def test_a_ring_that_is_down_is_told_to_who_needs_it_and_asked_again_soon(database: Database, ring: Ring) -> None:
    now = [0.0]
    await keys_of(database, ring).of("acme")
    store = DataKeyStore(database, ring, 300, lambda: now[0])
    ring.down, ring.unwrapped = True, 0
    for _ in range(5):
        with pytest.raises(KeysDownError) as caught:
            await store.load("acme")
        assert caught.value.retry_after
    assert ring.unwrapped <= 2
    ring.down, now[0] = False, 1.5
    assert (await store.load("acme")).tenant_id == "acme"
    ring.down = True
    assert (await store.load("acme")).tenant_id == "acme"
    now[0] = 400
    with pytest.raises(KeysDownError):
        await store.load("acme")


async def test_a_master_key_that_is_disabled_keeps_only_those_waiting_whom_it_wraps(
    database: Database, ring: Ring, folder: Path
) -> None:
    await keys_of(database, ring).of("acme")
    former = await ring.active_id()
    rotate_file(folder, KeyKind.MASTER)
    await keys_of(database, ring).of("other")
    store = DataKeyStore(database, ring, 300, lambda: 0.0)
    ring.disabled = former
    with pytest.raises(KeysDownError):
        await store.load("acme")
    assert (await store.load("other")).tenant_id == "other"


async def test_a_slow_ring_holds_no_connection(database: Database, ring: Ring) -> None:
    await keys_of(database, ring).of("acme")
    ring.gate.clear()
    keys = [keys_of(database, ring) for _ in range(20)]
    waiting = [asyncio.create_task(each.of("acme")) for each in keys]
    async with asyncio.timeout(20):
        while ring.unwrapped < 20:  # noqa: ASYNC110  # the ring says nothing when it is asked
            await asyncio.sleep(0.01)
        assert len(await database.control_fetch("select 1")) == 1
    ring.gate.set()
    assert len(await asyncio.gather(*waiting)) == 20


async def test_a_process_with_a_master_key_of_its_own_makes_no_keys(
    database: Database, ring: Ring, tmp_path: Path
) -> None:
    await keys_of(database, ring).of("acme")
    stranger = Ring(load_or_create(tmp_path / "another").master)
    with pytest.raises(KeysDownError, match="not held here, so no keys are made"):
        await keys_of(database, stranger).of("other")
    assert await find_keys(database, "other") == []
    with pytest.raises(KeysDownError, match="cannot be unwrapped"):
        await keys_of(database, stranger).of("acme")
    (state,) = await master_states(database, stranger)
    assert (state.active, state.held) == (False, False)


async def test_after_a_rotation_new_values_are_sealed_by_the_new_key_and_old_ones_open(
    database: Database, ring: Ring
) -> None:
    before = await keys_of(database, ring).of("acme")
    sealed, digest = before.seal("4111", SALT, PLACE), before.digest("4111")
    key_id = await rotate(database, ring, "acme", Purpose.DATA)
    after = await keys_of(database, ring).of("acme")
    assert after.active_id == key_id != before.active_id
    assert after.unseal(sealed, SALT, PLACE) == "4111"
    assert after.digest("4111") == digest
    assert set(after.keys) == {before.active_id, key_id}
    with pytest.raises(UnsealError, match="unknown_key"):
        before.unseal(after.seal("4111", SALT, PLACE), SALT, PLACE)


async def test_a_key_of_another_process_is_looked_for_before_it_is_said_to_be_gone(
    database: Database, ring: Ring
) -> None:
    keys = keys_of(database, ring, max_age=1_000)
    held = await keys.of("acme")
    key_id = await rotate(database, ring, "acme", Purpose.DATA)
    assert (await keys.of("acme")) is held
    assert key_id in (await keys.of("acme", key_id)).keys


async def test_a_new_digest_key_makes_other_digests(database: Database, ring: Ring) -> None:
    before = (await keys_of(database, ring).of("acme")).digest("4111")
    await rotate(database, ring, "acme", Purpose.DIGEST)
    assert (await keys_of(database, ring).of("acme")).digest("4111") != before


async def test_rotations_at_once_leave_one_active_key_each(database: Database, ring: Ring) -> None:
    made = await asyncio.gather(*(rotate(database, ring, "acme", Purpose.DATA) for _ in range(8)))
    stored = await find_keys(database, "acme")
    assert {key.key_id for key in stored} == set(made)
    assert len([key for key in stored if key.active]) == 1


async def test_a_tenant_that_is_not_there_has_no_key_to_rotate(database: Database, ring: Ring) -> None:
    with pytest.raises(NotFoundError):
        await rotate(database, ring, "nobody", Purpose.DATA)


async def test_a_master_rotation_that_was_broken_off_goes_on_where_it_was(
    database: Database, ring: Ring, folder: Path
) -> None:
    before = [await keys_of(database, ring).of(tenant_id) for tenant_id in ("acme", "other")]
    rotate_file(folder, KeyKind.MASTER)

    class BrokenOffError(Exception):
        pass

    done: list[int] = []

    class Breaking(Ring):
        async def rewrap(self, wrapped: Wrapped, context: Mapping[str, str]) -> Wrapped:
            if len(done) == 3:
                raise BrokenOffError
            done.append(1)
            return await super().rewrap(wrapped, context)

    with pytest.raises(BrokenOffError):
        await rewrap_all(database, Breaking(load_or_create(folder).master), everything=False, report=unheard)
    assert await pending(database, ring) == 1
    reported: list[tuple[int, int]] = []

    def report(done: int, total: int) -> None:
        reported.append((done, total))

    rewrapped = await rewrap_all(database, ring, everything=False, report=report)
    assert (rewrapped.keys, rewrapped.lost) == (1, ())
    assert reported[-1] == (1, 1)
    assert await pending(database, ring) == 0
    again = await rewrap_all(database, ring, everything=False, report=unheard)
    assert again.keys == 0
    for keys in before:
        after = await keys_of(database, ring).of(keys.tenant_id)
        assert (after.active_id, dict(after.keys), after.digest("x")) == (
            keys.active_id,
            dict(keys.keys),
            keys.digest("x"),
        )
    (state,) = await master_states(database, ring)
    assert (state.active, state.held, state.use.keys, state.use.tenants) == (True, True, 4, 2)


async def test_everything_is_wrapped_anew_on_demand(database: Database, ring: Ring) -> None:
    await keys_of(database, ring).of("acme")
    before = {key.wrapped.content for key in await find_keys(database, "acme")}
    rewrapped = await rewrap_all(database, ring, everything=True, report=unheard)
    assert rewrapped.keys == 2
    assert before.isdisjoint({key.wrapped.content for key in await find_keys(database, "acme")})


async def test_a_key_whose_master_key_is_lost_is_told_and_the_rest_is_done(
    database: Database, ring: Ring, folder: Path, tmp_path: Path
) -> None:
    await keys_of(database, Ring(load_or_create(tmp_path / "lost").master)).of("acme")
    await rotate(database, ring, "other", Purpose.DATA)
    await rotate(database, ring, "other", Purpose.DIGEST)
    rotate_file(folder, KeyKind.MASTER)
    rewrapped = await rewrap_all(database, ring, everything=False, report=unheard)
    assert rewrapped.keys == 2
    assert {key.tenant_id for key in rewrapped.lost} == {"acme"}
    # What is lost is lost, but the tenant goes on with new keys.
    await rotate(database, ring, "acme", Purpose.DATA)
    await rotate(database, ring, "acme", Purpose.DIGEST)
    assert len((await keys_of(database, ring).of("acme")).keys) == 1


async def test_both_rotations_under_load_fail_no_request(settings: Settings, database: Database) -> None:

    async with open_door(settings) as door:
        await door.make_tenant("busy")
        ring = LocalKeyRing(door.services.keyring.master)
        await door.services.keys.of("busy")  # so that its first key is none of the rotations'
        over = asyncio.Event()
        revealed = 0

        async def work(number: int) -> None:
            nonlocal revealed
            while not over.is_set():
                event_id = await append_sealed(door, "busy", value=number)
                answer = await door.client.post(
                    f"/api/v1/logs/{event_id}/reveal",
                    params={"tenant_id": "busy"},
                    json={"reason": "load", "fields": [PLACE]},
                    headers=door.bearer("admin", "busy"),
                )
                assert answer.status_code == 200, answer.text
                assert answer.json()["fields"] == {PLACE: number}
                revealed += 1

        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            for number in range(4):
                group.create_task(work(number))
            for _ in range(5):
                seen = revealed
                await rotate(database, ring, "busy", Purpose.DATA)
                door.services.keys.forget("busy")
                rotate_file(settings.key_folder, KeyKind.MASTER)
                await rewrap_all(database, ring, everything=False, report=unheard)
                while revealed < seen + 8:  # noqa: ASYNC110  # work goes on between two rotations
                    await asyncio.sleep(0.005)
            over.set()
        keys = await door.services.keys.of("busy")
        assert len(keys.keys) == 6


async def test_while_the_keys_are_down_all_else_goes_on(settings: Settings) -> None:

    nowhere = KeySettings(kind="kms", key_id="x", endpoint="http://127.0.0.1:9", timeout=0.5)
    async with open_door(settings.model_copy(update={"keys": nowhere})) as door:
        await door.make_tenant("calm")
        headers = door.bearer("admin", "calm")
        refused = await door.client.post("/api/v1/exports", json={}, headers=headers)
        assert refused.status_code == 503
        assert refused.headers["retry-after"]
        assert refused.json()["type"].endswith("keys-down")
        stored = await door.client.post("/api/v1/logs", json=event(tenant_id="calm"), headers=headers)
        assert stored.status_code == 201
        assert (await door.client.get("/api/v1/logs", headers=headers)).status_code == 200
        assert (await door.client.get("/readyz")).status_code == 200
