"""`/healthz`: is the process alive; `/readyz`: may it be sent requests, and if not, why; `/metrics`."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from datetime import MAXYEAR, MINYEAR, UTC, datetime
from typing import Any

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from tallystick.api.backlog import Backlog
from tallystick.api.problems import problem_response
from tallystick.auth.model import Principal
from tallystick.auth.operations import PUBLIC
from tallystick.auth.routing import performs
from tallystick.bootstrap.adapters import FOLLOWERS
from tallystick.bootstrap.services import Services
from tallystick.database.migrate import migrations, schema_version
from tallystick.database.partitions import PROMISED_DAYS, READY_DAYS, RETRY_KEY_PROMISED_DAYS, partitions_until
from tallystick.errors import UnavailableError
from tallystick.runtime.metrics import render

CHECK_TIMEOUT = 3.0
"""Seconds a check may take."""

REMEMBERED = 1.0
"""Seconds for which an answer is given again: whoever asks often costs the database nothing."""

FULL = 0.95
"""How full the writer's queue may be."""

LATE = 60.0
"""Seconds after which an event that a follower has not handled is worth a warning."""

_NOBODY = Principal("", "", "", None, 0, 0, frozenset(), everywhere=False, default_tenant=None, roles=None)

_STATUS: dict[str, Any] = {
    "type": "object",
    "required": ["status"],
    "properties": {"status": {"type": "string", "description": "Always `alive`."}},
}

_REPORT: dict[str, Any] = {
    "type": "object",
    "required": ["status", "checks"],
    "properties": {
        "status": {"type": "string", "description": "`ready`, as every check is passed."},
        "checks": {
            "type": "array",
            "description": "Each thing that was looked at.",
            "items": {
                "type": "object",
                "required": ["name", "ok", "detail"],
                "properties": {
                    "name": {"type": "string", "description": "What was looked at."},
                    "ok": {"type": "boolean", "description": "Whether it lets the process serve."},
                    "detail": {"type": "string", "description": "What was found."},
                },
            },
        },
    },
}

_READY: dict[str, Any] = {
    "status": "ready",
    "checks": [
        {"name": "database", "ok": True, "detail": "answers"},
        {"name": "writer", "ok": True, "detail": "its queue is 3% full"},
        {"name": "rates", "ok": True, "detail": "the shared server counts"},
        {"name": "followers", "ok": True, "detail": "search: 1,204 events behind in 2 logs, 3 s"},
    ],
}

