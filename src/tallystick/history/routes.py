"""`GET /logs/correlated/{id}` and `GET /resources/{type}/{id}/history`."""

from functools import partial
from typing import Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from tallystick.auth.gate import Gate
from tallystick.auth.operations import CORRELATE_EVENTS, READ_HISTORY
from tallystick.auth.recording import record_of
from tallystick.auth.routing import performs
from tallystick.errors import Flaw
from tallystick.history.parameters import BY, RESOURCE, known_without, query_by_time, resource_of
from tallystick.history.schemas import (
    CORRELATED_EXAMPLE,
    CORRELATED_PARAMETERS,
    HISTORY_EXAMPLE,
    HISTORY_PARAMETERS,
    ResourceHistory,
)
from tallystick.history.service import changes_of
from tallystick.log.entrance import let_in
from tallystick.log.query_string import choice, one, refuse
from tallystick.search.pages import JSON, page_response, told_of
from tallystick.search.parameters import SEVERAL
from tallystick.search.schemas import DOWN, LINK, EventList
from tallystick.search.service import SearchService

_CORRELATED: Final = ("by", *known_without())
_HISTORY: Final = known_without(*RESOURCE)


def history_routes(service: SearchService, gate: Gate) -> APIRouter:
    """The routes that tell what belongs together."""
    router = APIRouter(tags=["logs"])

    @router.get(
        "/logs/correlated/{correlation_id:path}",
        operation_id=CORRELATE_EVENTS.name,
        summary="List the events of one request or session",
        response_model=EventList,
        responses={200: {"headers": LINK, "content": {JSON: {"example": CORRELATED_EXAMPLE}}}, 503: DOWN},
        openapi_extra={"parameters": list(CORRELATED_PARAMETERS)},
    )
    @performs(CORRELATE_EVENTS)
    async def correlate_events(request: Request) -> Response:
        """What was recorded under one `request_id`, by whichever application, in the order in which it happened.

        With `by=session_id` that of a session. Takes what `GET /logs` takes, but for `order=seq`. An id that no event
        has is an empty list.
        """
        access, values = await let_in(gate, request, CORRELATE_EVENTS, known=_CORRELATED, several=SEVERAL)
        flaws: list[Flaw] = []
        field = one(values, "by", partial(choice, BY), "request_id", flaws)
        if field in values:
            flaws.append(Flaw("is what the path names; leave it out", parameter=field))
        refuse(flaws)
        query = query_by_time(values, {field: request.path_params["correlation_id"]})
        found = await service.page(access.events_log, access.narrowing, query)
        record_of(request).tell(**told_of(found.page.items))
        return page_response(request, found)

    @router.get(
        "/resources/{resource_type}/{resource_id:path}/history",
        operation_id=READ_HISTORY.name,
        summary="Read the history of a resource",
        response_model=ResourceHistory,
        responses={200: {"headers": LINK, "content": {JSON: {"example": HISTORY_EXAMPLE}}}, 503: DOWN},
        openapi_extra={"parameters": list(HISTORY_PARAMETERS)},
    )
    @performs(READ_HISTORY)
    async def read_history(request: Request) -> Response:
        """What happened to one resource, in the order in which it happened, and what each event changed.

        `changes` has, for each item, a JSON Patch (RFC 6902) that leads from its `before` to its `after`. Takes what
        `GET /logs` takes, but for `order=seq`. A resource that no event names has an empty history.
        """
        access, values = await let_in(gate, request, READ_HISTORY, known=_HISTORY, several=SEVERAL)
        query = query_by_time(values, resource_of(request))
        found = await service.page(access.events_log, access.narrowing, query)
        record_of(request).tell(**told_of(found.page.items))
        return page_response(request, found, {"changes": await changes_of(found.page.items)})

    return router
