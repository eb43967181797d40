"""`/tenants`: listed and made by platform admins, read and changed by those whom their roles let."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import TypeAdapter
from starlette.requests import Request
from starlette.responses import Response

from tallystick.auth.gate import Gate
from tallystick.auth.operations import CREATE_TENANT, LIST_TENANTS, READ_TENANT, UPDATE_TENANT
from tallystick.auth.permissions import Permission
from tallystick.auth.routing import performs
from tallystick.errors import ForbiddenError
from tallystick.log.schemas_read import group
from tallystick.tenants.bodies import JSON_TYPE, fit, read_json
from tallystick.tenants.model import Tenant, merge_patch
from tallystick.tenants.schemas import (
    NEW_TENANT,
    TENANT_PATCH,
    TENANT_SETTINGS,
    TenantDocument,
    TenantList,
    TenantPatch,
)
from tallystick.tenants.service import Changes, TenantService

MERGE_PATCH = "application/merge-patch+json"

_TENANT: dict[str, Any] = {
    "id": "acme",
    "name": "Acme Ltd",
    "settings": {},
    "suspended": False,
    "created_at": "2026-11-24T17:21:36.123Z",
}

TenantPath = Annotated[str, Path(max_length=63, description="The tenant's id.", examples=["acme"])]


def _answer(
    document: TenantDocument | TenantList, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    return Response(document.model_dump_json(), status, headers, media_type=JSON_TYPE)


def _example(value: object) -> dict[str, Any]:
    return {"content": {JSON_TYPE: {"example": value}}}


def _body(schema_of: TypeAdapter[Any], examples: dict[str, Any], *media_types: str) -> dict[str, Any]:
    schema = schema_of.json_schema(ref_template="#/components/schemas/{model}")
    content = {media_type: {"schema": schema, "examples": examples} for media_type in media_types}
    return {"requestBody": {"required": True, "content": content}}


def changes(tenant: Tenant, patch: TenantPatch) -> Changes:
    """What a tenant becomes by a merge patch (RFC 7396).

    Raises:
        InvalidError: The settings it leads to are not valid.
    """
    settings = tenant.settings
    if "settings" in patch:
        merged = merge_patch(settings, patch["settings"])
        settings = fit(TENANT_SETTINGS, merged or {}, at="/settings").model_dump(exclude_unset=True)
    return Changes(
        name=patch.get("name", tenant.name),
        settings=settings,
        suspended=patch.get("suspended", tenant.suspended),
    )


def tenant_routes(service: TenantService, gate: Gate) -> APIRouter:
    """The routes of tenants."""
    router = APIRouter(tags=["tenants"])

    @router.get(
        "/tenants",
        operation_id=LIST_TENANTS.name,
        summary="List tenants",
        response_model=TenantList,
        responses={200: _example({"items": [_TENANT], "next": None, "prev": None})},
    )
    @performs(LIST_TENANTS)
    async def list_tenants(
        request: Request,
        limit: Annotated[int, Query(ge=1, le=1000, description="Most tenants to answer.")] = 50,
        cursor: Annotated[str | None, Query(max_length=256, description="`next` or `prev` of an earlier page.")] = None,
    ) -> Response:
        """All tenants in the order they were made. For platform admins."""
        access = await gate.authorise(await gate.authenticate(request), LIST_TENANTS, None)
        await gate.charge(request, access, 1)
        group(request.query_params.multi_items(), ("limit", "cursor"))
        return _answer(TenantList.of(await service.page(cursor, limit)))

    @router.post(
        "/tenants",
        operation_id=CREATE_TENANT.name,
        summary="Make a tenant",
        status_code=201,
        response_model=TenantDocument,
        responses={
            201: _example(_TENANT)
            | {"headers": {"Location": {"description": "Path of the tenant.", "schema": {"type": "string"}}}},
            409: {"description": "The id is taken."},
        },
        openapi_extra=_body(
            NEW_TENANT,
            {
                "tenant": {"summary": "A tenant", "value": {"id": "acme", "name": "Acme Ltd"}},
                "with settings": {"value": {"id": "globex-eu-1", "name": "Globex Europe", "settings": {}}},
            },
            JSON_TYPE,
        ),
    )
    @performs(CREATE_TENANT)
    async def create_tenant(request: Request) -> Response:
        """A tenant is made with its two logs, `events` and `access`, and can be used at once. For platform admins."""
        access = await gate.authorise(await gate.authenticate(request), CREATE_TENANT, None)
        await gate.charge(request, access, 1)
        new = fit(NEW_TENANT, await read_json(request))
        tenant = await service.create(new.id, new.name, new.settings.model_dump(exclude_unset=True))
        location = f"{request.url.path.rstrip('/')}/{tenant.id}"
        return _answer(TenantDocument.of(tenant), 201, {"Location": location})

    @router.get(
        "/tenants/{tenant_id}",
        operation_id=READ_TENANT.name,
        summary="Read a tenant",
        response_model=TenantDocument,
        responses={200: _example(_TENANT)},
    )
    @performs(READ_TENANT)
    async def read_tenant(request: Request, tenant_id: TenantPath) -> Response:
        """A tenant's name, settings and state."""
        access = await gate.authorise(await gate.authenticate(request), READ_TENANT, tenant_id)
        await gate.charge(request, access, 1)
        return _answer(TenantDocument.of(await service.get(access.tenant.id)))

    @router.patch(
        "/tenants/{tenant_id}",
        operation_id=UPDATE_TENANT.name,
        summary="Change a tenant",
        response_model=TenantDocument,
        responses={200: _example(_TENANT)},
        openapi_extra=_body(
            TENANT_PATCH,
            {
                "rename": {"summary": "Another name", "value": {"name": "Acme Holding"}},
                "suspend": {"summary": "Refuse every request for it", "value": {"suspended": True}},
                "resume": {"summary": "Let its requests in again", "value": {"suspended": False}},
            },
            JSON_TYPE,
            MERGE_PATCH,
        ),
    )
    @performs(UPDATE_TENANT)
    async def update_tenant(request: Request, tenant_id: TenantPath) -> Response:
        """A JSON Merge Patch (RFC 7396) of `name`, `settings` and `suspended`.

        Suspending and resuming is for platform admins; it holds within seconds on every process.
        """
        access = await gate.authorise(await gate.authenticate(request), UPDATE_TENANT, tenant_id)
        await gate.charge(request, access, 1)
        patch = fit(TENANT_PATCH, await read_json(request, (JSON_TYPE, MERGE_PATCH)))
        if "suspended" in patch and not access.may(Permission.TENANTS_SUSPEND):
            raise ForbiddenError(f"to change `suspended` needs the permission `{Permission.TENANTS_SUSPEND}`")
        tenant = await service.update(access.tenant.id, lambda tenant: changes(tenant, patch))
        return _answer(TenantDocument.of(tenant))

    return router
