"""`/jobs`: asked for and cancelled by admins, seen by auditors too. Here since jobs stand below `auth`."""

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Final, get_args

from fastapi import APIRouter, Path
from pydantic import TypeAdapter
from starlette.requests import Request
from starlette.responses import Response

from tallystick.auth.gate import Gate
from tallystick.auth.operations import CANCEL_JOB, LIST_JOBS, READ_JOB, RUN_JOB
from tallystick.auth.recording import record_of
from tallystick.auth.routing import performs
from tallystick.errors import Flaw
from tallystick.export.jobs import EXPORT
from tallystick.jobs.model import JobState
from tallystick.jobs.queries import JobFilter
from tallystick.jobs.schemas import EXAMPLE_JOB, EXAMPLE_QUEUED_JOB, JobDocument, JobKind, JobList, NewJob
from tallystick.jobs.service import JobService
from tallystick.log.entrance import let_in
from tallystick.log.query_string import choice, first, one, page_size, refuse
from tallystick.log.reader import DEFAULT_LIMIT
from tallystick.log.schemas_read import page_parameters, query_parameter
from tallystick.retention.applying import APPLY_RETENTION
from tallystick.retention.cleanup import CLEANUP
from tallystick.retention.offboarding import OFFBOARD
from tallystick.settings import Settings
from tallystick.tenants.bodies import fit, read_json

_JSON: Final = "application/json"
_NEW_JOB: Final[TypeAdapter[NewJob]] = TypeAdapter(NewJob)

_STATES: Final[Mapping[str, JobState]] = {str(state): state for state in JobState}
_KINDS: Final[Mapping[str, str]] = {
    kind: kind for kind in (*get_args(JobKind), EXPORT, CLEANUP, APPLY_RETENTION, OFFBOARD)
}

_NEW_JOBS: Final[dict[str, Any]] = {
    "rebuild_index": {"summary": "Make the search index anew", "value": {"kind": "rebuild_index", "log": "events"}},
    "of the access log": {"value": {"kind": "rebuild_index", "log": "access"}},
}

_TENANT: Final = query_parameter(
    "tenant_id", "The tenant; the token's default when absent.", {"type": "string", "maxLength": 63}, "acme"
)

_LISTING: Final[tuple[dict[str, Any], ...]] = (
    _TENANT,
    query_parameter("state", "Only jobs in this state.", {"type": "string", "enum": list(_STATES)}),
    query_parameter("kind", "Only jobs that do this.", {"type": "string", "enum": list(_KINDS)}),
    *page_parameters("jobs"),
)

_NAMED: Final = ("tenant_id",)

# Not validated by FastAPI, which would answer before anybody asked who is calling.
JobPath = Annotated[
    str, Path(description="The job's id.", examples=[EXAMPLE_JOB["id"]], json_schema_extra={"maxLength": 36})
]


