"""`POST /logs/{id}/reveal`."""

from typing import Annotated, Final

import orjson
from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from tallystick.auth.gate import Gate
from tallystick.auth.operations import REVEAL_EVENT
from tallystick.auth.permissions import Permission
from tallystick.auth.recording import record_of
from tallystick.auth.routing import performs
from tallystick.errors import ForbiddenError
from tallystick.history.reveal import RevealService
from tallystick.history.reveal_schemas import ANSWERED, REVEAL, REVEAL_BODY, RevealAnswer
from tallystick.log.entrance import let_in
from tallystick.log.schemas_read import EVENT_PARAMETERS, EXAMPLE_EVENT
from tallystick.settings import Settings
from tallystick.tenants.bodies import fit, read_json

_JSON: Final = "application/json"


def reveal_routes(service: RevealService, gate: Gate, settings: Settings) -> APIRouter:
    """The route that shows what is sealed."""
    router = APIRouter(tags=["logs"])

    @router.post(
        "/logs/{event_id}/reveal",
        operation_id=REVEAL_EVENT.name,
        summary="Reveal sealed fields of an event",
        response_model=RevealAnswer,
        responses={
            200: {"content": {_JSON: {"example": ANSWERED}}},
            410: {"description": "Retention or cleanup removed the event, or the key of a field was erased."},
        },
        openapi_extra={"requestBody": dict(REVEAL_BODY), "parameters": list(EVENT_PARAMETERS)},
    )
    @performs(REVEAL_EVENT)
    async def reveal_event(
        request: Request,
        event_id: Annotated[str, Path(description="The event's id.", examples=[EXAMPLE_EVENT["id"]])],
    ) -> Response:
        """The plaintext of the named fields that were sealed, all of them or none; nothing else of the event.

        Who asks must be able to read the event, too. Before the answer leaves, an event in the tenant's `access` log
        names who asked, the reason and the fields, never a value.
        """
        access, _ = await let_in(gate, request, REVEAL_EVENT, known=("tenant_id",))
        if not access.may(Permission.LOGS_READ):
            raise ForbiddenError(f"to reveal needs the permission `{Permission.LOGS_READ}`, too")
        asked = fit(REVEAL, await read_json(request, settings.api.body_timeout))
        await record_of(request).begin(access, {"reason": asked.reason, "fields": asked.fields})
        revealed = await service.reveal(access, event_id, asked.fields)
        answer = orjson.dumps({"id": revealed.event_id, "fields": revealed.fields})
        return Response(answer, headers={"Cache-Control": "no-store"}, media_type=_JSON)

    return router