_EXPOSITION = """\
# HELP tallystick_appended_events_total Events stored.
# TYPE tallystick_appended_events_total counter
tallystick_appended_events_total 1204.0
"""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold for the process to serve.

    Attributes:
        detail: What was found; when `ok` is false, what to mend.
    """

    name: str
    ok: bool
    detail: str


class Readiness:
    """Looks whether this process can serve, at most once a second."""

    def __init__(self, services: Services, backlog: Backlog, clock: Callable[[], float] = time.monotonic) -> None:
        self._services = services
        self._backlog = backlog
        self._clock = clock
        self._needed_version = max(migration.version for migration in migrations(timescaledb=False))
        self._looking = asyncio.Lock()
        self._checks: list[Check] = []
        self._looked_at = float("-inf")

    async def look(self) -> list[Check]:
        """Every check, in a fixed order. That the process is shutting down is always told at once."""
        async with self._looking:
            if self._clock() - self._looked_at > REMEMBERED:
                self._checks = await asyncio.gather(
                    self._judge("database", self._database),
                    self._judge("log reader", self._log_reader),
                    self._judge("schema", self._schema),
                    self._judge("partitions", self._partitions),
                    self._judge("tenants", self._tenants),
                    self._judge("revocations", self._revocations),
                    self._judge("writer", self._writer),
                    self._judge("rates", self._services.rates.check, needed=False),
                    self._judge("followers", self._followers, needed=False),
                )
                self._looked_at = self._clock()
        draining = self._services.lifecycle.draining
        return [*self._checks, Check("lifecycle", not draining, "shutting down" if draining else "serving")]

    async def _judge(self, name: str, check: Callable[[], Awaitable[str]], *, needed: bool = True) -> Check:
        """Make a check; one that is not needed says what it found, and is never the reason to send work elsewhere."""
        try:
            async with asyncio.timeout(CHECK_TIMEOUT):
                return Check(name, ok=True, detail=await check())
        except UnavailableError as error:
            return Check(name, ok=not needed, detail=error.detail)
        except TimeoutError:
            return Check(name, ok=not needed, detail=f"no answer within {CHECK_TIMEOUT:g} s")
        except Exception as error:  # noqa: BLE001 - not ready, whatever it is; its message may hold what is not public
            return Check(name, ok=not needed, detail=f"failed with {type(error).__name__}; see the server's log")

    async def _database(self) -> str:
        async with self._services.database.control_session() as connection:
            await connection.execute("select 1")
        return "answers"

    async def _log_reader(self) -> str:
        async with self._services.database.log_session(0) as connection:
            await connection.execute("select 1")
        return "answers"

    async def _schema(self) -> str:
        version = await schema_version(self._services.database)
        if version < self._needed_version:
            raise UnavailableError(f"version {version}, but {self._needed_version} is needed: run `tallystick migrate`")
        return f"version {version}"

    async def _partitions(self) -> str:
        database, now = self._services.database, datetime.now(UTC)
        reach = await partitions_until(database)
        events = "made on arrival" if reach.events.year == MAXYEAR else f"until {_day(reach.events)}"
        found = f"{events}, those of retry keys until {_day(reach.retry_keys)}"
        if not reach.lasts(READY_DAYS, READY_DAYS, now):
            raise UnavailableError(f"{found}, which is within {READY_DAYS} days: is `tallystick worker` running?")
        if not reach.lasts(PROMISED_DAYS[database.settings.partition_interval], RETRY_KEY_PROMISED_DAYS, now):
            return f"warning: {found}, which is less than is kept ahead: is `tallystick worker` running?"
        return found

    async def _tenants(self) -> str:
        if not self._services.directory.fresh:
            raise UnavailableError("not read for too long")
        return "fresh"

    async def _revocations(self) -> str:
        self._services.revocations.is_revoked(_NOBODY)
        return "fresh"

    async def _writer(self) -> str:
        fill = self._services.writer.fill
        if fill >= FULL:
            raise UnavailableError(f"its queue is {fill:.0%} full")
        return f"its queue is {fill:.0%} full"

    async def _followers(self) -> str:
        seen = await self._backlog.look()
        if seen is None:
            raise UnavailableError("not known: the database does not answer")
        told = [
            f"warning: {each.summary}: is `tallystick worker` running?" if each.seconds > LATE else each.summary
            for each in seen.standings
        ]
        return "; ".join(told)


def _day(until: datetime) -> str:
    return "now" if until.year == MINYEAR else f"{until:%Y-%m-%d}"


def health_routes(services: Services) -> APIRouter:
    """The routes by which the surroundings watch a process. They need no token: keep `/metrics` inside."""
    router = APIRouter(tags=["health"])
    backlog = Backlog(services.database, FOLLOWERS)
    readiness = Readiness(services, backlog)

    @router.get(
        "/healthz",
        operation_id="healthz",
        summary="Whether the process is alive",
        responses={200: {"content": {"application/json": {"schema": _STATUS, "example": {"status": "alive"}}}}},
    )
    @performs(PUBLIC)
    async def healthz() -> Response:
        """Answers as long as the process does, whatever the state of what it depends on."""
        return Response(b'{"status":"alive"}', media_type="application/json")

    @router.get(
        "/readyz",
        operation_id="readyz",
        summary="Whether the process can serve",
        responses={
            200: {"content": {"application/json": {"schema": _REPORT, "example": _READY}}},
            503: {"description": "A check failed: `checks`, as in a 200, says which and what to mend."},
        },
    )
    @performs(PUBLIC)
    async def readyz(request: Request) -> Response:
        """Lists every check; 503 when one fails. That followers are behind is told, and no reason for it."""
        checks = await readiness.look()
        listed = [asdict(check) for check in checks]
        if all(check.ok for check in checks):
            return Response(orjson.dumps({"status": "ready", "checks": listed}), media_type="application/json")
        failed = ", ".join(check.name for check in checks if not check.ok)
        error = UnavailableError(f"not ready: {failed}", retry_after=2)
        return problem_response(error, request.state.correlation_id, {"checks": listed})

    @router.get(
        "/metrics",
        operation_id="metrics",
        summary="Metrics for Prometheus",
        response_class=PlainTextResponse,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}, "example": _EXPOSITION}}}},
    )
    @performs(PUBLIC)
    async def metrics() -> Response:
        """In the text format of Prometheus, of all processes on this port."""
        seen = await backlog.look()
        content, content_type = await asyncio.to_thread(render, services.registry, *filter(None, [seen]))
        return Response(content, media_type=content_type)

    return router
