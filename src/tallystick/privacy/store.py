"""The keys of tenants where they are kept: read and unwrapped, or made, wrapped and stored on first need."""

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, NamedTuple

import structlog

from tallystick.database.pools import Database
from tallystick.errors import GoneError, KeysDownError
from tallystick.ports import KeyRing, MasterKeyLostError, Wrapped
from tallystick.privacy import queries
from tallystick.privacy.queries import DataKey, Purpose, context_of
from tallystick.privacy.sealing import KEY_BYTES, DataKeys

_log = structlog.get_logger("tallystick.keys")

_AT_ONCE: Final = 16
"""Keys that the ring unwraps at once for a process: a burst of tenants must not bring it to its limit."""

_MOST_HELD: Final = 10_000
"""Unwrapped keys that a process holds; those unwrapped longest ago are dropped."""

_DOWN_SECONDS: Final = 1.0
"""So long after it did not answer for a master key, the ring is not asked again for that one: those who wait for it
would be ever more. For others it is: a key that is disabled alone is no reason to let other tenants wait."""

_LOST: Final = "see the runbook on lost keys (docs/runbooks/lost-keys.md)"


class _Unwrapped(NamedTuple):
    wrapped: Wrapped
    key: bytes
    since: float


class DataKeyStore:
    """Loads and makes the keys of tenants for one process.

    No connection to the database is held while the ring is asked, so that a slow one keeps nobody else waiting.

    Args:
        database: Where wrapped keys are.
        ring: What unwraps them.
        cache: Seconds for which an unwrapped key is used while its row is as it was.
        clock: Monotonic seconds.
    """

    def __init__(
        self, database: Database, ring: KeyRing, cache: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._database = database
        self._ring = ring
        self._cache = cache
        self._clock = clock
        self._unwrapped: OrderedDict[tuple[str, str], _Unwrapped] = OrderedDict()
        self._asking = asyncio.Semaphore(_AT_ONCE)
        self._down_until: dict[str, float] = {}

    async def load(self, tenant_id: str) -> DataKeys:
        """Read the keys of a tenant, making those that it has not.

        Raises:
            KeysDownError: The ring does not answer, or does not hold the master key of the tenant's active keys.
            GoneError: They were erased, with all else of the tenant.
            DatabaseDownError: PostgreSQL does not answer.
        """
        rows = await queries.find_keys(self._database, tenant_id)
        if missing := set(Purpose) - {row.purpose for row in rows if row.active}:
            await self._make(tenant_id, missing)
            rows = await queries.find_keys(self._database, tenant_id)
            if set(Purpose) - {row.purpose for row in rows if row.active}:
                raise GoneError(f"the keys of the tenant {tenant_id} were erased: what they sealed cannot be read")
        wanted = [row for row in rows if row.active or row.purpose is Purpose.DATA]
        opened = await asyncio.gather(*map(self._open, wanted))
        keys = {row.key_id: key for row, key in zip(wanted, opened, strict=True) if key is not None}
        active = {row.purpose: row.key_id for row in wanted if row.active}
        digest_key = keys.pop(active[Purpose.DIGEST])
        return DataKeys(tenant_id, active[Purpose.DATA], keys, digest_key)

    async def _open(self, row: DataKey) -> bytes | None:
        """Unwrap a key; None for a retired one that cannot be, now or later."""
        held = self._unwrapped.get((row.tenant_id, row.key_id))
        if held is not None and held.wrapped == row.wrapped and self._clock() - held.since <= self._cache:
            return held.key
        async with self._asking:
            asked_at = self._clock()
            if asked_at < self._down_until.get(row.wrapped.master_key_id, asked_at):
                raise KeysDownError("the keys could not be reached a moment ago: try again", retry_after=2)
            try:
                key = await self._ring.unwrap(row.wrapped, row.context)
            except KeysDownError:
                self._down_until[row.wrapped.master_key_id] = self._clock() + _DOWN_SECONDS
                raise
            except MasterKeyLostError as error:
                _log.warning("data_key_lost", tenant=row.tenant_id, key=row.key_id, reason=str(error))
                if row.active:
                    raise KeysDownError(
                        f"the tenant's key {row.key_id} cannot be unwrapped: {_LOST}", retry_after=60
                    ) from error
                return None
        self._unwrapped[row.tenant_id, row.key_id] = _Unwrapped(row.wrapped, key, asked_at)
        self._unwrapped.move_to_end((row.tenant_id, row.key_id))
        if len(self._unwrapped) > _MOST_HELD:
            self._unwrapped.popitem(last=False)
        return key

    async def _make(self, tenant_id: str, purposes: set[Purpose]) -> None:
        await self._prove()
        for purpose in sorted(purposes):
            key_id, wrapped = await new_key(self._ring, tenant_id, purpose)
            if await queries.insert_first(self._database, tenant_id, key_id, purpose, wrapped):
                _log.info("data_key_made", tenant=tenant_id, key=key_id, purpose=purpose.value)

    async def _prove(self) -> None:
        """Make no key by a ring that does not open what others made: its file was lost, or is another host's own."""
        newest = await queries.newest_key(self._database)
        if newest is None:
            return
        try:
            await self._ring.unwrap(newest.wrapped, newest.context)
        except MasterKeyLostError as error:
            raise KeysDownError(
                f"the master key {newest.wrapped.master_key_id} is not held here, so no keys are made: {_LOST}",
                retry_after=60,
            ) from error


async def new_key(ring: KeyRing, tenant_id: str, purpose: Purpose) -> tuple[str, Wrapped]:
    """Make a key; gives its id, and it as it is to be stored.

    Raises:
        KeysDownError: The ring does not answer.
    """
    key_id = f"{datetime.now(UTC):%Y%m%d}-{secrets.token_hex(4)}"
    return key_id, await ring.wrap(secrets.token_bytes(KEY_BYTES), context_of(tenant_id, key_id, purpose))
