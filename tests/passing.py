"""Lets days pass: all that has happened is moved that far into the past."""

from typing import Final

import asyncpg

from stored_events import Connection

_TRIES: Final = 10

_MOVED = {
    "events": ("received_at", "occurred_at"),
    "jobs": ("created_at", "started_at", "finished_at", "leased_until"),
    "exports": ("expires_at", "kept_until", "deleted_at", "removed_at"),
    "offboardings": ("asked_at", "removal_at", "begun_at", "exports_until"),
    "rollups": ("received_day",),
    "facet_parts": ("received_day",),
    "facet_spans": ("received_day",),
    "rolled_spans": ("received_day",),
    "cursors": ("received_at",),
}


async def pass_days(owner: Connection, days: int) -> None:
    """Let so many days pass. There must be partitions for what happened then: see `stored_events.partitions_back`."""
    for attempt in range(1, _TRIES + 1):
        try:
            await _move(owner, days)
        except asyncpg.DeadlockDetectedError:  # who works meanwhile takes its locks in another order
            if attempt == _TRIES:
                raise
        else:
            return


async def _move(owner: Connection, days: int) -> None:
    async with owner.transaction():
        for table, columns in _MOVED.items():
            changes = ", ".join(f"{name} = {name} - make_interval(days => $1)" for name in columns)
            await owner.execute(f"update tallystick.{table} set {changes}", days)  # noqa: S608  # our names
