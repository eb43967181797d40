"""`/tenants`: listed and made by platform admins, read and changed by those whom their roles let."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Path
from pydantic import TypeAdapter
from starlette.requests import Request
from starlette.responses import Response

from tallystick.auth.gate import Gate
from tallystick.auth.operations import CREATE_TENANT, LIST_TENANTS, READ_TENANT, UPDATE_TENANT
from tallystick.auth.permissions import Permission
from tallystick.auth.recording import record_of
from tallystick.auth.refusals import blaming
from tallystick.auth.routing import performs
from tallystick.errors import Flaw, ForbiddenError, InvalidError
from tallystick.log.entrance import let_in
from tallystick.log.query_string import first, one, page_size, refuse
from tallystick.log.reader import DEFAULT_LIMIT
from tallystick.settings import RetentionSettings, Settings
from tallystick.tenants.bodies import fit, read_json
from tallystick.tenants.model import Tenant, TenantSettings, merge_patch, state_of
from tallystick.tenants.schemas import (
    LIST_PARAMETERS,
    NEW_TENANT,
    TENANT_PATCH,
    TENANT_SETTINGS,
    TenantDocument,
    TenantList,
    TenantPatch,
)
from tallystick.tenants.service import Changes, TenantService

_JSON: Final = "application/json"
_MERGE_PATCH: Final = "application/merge-patch+json"

EXAMPLE_TENANT: Final[dict[str, Any]] = {
    "id": "acme",
    "name": "Acme Ltd",
    "settings": {},
    "suspended": False,
    "created_at": "2026-11-24T17:21:36.123Z",
    "closing": None,
}

_NEW_TENANTS: Final[dict[str, Any]] = {
    "tenant": {"summary": "A tenant", "value": {"id": "acme", "name": "Acme Ltd"}},
    "with settings": {
        "value": {"id": "globex-eu-1", "name": "Globex Europe", "settings": {"retention": {"events_days": 365}}}
    },
}

_PATCHES: Final[dict[str, Any]] = {
    "rename": {"summary": "Another name", "value": {"name": "Acme Holding"}},
    "retention": {
        "summary": "Keep events for two years, and access events for one",
        "value": {"settings": {"retention": {"events_days": 730, "access_days": 365}}},
    },
    "suspend": {"summary": "Refuse every request for it", "value": {"suspended": True}},
    "resume": {"summary": "Let its requests in again", "value": {"suspended": False}},
}

# Not validated by FastAPI, which would answer before anybody asked who is calling.
TenantPath = Annotated[
    str, Path(description="The tenant's id.", examples=["acme"], json_schema_extra={"maxLength": 63})
]


def _answer(
    document: TenantDocument | TenantList, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    return Response(document.model_dump_json(), status, headers, media_type=_JSON)


def _example(value: object) -> dict[str, Any]:
    return {"content": {_JSON: {"example": value}}}


def _body(schema_of: TypeAdapter[Any], examples: dict[str, Any], *media_types: str) -> dict[str, Any]:
    schema = schema_of.json_schema(ref_template="#/components/schemas/{model}")
    content = {media_type: {"schema": schema, "examples": examples} for media_type in media_types}
    return {"requestBody": {"required": True, "content": content}}


def check_retention(settings: TenantSettings, least: RetentionSettings) -> None:
    """Refuse a policy that keeps less than the installation does.

    Raises:
        InvalidError: It does.
    """
    asked = settings.retention
    floors = (
        ("events_days", asked.events_days, least.min_days),
        ("access_days", asked.access_days, least.min_access_days),
    )
    flaws = [
        Flaw(
            f"must be at least {floor}: this installation keeps such events for {floor} days",
            f"/settings/retention/{name}",
        )
        for name, days, floor in floors
        if days is not None and days < floor
    ]
    if flaws:
        raise InvalidError("the retention is shorter than this installation allows", flaws=flaws)


def changes(tenant: Tenant, patch: TenantPatch, least: RetentionSettings) -> Changes:
    """What a tenant becomes by a merge patch (RFC 7396).

    Raises:
        InvalidError: The settings it leads to are not valid.
    """
    settings = tenant.settings
    if "settings" in patch:
        merged = merge_patch(settings, patch["settings"])
        fitted = fit(TENANT_SETTINGS, merged or {}, at="/settings")
        check_retention(fitted, least)
        settings = fitted.model_dump(exclude_unset=True)
    return Changes(
        name=patch.get("name", tenant.name),
        settings=settings,
        suspended=patch.get("suspended", tenant.suspended),
    )


def tenant_routes(service: TenantService, gate: Gate, settings: Settings) -> APIRouter:
    """The routes of tenants."""
    router = APIRouter(tags=["tenants"])
    desk = _Desk(service, gate, settings)

    @router.get(
        "/tenants",
        operation_id=LIST_TENANTS.name,
        summary="List tenants",
        response_model=TenantList,
        responses={200: _example({"items": [EXAMPLE_TENANT], "next": None, "prev": None})},
        openapi_extra={"parameters": list(LIST_PARAMETERS)},
    )
    @performs(LIST_TENANTS)
    async def list_tenants(request: Request) -> Response:
        """All tenants in the order they were made. For platform admins."""
        return await desk.list(request)

    @router.post(
        "/tenants",
        operation_id=CREATE_TENANT.name,
        summary="Make a tenant",
        status_code=201,
        response_model=TenantDocument,
        responses={
            201: _example(EXAMPLE_TENANT)
            | {"headers": {"Location": {"description": "Path of the tenant.", "schema": {"type": "string"}}}},
            409: {"description": "The id is taken, or was that of a tenant that was removed."},
        },
        openapi_extra=_body(NEW_TENANT, _NEW_TENANTS, _JSON),
    )
    @performs(CREATE_TENANT)
    async def create_tenant(request: Request) -> Response:
        """A tenant is made with its two logs, `events` and `access`, and can be used at once. For platform admins."""
        return await desk.create(request)

    @router.get(
        "/tenants/{tenant_id}",
        operation_id=READ_TENANT.name,
        summary="Read a tenant",
        response_model=TenantDocument,
        responses={200: _example(EXAMPLE_TENANT), 410: {"description": "It was removed."}},
    )
    @performs(READ_TENANT)
    async def read_tenant(request: Request, tenant_id: TenantPath) -> Response:
        """A tenant's name, settings and state. One that was removed is answered 410, with the reason."""
        return await desk.read(request, tenant_id)

    @router.patch(
        "/tenants/{tenant_id}",
        operation_id=UPDATE_TENANT.name,
        summary="Change a tenant",
        response_model=TenantDocument,
        responses={200: _example(EXAMPLE_TENANT), 409: {"description": "It is being removed."}},
        openapi_extra=_body(TENANT_PATCH, _PATCHES, _JSON, _MERGE_PATCH),
    )
    @performs(UPDATE_TENANT)
    async def update_tenant(request: Request, tenant_id: TenantPath) -> Response:
        """A JSON Merge Patch (RFC 7396) of `name`, `settings` and `suspended`.

        Suspending and resuming is for platform admins; it holds within seconds on every process.
        """
        return await desk.update(request, tenant_id)

    return router


