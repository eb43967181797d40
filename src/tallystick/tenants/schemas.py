"""Tenants on the wire."""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from tallystick.tenants.model import ID_PATTERN, MAX_NAME_LENGTH, Tenant, TenantSettings
from tallystick.tenants.service import TenantPage


def _printable(name: str) -> str:
    if not name.isprintable() or not name.strip():
        raise ValueError("must have visible characters and no control characters")
    return name


Name = Annotated[
    str,
    Field(min_length=1, max_length=MAX_NAME_LENGTH, description="For people to read."),
    AfterValidator(_printable),
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


class _Wire(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class NewTenant(_Wire):
    """A tenant to be made."""

    id: TenantId
    name: Name
    settings: TenantSettings = Field(TenantSettings(), description="Settings; absent ones keep their defaults.")


class TenantPatch(_Wire):
    """A JSON Merge Patch (RFC 7396) of a tenant.

    What is absent stays; a setting that is null returns to its default.
    """

    name: Name | None = Field(None, description="The new name. A name cannot be removed, so null is refused.")
    settings: dict[str, Any] | None = Field(
        None, description="Settings to change, merged into the present ones; null resets all of them."
    )
    suspended: bool | None = Field(
        None,
        description="True refuses every request for the tenant, within seconds on all processes; false lets them in.",
    )


class TenantDocument(BaseModel):
    """A tenant."""

    id: str
    name: str
    settings: dict[str, Any] = Field(description="What was set; everything else has its default.")
    suspended: bool = Field(description="Whether every request for it is refused.")
    created_at: str = Field(description="RFC 3339, UTC.", json_schema_extra={"format": "date-time"})

    @classmethod
    def of(cls, tenant: Tenant) -> "TenantDocument":
        """Put a tenant on the wire."""
        created_at = tenant.created_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return cls(
            id=tenant.id,
            name=tenant.name,
            settings=dict(tenant.settings),
            suspended=tenant.suspended,
            created_at=created_at,
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
