"""Removes objects of leaf hashes that nothing refers to: their job was killed before it removed a first event."""

import re
from collections.abc import Mapping
from typing import Final

from tallystick.database.pools import Database
from tallystick.log.removal_queries import find_named
from tallystick.objects.store import Objects
from tallystick.objects.strays import remove_strays
from tallystick.retention.queries import jobs_ended

_KEY: Final = re.compile(r"tenants/[^/]+/leaves/[0-9]+/([0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12})/[0-9a-f]+")


async def remove_stray_leaves(database: Database, objects: Objects) -> int:
    """Remove them; returns how many.

    Raises:
        DatabaseDownError: PostgreSQL does not answer.
        ObjectsDownError: The store does not answer.
    """

    async def find(owners: Mapping[str, str]) -> list[str]:
        async with database.worker_session() as connection:
            # The end of a job comes first: no row is written after it.
            ended = await jobs_ended(connection, sorted(set(owners.values())))
            named = await find_named(connection, list(owners))
        return [key for key, job_id in owners.items() if job_id in ended and key not in named]

    return await remove_strays(objects, "leaves", _KEY, find)
