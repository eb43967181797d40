"""What a tenant is: its id, its name, its settings, and which of them may be changed."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, TypeAlias, cast

from pydantic import BaseModel, ConfigDict, Field

from tallystick.privacy.masking.schemas import MaskingSettings

ID_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
"""A tenant's id: a DNS label, so that it fits in a host name, a path and a storage prefix as it is."""

MAX_NAME_LENGTH = 200

LOGS = ("events", "access")
"""The logs a tenant is made with: what its applications send, and who looked at or changed what."""

Json: TypeAlias = Mapping[str, Any]

_ID = re.compile(ID_PATTERN)


def is_tenant_id(text: str) -> bool:
    """Whether `text` could be the id of a tenant that somebody made; the reserved `_platform` is not."""
    return _ID.fullmatch(text) is not None


Days = Annotated[int, Field(ge=1, le=36_500)]


class RetentionPolicy(BaseModel):
    """For how long a tenant's logs are kept, in days of UTC, counted from arrival; null is for ever."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    events_days: Days | None = Field(default=None, description="What applications sent.")
    access_days: Days | None = Field(default=None, description="Who looked at it or changed what.")


class TenantSettings(BaseModel):
    """What can be set for one tenant.

    A field is added by the capability that reads it, with a default that keeps older tenants as they were.
    Unknown names are refused, so that a misspelt setting never goes unnoticed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    masking: MaskingSettings = Field(default=MaskingSettings(), description="What of its events is masked, and how.")
    retention: RetentionPolicy = Field(
        default=RetentionPolicy(), description="For how long its logs are kept; for ever where nothing is said."
    )


@dataclass(frozen=True, slots=True)
class Offboarding:
    """That a tenant is to be removed, is being removed or was.

    Attributes:
        job_id: The job that does it.
        reason: Why.
        asked_at: When that was ordered.
        removal_at: Until when it can be restored.
        begun_at: When its removal began, after which it cannot be; None before.
        exports_until: Until when its last exports can be fetched; None before they are complete.
        removed_at: When nothing was left; None before.
    """

    job_id: str
    reason: str
    asked_at: datetime
    removal_at: datetime
    begun_at: datetime | None = None
    exports_until: datetime | None = None
    removed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Tenant:
    """One tenant, as stored.

    Attributes:
        settings: Only what was set; the defaults of `TenantSettings` hold for the rest.
        suspended_at: Since when every request for it is refused, or None.
        offboarding: That it is to be removed or was, or None.
    """

    id: str
    name: str
    settings: Json
    suspended_at: datetime | None
    created_at: datetime
    offboarding: Offboarding | None = None

    @property
    def suspended(self) -> bool:
        """Whether every request for it is refused."""
        return self.suspended_at is not None


def state_of(tenant: Tenant) -> dict[str, object]:
    """What of a tenant can change: what the access log tells of it before and after."""
    return {"name": tenant.name, "settings": dict(tenant.settings), "suspended": tenant.suspended}


def gone(tenant_id: str, offboarding: Offboarding) -> str | None:
    """What is said of a tenant that was removed; None where it was not, or not yet."""
    if offboarding.removed_at is None:
        return None
    day = f"{offboarding.removed_at:%Y-%m-%d}"
    return f"the tenant {tenant_id} was removed on {day} ({offboarding.reason}); its id is given to nobody else"


def merge_patch(target: object, patch: object) -> object:
    """Apply a JSON Merge Patch (RFC 7396 §2): objects merge, null removes, everything else replaces.

    Args:
        target: The JSON value to change; it is not modified.
        patch: The patch.
    """
    if not isinstance(patch, Mapping):
        return patch
    merged: dict[str, object] = dict(cast("Json", target)) if isinstance(target, Mapping) else {}
    for name, value in cast("Json", patch).items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged
