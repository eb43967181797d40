"""`GET /logs` and `GET /logs/{id}`."""

from collections.abc import Sequence
from typing import Annotated, Any, Final
from urllib.parse import urlencode

import orjson
from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from tallystick.auth.access import Access
from tallystick.auth.gate import Gate
from tallystick.auth.operations import LIST_EVENTS, READ_EVENT, Operation
from tallystick.auth.routing import performs
from tallystick.log.entity_tags import has_copy
from tallystick.log.query_string import Values, first, query_of
from tallystick.log.reader import LogReader, Page
from tallystick.log.schemas_read import (
    EVENT_PARAMETERS,
    EXAMPLE_EVENT,
    LIST_PARAMETERS,
    LISTING,
    SEVERAL,
    Event,
    EventList,
    list_query,
)

_JSON: Final = "application/json"
_EVENTS: Final = "events"

_LINK: Final = {"Link": {"description": "The pages after and before (RFC 8288).", "schema": {"type": "string"}}}
_ETAG: Final = {"ETag": {"description": "The leaf hash, in quotes.", "schema": {"type": "string"}}}

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
}


def read_routes(reader: LogReader, gate: Gate) -> APIRouter:
    """The routes that read events."""
    router = APIRouter(tags=["logs"])

    async def let_in(request: Request, operation: Operation, known: Sequence[str]) -> tuple[Access, Values]:
        principal = await gate.authenticate(request)
        values = query_of(request, known, SEVERAL)
        access = await gate.authorise(principal, operation, first(values, "tenant_id"))
        await gate.charge(request, access, 1)
        return access, values

    @router.get(
        "/logs",
        operation_id=LIST_EVENTS.name,
        summary="List events",
        response_model=EventList,
        responses={200: {"headers": _LINK, "content": {_JSON: {"examples": _PAGES}}}},
        openapi_extra={"parameters": list(LIST_PARAMETERS)},
    )
    @performs(LIST_EVENTS)
    async def list_events(request: Request) -> Response:
        """A tenant's events, the newest first, by keyset pages in both directions.

        All filters must hold; values of a repeated filter are alternatives. A filtered request looks at a bounded
        number of events: a page may then be short or empty and still have a `next`. Only `next: null` is the end.

        With `order=seq` events come in the order they were taken, none missing: the answer also says what was removed
        in between, and `after_seq`, from where to ask for what comes later.
        """
        access, values = await let_in(request, LIST_EVENTS, LISTING)
        query = list_query(values)
        page = await reader.page(access.tenant.logs[_EVENTS], access.narrowing, query)
        return Response(page_bytes(page), headers=_links(request, page), media_type=_JSON)

    @router.get(
        "/logs/{event_id}",
        operation_id=READ_EVENT.name,
        summary="Read an event",
        response_model=Event,
        responses={
            200: {"headers": _ETAG, "content": {_JSON: {"example": EXAMPLE_EVENT}}},
            304: {"description": "The copy that `If-None-Match` names is current."},
            410: {"description": "Retention or cleanup removed it."},
        },
        openapi_extra={"parameters": list(EVENT_PARAMETERS)},
    )
    @performs(READ_EVENT)
    async def read_event(
        request: Request,
        event_id: Annotated[str, Path(description="The event's id.", examples=[EXAMPLE_EVENT["id"]])],
    ) -> Response:
        """One event, byte for byte as it was hashed. An event of another tenant is not found."""
        access, _ = await let_in(request, READ_EVENT, ("tenant_id",))
        event = await reader.get(access.tenant.logs[_EVENTS], access.narrowing, event_id)
        etag = f'"{event.leaf_hash.hex()}"'
        headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
        if has_copy(request, etag):
            return Response(status_code=304, headers=headers)
        return Response(event.item, headers=headers, media_type=_JSON)

    return router


def page_bytes(page: Page) -> bytes:
    """A page as it is answered: the stored bodies joined, and what leads on."""
    tail: dict[str, Any] = {"next": page.next, "prev": page.prev}
    if page.after_seq is not None:
        tail["after_seq"] = page.after_seq
    if page.removed is not None:
        tail["removed"] = page.removed
    return b'{"items":[' + b",".join(page.items) + b"]," + orjson.dumps(tail)[1:]


def _links(request: Request, page: Page) -> dict[str, str]:
    kept = [(name, value) for name, value in request.query_params.multi_items() if name != "cursor"]
    links = [
        f'<{request.url.path}?{urlencode([*kept, ("cursor", cursor)])}>; rel="{relation}"'
        for relation, cursor in (("next", page.next), ("prev", page.prev))
        if cursor is not None
    ]
    return {"Link": ", ".join(links)} if links else {}
