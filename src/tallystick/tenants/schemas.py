"""Tenants on the wire."""

from typing import Annotated, Any, Final, cast

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, WithJsonSchema
from typing_extensions import TypedDict

from tallystick.log.schemas_read import page_parameters
from tallystick.query.timestamps import format_moment
from tallystick.tenants.model import ID_PATTERN, MAX_NAME_LENGTH, Offboarding, Tenant, TenantSettings
from tallystick.tenants.service import TenantPage

NAME_PATTERN: Final = (
    "^[^\\u0000-\\u0020\\u007f-\\u00a0]([^\\u0000-\\u001f\\u007f-\\u009f]*[^\\u0000-\\u0020\\u007f-\\u00a0])?$"
)
"""No control characters, no space at either end; in the part of regular expressions that all dialects share."""

Name = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_NAME_LENGTH,
        pattern=NAME_PATTERN,
        description="For people to read. No control characters, no space at either end.",
    ),
]
TenantId = Annotated[
    str,
    Field(
        pattern=ID_PATTERN,
        min_length=1,
        max_length=63,
        description="Lower-case letters, digits and inner hyphens. It never changes.",
    ),
]


def _settings_patch() -> dict[str, Any]:
    """The schema of a merge patch of settings: each of them, and whatever is in them by name, may be null."""
    schema = TenantSettings.model_json_schema()
    patch = _patch_of(schema, schema.get("$defs", {}))
    patch["description"] = "Settings to change, merged into the present ones; null resets all of them."
    return patch


def _patch_of(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """What may stand in a merge patch where a schema describes the value itself."""
    described = {name: schema[name] for name in ("description",) if name in schema}
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    members = {name: value for name, value in schema.items() if name not in ("default", "title", "$defs", "required")}
    for name, member in schema.get("properties", {}).items():
        members["properties"] = {**members["properties"], name: _patch_of(member, definitions)}
    if isinstance(values := schema.get("additionalProperties"), dict):
        members["additionalProperties"] = _patch_of(cast("dict[str, Any]", values), definitions)
    return {"anyOf": [members, {"type": "null"}], **described}


class NewTenant(BaseModel):
    """A tenant to be made."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    id: TenantId
    name: Name
    settings: TenantSettings = Field(TenantSettings(), description="Settings; absent ones keep their defaults.")


class TenantPatch(TypedDict, total=False):
    """A JSON Merge Patch (RFC 7396) of a tenant: what is absent stays, and a setting that is null is reset."""

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)  # type: ignore[misc]

    name: Name
    settings: Annotated[dict[str, Any] | None, WithJsonSchema(_settings_patch())]
    suspended: Annotated[
        bool,
        Field(description="True refuses every request for the tenant, on all processes within seconds."),
    ]


NEW_TENANT: Final[TypeAdapter[NewTenant]] = TypeAdapter(NewTenant)
TENANT_PATCH: Final[TypeAdapter[TenantPatch]] = TypeAdapter(TenantPatch)
TENANT_SETTINGS: Final[TypeAdapter[TenantSettings]] = TypeAdapter(TenantSettings)


LIST_PARAMETERS: Final = page_parameters("tenants")
"""The query parameters of the listing, as OpenAPI describes them."""


class ClosingDocument(BaseModel):
    """That a tenant is to be removed, or is being removed."""

    reason: str = Field(description="Why, as it was said.")
    job_id: str = Field(description="The job that does it.", json_schema_extra={"format": "uuid"})
    asked_at: str = Field(description="When that was ordered.", json_schema_extra={"format": "date-time"})
    removal_at: str = Field(description="Until then it can be restored.", json_schema_extra={"format": "date-time"})
    begun_at: str | None = Field(
        description="When its removal began, which cannot be undone; null before.",
        json_schema_extra={"format": "date-time"},
    )
    exports_until: str | None = Field(
        description="Until when its last exports can be fetched; null before they are complete.",
        json_schema_extra={"format": "date-time"},
    )

    @classmethod
    def of(cls, offboarding: Offboarding) -> "ClosingDocument":
        """Put an offboarding on the wire."""
        return cls(
            reason=offboarding.reason,
            job_id=offboarding.job_id,
            asked_at=format_moment(offboarding.asked_at),
            removal_at=format_moment(offboarding.removal_at),
            begun_at=offboarding.begun_at and format_moment(offboarding.begun_at),
            exports_until=offboarding.exports_until and format_moment(offboarding.exports_until),
        )


class TenantDocument(BaseModel):
    """A tenant."""

    id: str = Field(description="Its id, which never changes.")
    name: str = Field(description="For people to read.")
    settings: dict[str, Any] = Field(description="What was set; everything else has its default.")
    suspended: bool = Field(description="Whether every request for it is refused.")
    created_at: str = Field(description="RFC 3339, UTC.", json_schema_extra={"format": "date-time"})
    closing: ClosingDocument | None = Field(description="That it is to be removed, and when; null for the others.")

    @classmethod
    def of(cls, tenant: Tenant) -> "TenantDocument":
        """Put a tenant on the wire."""
        created_at = format_moment(tenant.created_at)
        return cls(
            id=tenant.id,
            name=tenant.name,
            settings=dict(tenant.settings),
            suspended=tenant.suspended,
            created_at=created_at,
            closing=None if tenant.offboarding is None else ClosingDocument.of(tenant.offboarding),
        )


class TenantList(BaseModel):
    """A page of tenants, in the order they were made."""

    items: list[TenantDocument]
    next: str | None = Field(description="Cursor of the next page; null at the end.")
    prev: str | None = Field(description="Cursor of the page before; null at the start.")

    @classmethod
    def of(cls, page: TenantPage) -> "TenantList":
        """Put a page on the wire."""
        return cls(items=[TenantDocument.of(tenant) for tenant in page.tenants], next=page.next, prev=page.prev)
