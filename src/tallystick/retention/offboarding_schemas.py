"""The removal of tenants on the wire."""

from typing import Any, Final

from pydantic import BaseModel, Field

from tallystick.log.schemas_read import query_parameter
from tallystick.query.timestamps import format_moment
from tallystick.retention.offboarding_service import LONGEST_WAIT, Outlook
from tallystick.retention.schemas import reason_parameter

REMOVAL_PARAMETERS: Final[tuple[dict[str, Any], ...]] = (
    reason_parameter("Why. It is recorded, and told to whoever asks for the tenant later.", "the contract ended"),
    query_parameter(
        "wait_days",
        "Days until the removal, in which it can be undone; no fewer than the installation says, which is the default.",
        {"type": "integer", "minimum": 0, "maximum": LONGEST_WAIT},
        "60",
    ),
    query_parameter(
        "dry_run", "Tell what would be removed and when, and change nothing.", {"type": "boolean", "default": False}
    ),
)
"""The query parameters of a removal, as OpenAPI describes them."""


class LogOutlook(BaseModel):
    """A log that would go."""

    log: str = Field(description="`events` or `access`.")
    events: int = Field(ge=0, description="How many events it ever held.")


class RemovalOutlook(BaseModel):
    """What the removal of a tenant would take."""

    tenant_id: str = Field(description="Which.")
    logs: list[LogOutlook]
    removal_at: str = Field(description="Until then it could be restored.", json_schema_extra={"format": "date-time"})
    exports_until: str = Field(
        description="Until then its last exports could be fetched; then its keys are erased.",
        json_schema_extra={"format": "date-time"},
    )
    gone_at: str = Field(
        description="When nothing would be left at the earliest: the minimum retention of each log is waited for.",
        json_schema_extra={"format": "date-time"},
    )

    @classmethod
    def of(cls, outlook: Outlook) -> "RemovalOutlook":
        """Put an outlook on the wire."""
        return cls(
            tenant_id=outlook.tenant_id,
            logs=[LogOutlook(log=log.name, events=log.size) for log in outlook.logs],
            removal_at=format_moment(outlook.removal_at),
            exports_until=format_moment(outlook.exports_until),
            gone_at=format_moment(outlook.gone_at),
        )


EXAMPLE_OUTLOOK: Final[dict[str, Any]] = {
    "tenant_id": "acme",
    "logs": [{"log": "events", "events": 1_204_113}, {"log": "access", "events": 8_211}],
    "removal_at": "2026-12-24T17:21:36.123Z",
    "exports_until": "2027-01-23T17:21:36.123Z",
    "gone_at": "2027-03-25T00:00:00.000Z",
}
