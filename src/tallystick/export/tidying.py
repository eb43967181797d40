"""Removes from the object store what no export needs: expired, deleted, left by a crash, or known to nobody."""

import re
from collections.abc import Mapping
from typing import Final

from tallystick.database.pools import Database
from tallystick.export import queries
from tallystick.export.jobs import remove_objects
from tallystick.objects.store import Objects
from tallystick.objects.strays import remove_strays

TIDY_SECONDS: Final = 60.0
"""Seconds between two looks for exports whose time is over."""

_REMEMBERED_DAYS: Final = 30
"""How long it is known of a removed export that there was one."""

_KEY: Final = re.compile(r"tenants/[^/]+/exports/([0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12})/[^/]+")


async def remove_ended(database: Database, objects: Objects) -> int:
    """Remove the objects of exports that expired, were deleted, or came to nothing; returns how many exports.

    Raises:
        DatabaseDownError: PostgreSQL does not answer.
        ObjectsDownError: The store does not answer.
    """
    async with database.worker_session() as connection:
        ended = await queries.find_removable(connection)
    for export in ended:
        await remove_objects(objects, export.folder)
        async with database.worker_session() as connection:
            await queries.mark_removed(connection, export.id)
    async with database.worker_session() as connection:
        await queries.forget_exports(connection, _REMEMBERED_DAYS)
    return len(ended)


async def remove_stray_exports(database: Database, objects: Objects) -> int:
    """Remove the objects and uploads that are no export's; returns how many.

    Raises:
        DatabaseDownError: PostgreSQL does not answer.
        ObjectsDownError: The store does not answer.
    """

    async def find(owners: Mapping[str, str]) -> list[str]:
        """Which are of no export that has the object or is still being written."""
        async with database.worker_session() as connection:
            exports = await queries.find_exports(connection, list(set(owners.values())))
        strays: list[str] = []
        for key, export_id in owners.items():
            export = exports.get(export_id)
            if export is None or (export.key != key and export.state.ended):
                strays.append(key)
        return strays

    return await remove_strays(objects, "exports", _KEY, find)
