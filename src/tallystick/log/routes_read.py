"""`GET /logs/{id}`."""

from typing import Annotated, Final

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from tallystick.auth.gate import Gate
from tallystick.auth.operations import EVENTS, Reading
from tallystick.auth.routing import performs
from tallystick.log.entity_tags import OWN_COPY, has_copy
from tallystick.log.entrance import let_in
from tallystick.log.reader import LogReader
from tallystick.log.schemas_read import EVENT_PARAMETERS, EXAMPLE_EVENT, Event

_JSON: Final = "application/json"

_ETAG: Final = {"ETag": {"description": "The leaf hash, in quotes.", "schema": {"type": "string"}}}


def read_routes(reader: LogReader, gate: Gate, of: Reading = EVENTS) -> APIRouter:
    """The route that reads an event of a log."""
    router = APIRouter(tags=[of.tag])

    @router.get(
        of.path + "/{event_id}",
        operation_id=of.read.name,
        summary="Read an event" if of is EVENTS else "Read an access event",
        response_model=Event,
        responses={
            200: {"headers": _ETAG, "content": {_JSON: {"example": EXAMPLE_EVENT}}},
            304: {"description": "The copy that `If-None-Match` names is current."},
            410: {"description": "Retention or cleanup removed it."},
        },
        openapi_extra={"parameters": list(EVENT_PARAMETERS)},
    )
    @performs(of.read)
    async def read_event(
        request: Request,
        event_id: Annotated[str, Path(description="The event's id.", examples=[EXAMPLE_EVENT["id"]])],
    ) -> Response:
        """One event, byte for byte as it was hashed. An event of another tenant is not found."""
        access, _ = await let_in(gate, request, of.read, known=("tenant_id",))
        event = await reader.get(access.log_id, access.narrowing, event_id)
        etag = f'"{event.leaf_hash.hex()}"'
        headers = {"ETag": etag, **OWN_COPY}
        if has_copy(request, etag):
            return Response(status_code=304, headers=headers)
        return Response(event.item, headers=headers, media_type=_JSON)

    return router
