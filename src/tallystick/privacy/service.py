"""The keys of every tenant that is at work in this process: asked for once, shared, dropped when old."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Final, NamedTuple, TypeAlias

from tallystick.privacy.sealing import DataKeys

MAX_TENANTS: Final = 1_000
"""Tenants whose keys a process holds; the least used are dropped."""

LoadKeys: TypeAlias = Callable[[str], Coroutine[None, None, DataKeys]]


class _Held(NamedTuple):
    keys: DataKeys
    since: float


class TenantKeys:
    """Gives each tenant's keys, making them on first need.

    Args:
        load: Reads or makes the keys of a tenant.
        max_age: Seconds for which what was read is used, so that a rotation or an erasure holds soon after everywhere.
        clock: Monotonic seconds.
    """

    def __init__(self, load: LoadKeys, max_age: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._load = load
        self._max_age = max_age
        self._clock = clock
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._loading: dict[str, asyncio.Task[DataKeys]] = {}

    async def of(self, tenant_id: str, *key_ids: str) -> DataKeys:
        """The keys of a tenant that there is. Callers who wait for the same tenant share one reading.

        Args:
            tenant_id: Which.
            key_ids: Data keys that are needed. Another process may have made one just now, so they are looked for
                before what is held is said to be all.

        Raises:
            UnavailableError: They are not held, and the database or the master key's holder does not answer.
        """
        held = self._held.get(tenant_id)
        fresh = held is not None and self._clock() - held.since <= self._max_age
        if held is not None and fresh and held.keys.keys.keys() >= set(key_ids):
            self._held.move_to_end(tenant_id)
            return held.keys
        joined = self._loading.get(tenant_id)
        # One who waits may hang up; the others still want the answer.
        keys = await asyncio.shield(joined or self._begin(tenant_id))
        if joined is not None and not keys.keys.keys() >= set(key_ids):
            # What was joined may have begun before one of them was made.
            keys = await asyncio.shield(self._begin(tenant_id))
        return keys

    def forget(self, tenant_id: str) -> None:
        """Read a tenant's keys anew when they are next asked for, also where they are being read now."""
        self._held.pop(tenant_id, None)
        self._loading.pop(tenant_id, None)

    def _begin(self, tenant_id: str) -> "asyncio.Task[DataKeys]":
        task = self._loading[tenant_id] = asyncio.create_task(self._load(tenant_id))
        asked_at = self._clock()
        task.add_done_callback(lambda ended: self._loaded(tenant_id, ended, asked_at))
        return task

    def _loaded(self, tenant_id: str, task: "asyncio.Task[DataKeys]", asked_at: float) -> None:
        failed = task.cancelled() or task.exception() is not None  # told to those who wait, if anybody still does
        if self._loading.get(tenant_id) is not task:
            return  # it was forgotten meanwhile, or begun again
        del self._loading[tenant_id]
        if failed:
            return
        self._held[tenant_id] = _Held(task.result(), asked_at)
        self._held.move_to_end(tenant_id)
        if len(self._held) > MAX_TENANTS:
            self._held.popitem(last=False)
