"""`GET /logs` and `POST /logs/search`."""

from typing import Any, Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from tallystick.auth.gate import Gate
from tallystick.auth.operations import EVENTS, LogName, Reading
from tallystick.auth.recording import record_of
from tallystick.auth.routing import performs
from tallystick.log.entrance import admit, let_in
from tallystick.log.query_string import first, query_of
from tallystick.log.schemas_read import EXAMPLE_EVENT
from tallystick.search.pages import JSON, page_bytes, page_response, told_of
from tallystick.search.parameters import LISTING, SEVERAL, body_values, flaws_in_body, search_query
from tallystick.search.schemas import DOWN, LINK, LIST_PARAMETERS, SEARCH_BODY, SEARCHES, EventList
from tallystick.search.service import SearchService
from tallystick.settings import Settings
from tallystick.tenants.bodies import read_json

_PAGES: Final[dict[str, Any]] = {
    "newest": {
        "summary": "A page by time",
        "value": {"items": [EXAMPLE_EVENT], "next": "AQAABkRe0yKx1gAAAAAAAAS0", "prev": None},
    },
    "seq": {
        "summary": "A page by seq",
        "value": {
            "items": [EXAMPLE_EVENT],
            "next": None,
            "prev": None,
            "after_seq": 1204,
            "removed": [{"first_seq": 0, "last_seq": 1203, "reason": "retention"}],
        },
    },
    "search": {
        "summary": "A page of a search",
        "value": {
            "items": [EXAMPLE_EVENT],
            "next": None,
            "prev": None,
            "indexed_through": 1203,
            "complete": True,
            "highlights": [[{"pointer": "/after/state", "ranges": [[0, 8]]}]],
        },
    },
}


_LIST: Final = """\
A tenant's events, the newest first, by keyset pages in both directions.

All filters must hold; values of a repeated filter are alternatives. `q` asks for words, fields and ranges.
Filters and `q` are answered by the search index and by what it does not hold yet, so an event is found as soon
as it is stored; a listing by time alone, or by seq, needs no index.

With `order=seq` events come in the order they were taken, none missing: the answer also says what was removed
in between, and `after_seq`, from where to ask for what comes later. A filtered request then looks at a bounded
number of events: a page may be short or empty and still have a `next`. Only `next: null` is the end."""

_LIST_ACCESS: Final = """\
Who read or changed what in a tenant, the newest first: the audit of the audit.

Takes what `GET /logs` takes. To read it is recorded as well: one event for each page, stored after the page was read
and before it is answered, so it is never in the page itself."""

_SEARCH: Final = (
    "The same as `GET {path}`, its parameters in a JSON body: for long questions, and to keep them out of URLs."
)

_ABOUT: Final[dict[LogName, tuple[tuple[str, str], tuple[str, str]]]] = {
    "events": (("List events", "Search events"), (_LIST, _SEARCH.format(path="/logs"))),
    "access": (("List access events", "Search access events"), (_LIST_ACCESS, _SEARCH.format(path="/access-logs"))),
}


def search_routes(service: SearchService, gate: Gate, settings: Settings, of: Reading = EVENTS) -> APIRouter:
    """The routes that list and find events of a log."""
    router = APIRouter(tags=[of.tag])
    summaries, about = _ABOUT[of.list.log]

    @router.get(
        of.path,
        operation_id=of.list.name,
        summary=summaries[0],
        description=about[0],
        response_model=EventList,
        responses={200: {"headers": LINK, "content": {JSON: {"examples": _PAGES}}}, 503: DOWN},
        openapi_extra={"parameters": list(LIST_PARAMETERS)},
    )
    @performs(of.list)
    async def list_events(request: Request) -> Response:
        access, values = await let_in(gate, request, of.list, known=LISTING, several=SEVERAL)
        page = await service.page(access.log_id, access.narrowing, search_query(values))
        record_of(request).tell(**told_of(page.page.items))
        return page_response(request, page)

    @router.post(
        of.path + "/search",
        operation_id=of.search.name,
        summary=summaries[1],
        description=about[1],
        response_model=EventList,
        responses={200: {"content": {JSON: {"examples": {"search": _PAGES["search"], **_PAGES}}}}, 503: DOWN},
        openapi_extra={
            "requestBody": {"required": True, "content": {JSON: {"schema": SEARCH_BODY, "examples": SEARCHES}}}
        },
    )
    @performs(of.search)
    async def search_events(request: Request) -> Response:
        principal = await gate.authenticate(request)
        query_of(request)
        body = await read_json(request, settings.api.body_timeout)
        with flaws_in_body():
            values = body_values(body)
        access = await admit(gate, request, principal, of.search, first(values, "tenant_id"), values)
        with flaws_in_body():
            query = search_query(values)
            page = await service.page(access.log_id, access.narrowing, query)
        record_of(request).tell(**told_of(page.page.items))
        return Response(page_bytes(page), media_type=JSON)

    return router