def job_routes(service: JobService, gate: Gate, settings: Settings) -> APIRouter:
    """The routes of jobs."""
    router = APIRouter(tags=["jobs"])
    desk = _Desk(service, gate, settings)

    @router.get(
        "/jobs",
        operation_id=LIST_JOBS.name,
        summary="List jobs",
        response_model=JobList,
        responses={200: _example({"items": [EXAMPLE_JOB], "next": None, "prev": None})},
        openapi_extra={"parameters": list(_LISTING)},
    )
    @performs(LIST_JOBS)
    async def list_jobs(request: Request) -> Response:
        """A tenant's jobs, the newest first."""
        return await desk.list(request)

    @router.post(
        "/jobs",
        operation_id=RUN_JOB.name,
        summary="Start a job",
        status_code=202,
        response_model=JobDocument,
        responses={
            202: _example(EXAMPLE_QUEUED_JOB)
            | {"headers": {"Location": {"description": "Path of the job.", "schema": {"type": "string"}}}},
        },
        openapi_extra={
            "parameters": [_TENANT],
            "requestBody": {
                "required": True,
                "content": {_JSON: {"schema": _NEW_JOB.json_schema(), "examples": _NEW_JOBS}},
            },
        },
    )
    @performs(RUN_JOB)
    async def run_job(request: Request) -> Response:
        """A worker runs it as soon as one is free, and goes on with it after a crash.

        A log has one open job of each kind: asking again answers that one.
        """
        return await desk.run(request)

    @router.get(
        "/jobs/{job_id}",
        operation_id=READ_JOB.name,
        summary="Read a job",
        response_model=JobDocument,
        responses={200: _example(EXAMPLE_JOB)},
        openapi_extra={"parameters": [_TENANT]},
    )
    @performs(READ_JOB)
    async def read_job(request: Request, job_id: JobPath) -> Response:
        """How far a job is. A job of another tenant is not found."""
        return await desk.read(request, job_id)

    @router.post(
        "/jobs/{job_id}/cancel",
        operation_id=CANCEL_JOB.name,
        summary="Cancel a job",
        status_code=202,
        response_model=JobDocument,
        responses={
            202: _example({**EXAMPLE_JOB, "cancel_requested": True}),
            409: {"description": "It removes a tenant, which is undone by restoring that."},
        },
        openapi_extra={"parameters": [_TENANT]},
    )
    @performs(CANCEL_JOB)
    async def cancel_job(request: Request, job_id: JobPath) -> Response:
        """The job ends within a second or so, and what it left is removed. One that has ended stays as it is."""
        return await desk.cancel(request, job_id)

    return router


class _Desk:
    """Lets requests in, and answers them: who is calling comes before what is asked."""

    def __init__(self, service: JobService, gate: Gate, settings: Settings) -> None:
        self._service = service
        self._gate = gate
        self._timeout = settings.api.body_timeout

    async def list(self, request: Request) -> Response:
        access, values = await let_in(self._gate, request, LIST_JOBS, known=[each["name"] for each in _LISTING])
        flaws: list[Flaw] = []
        chosen = JobFilter(
            state=one(values, "state", partial(choice, _STATES), None, flaws),
            kind=one(values, "kind", partial(choice, _KINDS), None, flaws),
        )
        limit = one(values, "limit", page_size, DEFAULT_LIMIT, flaws)
        refuse(flaws)
        page = await self._service.page(access.tenant.id, chosen, first(values, "cursor"), limit)
        return _answer(JobList.of(page))

    async def run(self, request: Request) -> Response:
        access, _ = await let_in(self._gate, request, RUN_JOB, known=_NAMED)
        new = fit(_NEW_JOB, await read_json(request, self._timeout))
        tenant, principal = access.tenant, access.principal
        record = record_of(request)
        await record.begin(access, new.model_dump())
        created_by = {"issuer": principal.issuer, "subject": principal.subject}
        job = await self._service.create(tenant.id, tenant.logs[new.log], new.kind, {}, created_by)
        record.tell(job=job.id)
        location = f"{request.url.path.rstrip('/')}/{job.id}{access.elsewhere}"
        return _answer(JobDocument.of(job), 202, {"Location": location})

    async def read(self, request: Request, job_id: str) -> Response:
        access, _ = await let_in(self._gate, request, READ_JOB, known=_NAMED)
        return _answer(JobDocument.of(await self._service.get(access.tenant.id, job_id)))

    async def cancel(self, request: Request, job_id: str) -> Response:
        access, values = await let_in(self._gate, request, CANCEL_JOB, known=_NAMED)
        await record_of(request).begin(access, values)
        return _answer(JobDocument.of(await self._service.cancel(access.tenant.id, job_id)), 202)


def _answer(document: JobDocument | JobList, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(document.model_dump_json(), status, headers, media_type=_JSON)


def _example(value: object) -> dict[str, Any]:
    return {"content": {_JSON: {"example": value}}}
