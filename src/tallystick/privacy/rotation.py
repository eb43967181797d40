"""New keys in the place of old ones, and which key wraps what: what `tallystick keys` does."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from tallystick.database.pools import Database
from tallystick.errors import NotFoundError
from tallystick.ports import KeyRing, MasterKeyLostError
from tallystick.privacy import queries
from tallystick.privacy.queries import DataKey, MasterUse, Purpose
from tallystick.privacy.store import new_key

_BATCH: Final = 100


@dataclass(frozen=True, slots=True)
class Rewrapped:
    """What wrapping anew came to.

    Attributes:
        master_key_id: What wraps now.
        keys: How many keys were wrapped anew.
        lost: Those that could not be, since their master key is not held.
    """

    master_key_id: str
    keys: int
    lost: tuple[DataKey, ...]


@dataclass(frozen=True, slots=True)
class MasterState:
    """A master key that wraps something.

    Attributes:
        use: What it wraps.
        active: New keys are wrapped by it.
        held: The ring opens what it wraps.
    """

    use: MasterUse
    active: bool
    held: bool


async def rotate(database: Database, ring: KeyRing, tenant_id: str, purpose: Purpose) -> str:
    """Give a tenant a new key; returns its id. All processes use it within `auth.freshness` seconds.

    What was sealed by a former data key is opened by it as before. Digests of a former digest key are not found any
    more by those of the new one.

    Raises:
        NotFoundError: There is no such tenant.
        KeysDownError: The ring does not answer.
        DatabaseDownError: PostgreSQL does not answer.
    """
    key_id, wrapped = await new_key(ring, tenant_id, purpose)
    if not await queries.replace_active(database, tenant_id, key_id, purpose, wrapped):
        raise NotFoundError(f"there is no tenant `{tenant_id}`")
    return key_id


async def rewrap_all(
    database: Database, ring: KeyRing, *, everything: bool, report: Callable[[int, int], None]
) -> Rewrapped:
    """Wrap by the active master key whatever another wraps.

    It may be broken off anywhere and run again, also by two at once. Processes go on meanwhile: what they hold stays
    right, and what they read can be unwrapped by either key.

    Args:
        database: Where the keys are.
        ring: Holds the former master keys, too.
        everything: Also what the active master key wraps already: after KMS rotated its material.
        report: Told now and then how many keys are done, and how many there are to do.

    Raises:
        KeysDownError: The ring does not answer; what was done is done.
        DatabaseDownError: PostgreSQL does not answer; likewise.
    """
    active = await ring.active_id()
    before = await queries.now(database) if everything else None
    total = await queries.count_wrapped_otherwise(database, active, before)
    done, ended = 0, False
    lost: list[DataKey] = []
    while not ended:
        # Once more after a round that found something: a process that did not know the new master key yet may have
        # made a key behind it.
        ended, after = True, ("", "")
        lost.clear()
        while batch := await queries.find_wrapped_otherwise(database, active, before, after, _BATCH):
            for key in batch:
                try:
                    await queries.rewrap(database, key, await ring.rewrap(key.wrapped, key.context))
                except MasterKeyLostError:
                    lost.append(key)
                else:
                    done, ended = done + 1, False
            after = batch[-1].tenant_id, batch[-1].key_id
            report(done, max(total, done + len(lost)))
    return Rewrapped(active, done, tuple(lost))


async def pending(database: Database, ring: KeyRing) -> int:
    """How many keys another master key wraps than the active one: a rotation was begun and is not at its end.

    Raises:
        KeysDownError: The ring does not answer.
        DatabaseDownError: PostgreSQL does not answer.
    """
    return await queries.count_wrapped_otherwise(database, await ring.active_id(), None)


async def master_states(database: Database, ring: KeyRing) -> Sequence[MasterState]:
    """The master keys that wrap something, and whether the ring opens the newest of what each wraps.

    Raises:
        KeysDownError: The ring does not answer.
        DatabaseDownError: PostgreSQL does not answer.
    """
    active = await ring.active_id()
    return [
        MasterState(use, use.master_key_id == active, await holds(ring, use.newest))
        for use in await queries.sum_up(database)
    ]


async def holds(ring: KeyRing, key: DataKey) -> bool:
    """Whether the ring opens a key.

    Raises:
        KeysDownError: The ring does not answer.
    """
    try:
        await ring.unwrap(key.wrapped, key.context)
    except MasterKeyLostError:
        return False
    return True
