"""Tells what each event of a page changed."""

from collections.abc import Iterable
from typing import cast

import orjson

from tallystick.history.model import Patch, change_of
from tallystick.log.turns import give_way


async def changes_of(items: Iterable[bytes]) -> tuple[Patch | None, ...]:
    """What each of some answered events changed; see `change_of`. Others run between one and the next."""
    changes: list[Patch | None] = []
    for item in items:
        changes.append(change_of(cast("dict[str, object]", orjson.loads(item))))
        await give_way()
    return tuple(changes)
