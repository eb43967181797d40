"""Removes what lies in the object store and belongs to nobody: objects, and uploads that nobody will finish."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Final, TypeAlias

from tallystick.objects.store import Objects

_AT_ONCE: Final = 1_000

FindStrays: TypeAlias = Callable[[Mapping[str, str]], Awaitable[Sequence[str]]]
"""Tells which keys, each with the job that wrote it, belong to nobody."""


async def remove_strays(objects: Objects, folder: str, pattern: re.Pattern[str], find: FindStrays) -> int:
    """Remove them from a folder of every tenant; returns how many. A key of another form is left alone.

    Args:
        objects: The store.
        folder: Its name below `tenants/<tenant>`.
        pattern: The form of its keys; the first group is the id of the job that wrote it.
        find: Asked about some keys at a time.

    Raises:
        ObjectsDownError: The store does not answer.
        UnavailableError: As `find` does.
    """

    async def strays(keys: Sequence[str]) -> list[str]:
        owners = [(key, match[1]) for key in keys if (match := pattern.fullmatch(key))]
        parts = [owners[start : start + _AT_ONCE] for start in range(0, len(owners), _AT_ONCE)]
        return [key for part in parts for key in await find(dict(part))]

    unfinished = await strays(await objects.unfinished("tenants"))
    for key in unfinished:
        await objects.abort(key)
    removed = len(unfinished)
    for tenant in await objects.folders("tenants"):
        async with aclosing(objects.keys(f"{tenant}/{folder}")) as found:
            keys = [key async for key in found]
        ours = await strays(keys)
        await objects.delete(ours)
        removed += len(ours)
    return removed
