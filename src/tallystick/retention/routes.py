"""`DELETE /logs/cleanup`."""

from typing import Any, Final

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from tallystick.auth.gate import Gate
from tallystick.auth.operations import CLEAN_UP
from tallystick.auth.permissions import Permission
from tallystick.auth.recording import record_of
from tallystick.auth.routing import performs
from tallystick.errors import Flaw, ForbiddenError
from tallystick.jobs.schemas import EXAMPLE_QUEUED_JOB, JobDocument
from tallystick.log.entrance import let_in
from tallystick.log.query_string import choice, one, refuse, refuse_nul
from tallystick.log.reader import answer_of
from tallystick.log.schemas_read import EXAMPLE_EVENT
from tallystick.query.ast import Everything
from tallystick.query.filters import PARAMETERS
from tallystick.retention.schemas import CLEANUP_PARAMETERS, TRUTHS, CleanupPreview, reason_of
from tallystick.retention.service import CleanupService
from tallystick.search.parameters import SEVERAL

_JSON: Final = "application/json"

_TELLING: Final = ("q", *PARAMETERS)
"""What tells something of what is in events, were it only by how many go."""

_CHOOSING: Final = ("before", "from", *_TELLING)
_KNOWN: Final = ("tenant_id", "reason", "dry_run", *_CHOOSING)

_JOB: Final = {**EXAMPLE_QUEUED_JOB, "id": "9d3a1c55-0b57-4b4e-8a52-6f1d0c2f7a10", "kind": "cleanup"}
_PREVIEW: Final[dict[str, Any]] = {
    "events": 1204,
    "complete": True,
    "looked_through": 250_000,
    "first_seq": 0,
    "last_seq": 1203,
    "protected_from": "2026-11-17T00:00:00.000Z",
    "sample": [EXAMPLE_EVENT],
}


def cleanup_routes(service: CleanupService, gate: Gate) -> APIRouter:
    """The route that removes events."""
    router = APIRouter(tags=["logs"])

    @router.delete(
        "/logs/cleanup",
        operation_id=CLEAN_UP.name,
        summary="Remove events",
        status_code=202,
        response_model=JobDocument,
        responses={
            200: {"description": "What would go.", "model": CleanupPreview, "content": {_JSON: {"example": _PREVIEW}}},
            202: {
                "description": "A job removes them.",
                "headers": {"Location": {"description": "Path of the job.", "schema": {"type": "string"}}},
                "content": {_JSON: {"example": _JOB}},
            },
            409: {"description": "Another cleanup is under way."},
        },
        openapi_extra={"parameters": list(CLEANUP_PARAMETERS)},
    )
    @performs(CLEAN_UP)
    async def clean_up(request: Request) -> Response:
        """Removes a tenant's events that occurred before a moment and match all filters and `q`, for good.

        They are looked for in the log itself. What arrived within the minimum retention of the installation stays,
        whatever its own time says. A job does it, `GET /jobs/{id}` tells how far it is, and cancelling it keeps what is
        still there. With `dry_run=true` nothing is stored: the answer counts what would go, and shows some of it, for
        which filters and `q` need the permission `logs:read` too.

        Who asks for a removed event later is answered 410 with the `reason`.
        """
        access, values = await let_in(gate, request, CLEAN_UP, known=_KNOWN, several=SEVERAL)
        flaws: list[Flaw] = []
        dry = one(values, "dry_run", lambda text: choice(TRUTHS, text), False, flaws)  # noqa: FBT003  # the default
        reason = one(values, "reason", reason_of, "", flaws)
        flaws += [Flaw("is needed", parameter=name) for name in ("before", "reason") if name not in values]
        refuse(flaws)
        if not isinstance(access.narrowing, Everything):
            raise ForbiddenError("a token that sees a part of the events alone removes none")
        refuse_nul(values)
        may_read = access.may(Permission.LOGS_READ)
        if dry and not may_read and not values.keys().isdisjoint(_TELLING):
            raise ForbiddenError("to look at what filters and `q` would take needs the permission logs:read as well")
        asked = {name: values[name] for name in _CHOOSING if name in values}
        tenant, log_id = access.tenant, access.events_log
        record = record_of(request)
        await record.begin(access, values)
        if dry:
            preview = await service.look(access.principal.client, log_id, "events", asked)
            record.tell(dry_run=True, count=preview.events)
            sample = [orjson.loads(answer_of(event)) for event in preview.sample] if may_read else []
            return Response(CleanupPreview.of(preview, sample).model_dump_json(), media_type=_JSON)
        principal = access.principal
        created_by = {"issuer": principal.issuer, "subject": principal.subject}
        job = await service.ask(tenant.id, log_id, "events", asked, reason, created_by)
        record.tell(job=job.id)
        path = request.url.path.removesuffix("/logs/cleanup")
        location = f"{path}/jobs/{job.id}{access.elsewhere}"
        return Response(JobDocument.of(job).model_dump_json(), 202, {"Location": location}, media_type=_JSON)

    return router
