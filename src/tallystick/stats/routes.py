"""`GET /logs/stats`."""

import time

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from tallystick.auth.gate import Gate
from tallystick.auth.operations import READ_STATS
from tallystick.auth.routing import performs
from tallystick.log.entrance import let_in
from tallystick.search.pages import JSON
from tallystick.search.schemas import DOWN
from tallystick.stats.parameters import COUNTING, SEVERAL, stats_query
from tallystick.stats.schemas import STATS_EXAMPLE, STATS_PARAMETERS, StatsAnswer, answer
from tallystick.stats.service import StatsService


def stats_routes(service: StatsService, gate: Gate) -> APIRouter:
    """The route that counts events."""
    router = APIRouter(tags=["logs"])

    @router.get(
        "/logs/stats",
        operation_id=READ_STATS.name,
        summary="Count events",
        response_model=StatsAnswer,
        responses={200: {"content": {JSON: {"example": STATS_EXAMPLE}}}, 503: DOWN},
        openapi_extra={"parameters": list(STATS_PARAMETERS)},
    )
    @performs(READ_STATS)
    async def read_stats(request: Request) -> Response:
        """How many events occurred in a period: in all, by time, by what was done, by whom and on what.

        Takes the filters and `q` of `GET /logs`. `source` says what was counted by. Rollups tell periods that begin and
        end with quarters of an hour, filtered by action, resource type and severity; where users or resources are
        ranked, not filtered at all. They are exact, and a few seconds behind the log. Everything else is counted by the
        search index and by what it does not hold yet.
        """
        access, values = await let_in(gate, request, READ_STATS, known=COUNTING, several=SEVERAL)
        query = stats_query(values, time.time_ns() // 1_000)
        stats = await service.stats(access.events_log, access.narrowing, query)
        return Response(orjson.dumps(answer(stats, query)), media_type=JSON)

    return router
