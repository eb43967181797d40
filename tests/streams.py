"""Watches streams, and stores what is to be seen on them."""

import asyncio
import json
from typing import Any, TypeAlias

from websockets.asyncio.client import ClientConnection

from appending import created, post
from conftest import Connection
from doors import LiveDoor
from factories import event

DEADLINE = 20.0

Frame: TypeAlias = dict[str, Any]


async def receive(stream: ClientConnection) -> Frame:
    async with asyncio.timeout(DEADLINE):
        return json.loads(await stream.recv())


async def first(stream: ClientConnection) -> int:
    """The heartbeat that tells where a stream starts."""
    frame = await receive(stream)
    assert frame["type"] == "heartbeat"
    return frame["seq"]


async def items(stream: ClientConnection, count: int) -> list[Frame]:
    """So many events; a frame tells the seq up to which all was sent."""
    found: list[Frame] = []
    while len(found) < count:
        frame = await receive(stream)
        if frame["type"] == "events":
            found += frame["items"]
            assert frame["seq"] >= found[-1]["seq"]
    assert len(found) == count
    return found


async def ended(stream: ClientConnection) -> tuple[int, str]:
    """How a stream was closed."""
    async with asyncio.timeout(DEADLINE):
        await stream.wait_closed()
    assert stream.close_code is not None
    return stream.close_code, stream.close_reason or ""


async def append(live: LiveDoor, count: int = 1, **changes: Any) -> list[str]:
    """Store events one after the other; returns their ids."""
    return [created(await post(live.door, event(**changes)))["id"] for _ in range(count)]


async def log_of(owner: Connection, tenant_id: str = "acme") -> int:
    return await owner.fetchval("select id from tallystick.logs where tenant_id = $1 and name = 'events'", tenant_id)
