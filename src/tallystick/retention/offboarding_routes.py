"""`DELETE /tenants/{id}` and what takes it back: for platform admins."""

from typing import Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from tallystick.auth.access import Access
from tallystick.auth.gate import Gate
from tallystick.auth.operations import REMOVE_TENANT, RESTORE_TENANT, Operation
from tallystick.auth.recording import record_of
from tallystick.auth.refusals import blaming
from tallystick.auth.routing import performs
from tallystick.auth.tenancy import PLATFORM_TENANT
from tallystick.errors import Flaw, ForbiddenError
from tallystick.jobs.schemas import EXAMPLE_QUEUED_JOB, JobDocument
from tallystick.log.entrance import admit
from tallystick.log.query_string import Values, choice, one, query_of, refuse
from tallystick.retention.offboarding import OFFBOARD
from tallystick.retention.offboarding_schemas import EXAMPLE_OUTLOOK, REMOVAL_PARAMETERS, RemovalOutlook
from tallystick.retention.offboarding_service import LONGEST_WAIT, OffboardingService
from tallystick.retention.schemas import TRUTHS, reason_of
from tallystick.tenants.model import state_of
from tallystick.tenants.routes import EXAMPLE_TENANT, TenantPath
from tallystick.tenants.schemas import TenantDocument

_JSON: Final = "application/json"
_JOB: Final = {**EXAMPLE_QUEUED_JOB, "id": "5b1e4c0a-7f1d-4d43-9a38-2c6a3f0e9d21", "kind": OFFBOARD, "log": None}


def offboarding_routes(service: OffboardingService, gate: Gate) -> APIRouter:
    """The routes that remove and restore tenants."""
    router = APIRouter(tags=["tenants"])

    async def let_in(request: Request, operation: Operation, tenant_id: str, *known: str) -> tuple[Access, Values]:
        principal = await gate.authenticate(request)
        values = query_of(request, known)
        if tenant_id == PLATFORM_TENANT and principal.platform:
            refusal = ForbiddenError(f"{PLATFORM_TENANT} holds the platform's own access log: it is never removed")
            raise blaming(refusal, principal, tenant_id)
        return await admit(gate, request, principal, operation, tenant_id, values), values

    @router.delete(
        "/tenants/{tenant_id}",
        operation_id=REMOVE_TENANT.name,
        summary="Remove a tenant",
        status_code=202,
        response_model=JobDocument,
        responses={
            200: {
                "description": "What would go.",
                "model": RemovalOutlook,
                "content": {_JSON: {"example": EXAMPLE_OUTLOOK}},
            },
            202: {
                "description": "It is suspended, and a job removes it.",
                "headers": {"Location": {"description": "Path of the job.", "schema": {"type": "string"}}},
                "content": {_JSON: {"example": _JOB}},
            },
            409: {"description": "It is the last tenant, or is to be removed at another time."},
            410: {"description": "It was removed."},
        },
        openapi_extra={"parameters": list(REMOVAL_PARAMETERS)},
    )
    @performs(REMOVE_TENANT)
    async def remove_tenant(request: Request, tenant_id: TenantPath) -> Response:
        """Suspends a tenant at once, and removes it with all that it holds after some days. For platform admins.

        Until then `POST /tenants/{id}/restore` undoes it. Both logs are exported whole: the principal who asked finds
        the exports in `GET /exports?tenant_id=…`. Then events go as by a cleanup, each log's not before its minimum
        retention is over; when the exports have expired the tenant's keys are erased. The id is given to nobody else.

        To ask again answers the same job, or one that goes on where that one failed.
        """
        access, values = await let_in(request, REMOVE_TENANT, tenant_id, "reason", "wait_days", "dry_run")
        flaws: list[Flaw] = []
        dry = one(values, "dry_run", lambda text: choice(TRUTHS, text), False, flaws)  # noqa: FBT003  # the default
        days = one(values, "wait_days", lambda text: _days(text, service.least_wait), None, flaws)
        reason = one(values, "reason", reason_of, "", flaws)
        flaws += [Flaw("is needed", parameter="reason")] if "reason" not in values else []
        refuse(flaws)
        record = record_of(request)
        await record.begin(access, values)
        if dry:
            record.tell(dry_run=True)
            outlook = await service.look(tenant_id, days)
            return Response(RemovalOutlook.of(outlook).model_dump_json(), media_type=_JSON)
        principal = access.principal
        created_by = {"issuer": principal.issuer, "subject": principal.subject}
        job = await service.ask(tenant_id, reason, days, created_by, (principal.issuer, principal.subject))
        record.tell(job=job.id)
        path = request.url.path.rpartition("/tenants/")[0]
        location = f"{path}/jobs/{job.id}{access.elsewhere}"
        return Response(JobDocument.of(job).model_dump_json(), 202, {"Location": location}, media_type=_JSON)

    @router.post(
        "/tenants/{tenant_id}/restore",
        operation_id=RESTORE_TENANT.name,
        summary="Restore a tenant",
        response_model=TenantDocument,
        responses={
            200: {"description": "It is not to be removed.", "content": {_JSON: {"example": EXAMPLE_TENANT}}},
            409: {"description": "Its removal has begun."},
            410: {"description": "It was removed."},
        },
    )
    @performs(RESTORE_TENANT)
    async def restore_tenant(request: Request, tenant_id: TenantPath) -> Response:
        """Lets a tenant in again that was to be removed, until its removal begins. For platform admins.

        Its job ends, and the exports that were made for it are deleted. One that was suspended before stays so; one
        that is not to be removed stays as it is.
        """
        access, values = await let_in(request, RESTORE_TENANT, tenant_id)
        record = record_of(request)
        await record.begin(access, values)
        tenant = await service.restore(tenant_id)
        record.tell(after=state_of(tenant))
        return Response(TenantDocument.of(tenant).model_dump_json(), media_type=_JSON)

    return router


def _days(text: str, least: int) -> int:
    if not text.isascii() or not text.isdigit() or not least <= int(text[:9]) <= LONGEST_WAIT:
        raise ValueError(f"must be a whole number from {least}, the least of this installation, to {LONGEST_WAIT}")
    return int(text)
