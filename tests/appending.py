"""Appends events through the whole application, and looks at what was stored."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import asyncpg
import httpx
import orjson

from doors import Door

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


LOGS = "/api/v1/logs"


BULK = "/api/v1/logs/bulk"


async def post(
    door: Door, body: Any, path: str = LOGS, *, token: dict[str, str] | None = None, **headers: str
) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await send(door, path, content, {**(token or door.bearer()), **headers})


async def send(door: Door, path: str, content: bytes, headers: dict[str, str]) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    common = {"content-type": "application/json", **({} if "authorization" in headers else door.bearer())}
    return await door.client.post(path, content=content, headers={**common, **named})


async def append(door: Door, *events: Mapping[str, Any], token: dict[str, str] | None = None) -> None:
    """Store events of one tenant, any number, in their order."""
    for start in range(0, len(events), 10_000):
        answer = await bulk(door, events[start : start + 10_000], token=token)
        assert answer.status_code == 201, answer.text


async def bulk(door: Door, body: Any, *, skip: bool = False, **headers: Any) -> httpx.Response:
    return await post(door, body, f"{BULK}?on_error=skip" if skip else BULK, **headers)


async def stored(owner: Connection, tenant_id: str = "acme") -> list[dict[str, Any]]:
    """The bodies of a tenant's events."""
    rows = await owner.fetch(
        "select seq, body from tallystick.events join tallystick.logs on logs.id = log_id"
        " where tenant_id = $1 and name = 'events' order by seq",
        tenant_id,
    )
    assert [row["seq"] for row in rows] == list(range(len(rows)))
    return [orjson.loads(row["body"]) for row in rows]


def created(response: httpx.Response) -> dict[str, Any]:
    assert response.status_code == 201, response.text
    assert response.headers["content-type"] == "application/json"
    return orjson.loads(response.content)


def flaws_of(response: httpx.Response, status: int) -> list[dict[str, Any]]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    return response.json().get("errors", [])


def at(**ago: float) -> str:
    return (datetime.now(UTC) - timedelta(**ago)).isoformat()