class _Desk:
    """Lets requests in, and answers them: who is calling comes before what is asked."""

    def __init__(self, service: TenantService, gate: Gate, settings: Settings) -> None:
        self._service = service
        self._gate = gate
        self._timeout = settings.api.body_timeout
        self._least = settings.retention

    async def list(self, request: Request) -> Response:
        _, values = await let_in(self._gate, request, LIST_TENANTS, known=("limit", "cursor"))
        flaws: list[Flaw] = []
        limit = one(values, "limit", page_size, DEFAULT_LIMIT, flaws)
        refuse(flaws)
        return _answer(TenantList.of(await self._service.page(first(values, "cursor"), limit)))

    async def create(self, request: Request) -> Response:
        access, _ = await let_in(self._gate, request, CREATE_TENANT)
        new = fit(NEW_TENANT, await read_json(request, self._timeout))
        check_retention(new.settings, self._least)
        record = record_of(request)
        await record.begin(access, new.model_dump(exclude_unset=True))
        tenant = await self._service.create(new.id, new.name, new.settings.model_dump(exclude_unset=True))
        record.concern(tenant.id)
        record.tell(tenant=tenant.id, after=state_of(tenant))
        location = f"{request.url.path.rstrip('/')}/{tenant.id}"
        return _answer(TenantDocument.of(tenant), 201, {"Location": location})

    async def read(self, request: Request, tenant_id: str) -> Response:
        access, _ = await let_in(self._gate, request, READ_TENANT, tenant_id=tenant_id)
        return _answer(TenantDocument.of(await self._service.get(access.tenant.id)))

    async def update(self, request: Request, tenant_id: str) -> Response:
        access, _ = await let_in(self._gate, request, UPDATE_TENANT, tenant_id=tenant_id)
        patch = fit(TENANT_PATCH, await read_json(request, self._timeout, allowed=("json", "merge-patch")))
        if "suspended" in patch and not access.may(Permission.TENANTS_SUSPEND):
            refusal = ForbiddenError(f"to change `suspended` needs the permission `{Permission.TENANTS_SUSPEND}`")
            raise blaming(refusal, access.principal, access.tenant.id)
        record = record_of(request)
        await record.begin(access, patch)

        def change(tenant: Tenant) -> Changes:
            record.tell(before=state_of(tenant))
            return changes(tenant, patch, self._least)

        tenant = await self._service.update(access.tenant.id, change)
        record.tell(after=state_of(tenant))
        return _answer(TenantDocument.of(tenant))
