"""What access logs hold, read past the API: to look at them must leave nothing in them."""

import asyncio
from typing import Any

import orjson

from conftest import Connection

DEADLINE = 20.0


async def recorded(owner: Connection, tenant_id: str = "acme", *, phase: str | None = None) -> list[dict[str, Any]]:
    """The events of a tenant's access log, in the order of their seqs."""
    rows = await owner.fetch(
        "select e.body from tallystick.events e join tallystick.logs l on l.id = e.log_id"
        " where l.tenant_id = $1 and l.name = 'access' order by e.seq",
        tenant_id,
    )
    events = [orjson.loads(row["body"]) for row in rows]
    return [each for each in events if phase is None or each["metadata"]["phase"] == phase]


async def awaited(owner: Connection, phase: str, count: int, tenant_id: str = "acme") -> list[dict[str, Any]]:
    """The events of a phase in a tenant's access log, once there are so many: no answer waits for outcomes."""
    async with asyncio.timeout(DEADLINE):
        while len(found := await recorded(owner, tenant_id, phase=phase)) < count:  # noqa: ASYNC110 - of the database
            await asyncio.sleep(0.02)
    assert len(found) == count
    return found


async def outcomes(owner: Connection, count: int, tenant_id: str = "acme") -> list[dict[str, Any]]:
    """The outcomes in a tenant's access log, once there are so many."""
    return await awaited(owner, "outcome", count, tenant_id)
