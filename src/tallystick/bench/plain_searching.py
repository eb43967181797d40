"""The questions of a search asked of the plain application, over a copy of the same events on the same server."""

import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode

import asyncpg
import orjson

from tallystick.bench.baseline import running_baseline
from tallystick.bench.instance import Instance
from tallystick.bench.questions import PAGE, Question
from tallystick.bench.report import Say
from tallystick.bench.requests import Request, get
from tallystick.bench.usage import Groups
from tallystick.errors import ConfigurationError

MOST_EVENTS: Final = 3_000_000
"""Of more a copy would take all day."""

_DATABASE: Final = "tallystick_bench_search_baseline"
_CHUNK: Final = 5_000
_COLUMNS: Final = (
    *("id", "tenant_id", "user_id", "session_id", "action", "resource_type", "resource_id", "occurred_at"),
    *("received_at", "ip_address", "user_agent", "before", "after", "metadata", "severity", "message"),
)


@dataclass(frozen=True, slots=True)
class Plain:
    """The plain application with the events of the log.

    Attributes:
        url: Where it answers.
        groups: Finds its processes.
    """

    url: str
    groups: Callable[[], Groups]

    def form(self, question: Question) -> Request:
        """Ask it."""
        target = f"/api/v1/logs?{urlencode({**question.plain_parameters(), 'limit': PAGE})}"
        return get(self.url, target, None, question.kind)


@asynccontextmanager
async def plain(instance: Instance, say: Say) -> AsyncGenerator[Plain]:
    """Run the plain application over a copy of the log, made now where there is none yet; the copy is kept.

    Raises:
        ConfigurationError: There are too many events.
    """
    server = instance.postgres()
    admin = await asyncpg.connect(server.database("postgres"))
    try:
        if not await admin.fetchval("select exists (select from pg_database where datname = $1)", _DATABASE):
            await admin.execute(f'create database "{_DATABASE}"')
    finally:
        await admin.close()
    url = server.database(_DATABASE)
    with running_baseline(url) as (application, pid):  # makes its table
        say("copying the events to the plain application, unless that is done")
        await _fill(server.url, url)
        yield Plain(application, lambda: {"app": [pid], "postgres": instance.groups()["postgres"]})


async def _fill(source_url: str, target_url: str) -> None:
    source = await asyncpg.connect(source_url)
    target = await asyncpg.connect(target_url)
    try:
        events = await source.fetchval(
            "select sum(size) from tallystick.logs where name = 'events' and tenant_id like 'bench-%'"
        )
        if events > MOST_EVENTS:
            raise ConfigurationError(
                f"the plain application is measured with at most {MOST_EVENTS:,} events: fill another state directory"
                " with `tallystick bench load --events 2000000 --home DIR`"
            )
        if await target.fetchval("select exists (select from audit_logs)"):
            return
        await target.set_type_codec("jsonb", encoder=_jsonb, decoder=bytes, schema="pg_catalog", format="binary")
        async with source.transaction(), target.transaction():
            rows = source.cursor(
                "select event.body from tallystick.events event join tallystick.logs log on log.id = event.log_id"
                " where log.name = 'events' and log.tenant_id like 'bench-%'",
                prefetch=_CHUNK,
            )
            chunk: list[tuple[Any, ...]] = []
            async for row in rows:
                chunk.append(_row(orjson.loads(row["body"])))
                if len(chunk) == _CHUNK:
                    await target.copy_records_to_table("audit_logs", records=chunk, columns=_COLUMNS)
                    chunk.clear()
            await target.copy_records_to_table("audit_logs", records=chunk, columns=_COLUMNS)
        await target.execute("vacuum analyze audit_logs", timeout=1800)
    finally:
        await source.close()
        await target.close()


def _jsonb(value: object) -> bytes:
    """JSON as PostgreSQL sends and takes it in binary: version 1, then the text."""
    return b"\x01" + orjson.dumps(value)


def _row(event: dict[str, Any]) -> tuple[Any, ...]:
    changed = {
        "id": uuid.UUID(event["id"]),
        "occurred_at": datetime.fromisoformat(event["timestamp"]),
        "received_at": datetime.fromisoformat(event["received_at"]),
    }
    return tuple(changed.get(column, event.get(column)) for column in _COLUMNS)
