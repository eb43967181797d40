"""Makes what tests need: each function gives a valid thing, and its arguments change what the test is about."""

import itertools
from collections.abc import Sequence
from typing import Any

import asyncpg

from tallystick.auth.keys import SigningKeys
from tallystick.log.lanes import Append, Stored
from tallystick.log.model import Author, Clock, PreparedEvent, form_event, validate_event
from tallystick.log.retries import Digests
from tallystick.settings import EventSettings

_counter = itertools.count(1)

NOW_US = 1_795_540_896_123_456
"""2026-11-24T17:21:36.123456Z in Unix microseconds."""

AUTHOR = Author(issuer="tallystick", subject="factory")


def unique(prefix: str) -> str:
    """A name that no other call in this process gives."""
    return f"{prefix}-{next(_counter)}"


def event(**changes: Any) -> dict[str, Any]:
    """An event as a client sends it; a change to None takes the field away."""
    fields: dict[str, Any] = {
        "action": "invoice.approve",
        "resource_type": "invoice",
        "resource_id": unique("inv"),
        "user_id": "ada@example.com",
        **changes,
    }
    return {name: value for name, value in fields.items() if value is not None}


def prepared(*, tenant_id: str = "acme", now_us: int = NOW_US, **changes: Any) -> PreparedEvent:
    """An event ready for the writer."""
    clock = Clock(now_us, None, 300_000_000)
    fields, occurred_us = validate_event(event(**changes), EventSettings(), clock)
    return form_event(fields, occurred_us, tenant_id=tenant_id, author=AUTHOR)


def append(log_id: int, *events: PreparedEvent, **changes: Any) -> Append:
    """A request to the writer; must be made while a loop runs."""
    return Append(log_id, events or (prepared(),), render, **changes)


def render(stored: Sequence[Stored | None]) -> bytes:
    """An answer: the events', one a line."""
    return b"\n".join(b"null" if place is None else place.answer() for place in stored)


def digests() -> Digests:
    """Retry digests with a made-up key."""
    return Digests(SigningKeys("k1", {"k1": b"a secret of thirty-two bytes ...."}))


async def make_log(
    owner: "asyncpg.Connection[asyncpg.Record]", tenant_id: str | None = None, name: str = "events"
) -> int:
    """Make a log, and its tenant where there is none; returns the log's id."""
    tenant_id = tenant_id or unique("tenant")
    await owner.execute("insert into tallystick.tenants (id, name) values ($1, $1) on conflict do nothing", tenant_id)
    return await owner.fetchval(
        "insert into tallystick.logs (tenant_id, name) values ($1, $2) returning id", tenant_id, name
    )


def scattered(count: int) -> list[dict[str, Any]]:
    """Events whose order of occurrence is not that of their arrival, some at the same moment."""
    return [
        event(
            action=f"a{n % 5}",
            timestamp=f"2026-11-27T10:{n * 7 % 60:02}:{n % 3:02}Z",
            message=f"Line {n}\nwith a break, “quotes” and \\",
            user_id=("nora", "eve")[n % 2],
            metadata={"n": n, "parity": ("even", "odd")[n % 2]},
        )
        for n in range(count)
    ]
