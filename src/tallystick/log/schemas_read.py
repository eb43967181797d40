"""The wire of reading: what an answered event looks like."""

from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from tallystick.log.reader import DEFAULT_LIMIT, MAX_LIMIT


class Wire(BaseModel):
    """What is answered, member by member."""

    model_config = ConfigDict(extra="forbid")


class WrittenBy(Wire):
    """The token that wrote an event: any writer may name any `user_id`, so the true author is on record."""

    issuer: str = Field(description="`iss` of the token.")
    subject: str = Field(description="`sub` of the token.")


class Event(Wire):
    """An event as it is stored, with its place in the log. Fields that were not sent are absent."""

    seq: int = Field(ge=0, description="Position in the tenant's log: 0, 1, 2, … without gaps.")
    leaf_hash: str = Field(
        pattern="^[0-9a-f]{64}$",
        description='SHA-256 of a zero byte and the stored body: this answer\'s bytes with `{"seq":…,"leaf_hash":"…",`'
        " replaced by `{` (RFC 6962 §2.1).",
    )
    id: str = Field(description="UUIDv7 of the arrival, made by the server.", json_schema_extra={"format": "uuid"})
    received_at: str = Field(
        description="When the server took it, in UTC to the millisecond.", json_schema_extra={"format": "date-time"}
    )
    timestamp: str = Field(
        description="When it happened, as sent; `received_at` where it was absent.",
        json_schema_extra={"format": "date-time"},
    )
    tenant_id: str = Field(description="The tenant whose event it is.")
    action: str = Field(description="What was done.")
    resource_type: str = Field(description="Kind of the thing it was done to.")
    resource_id: str | None = Field(default=None, description="Which one of that kind.")
    user_id: str | None = Field(default=None, description="Who did it.")
    session_id: str | None = Field(default=None, description="The session it was done in.")
    request_id: str | None = Field(default=None, description="Correlates the events of one request across services.")
    event_id: str | None = Field(default=None, description="The client's own id of the event.")
    ip_address: str | None = Field(default=None, description="Where it came from: IPv4 or IPv6, as sent.")
    user_agent: str | None = Field(default=None, description="The client program, as it named itself.")
    severity: Literal["INFO", "WARNING", "ERROR", "CRITICAL"] = Field(description="How much it matters.")
    message: str | None = Field(default=None, description="One line for people.")
    before: dict[str, Any] | None = Field(default=None, description="The resource before; null if new.")
    after: dict[str, Any] | None = Field(default=None, description="The resource after; null if gone.")
    metadata: dict[str, Any] | None = Field(default=None, description="Anything else.")
    written_by: WrittenBy = Field(description="The token that wrote it.")
    salt: str = Field(description="96 random bits in hex: the leaf hash tells nothing to who may not see the event.")


EXAMPLE_EVENT: Final[Mapping[str, Any]] = {
    "seq": 1204,
    "leaf_hash": "c695e5a7a3233fd774f766eade6f2608f6ae6095688614361de7415b98fd857a",
    "id": "01a20e93-c97b-7000-8000-12d2d0a3f4b5",
    "received_at": "2026-11-24T17:21:36.123Z",
    "timestamp": "2026-11-24T18:21:35.998+01:00",
    "tenant_id": "acme",
    "action": "invoice.approve",
    "resource_type": "invoice",
    "resource_id": "inv-2026-0815",
    "user_id": "maria@acme.example",
    "ip_address": "203.0.113.7",
    "before": {"state": "open"},
    "after": {"state": "approved"},
    "severity": "INFO",
    "written_by": {"issuer": "tallystick", "subject": "billing"},
    "salt": "5f0c9a7be1d24c3380aa61f2",
}


def query_parameter(name: str, description: str, schema: Mapping[str, Any], example: object = None) -> dict[str, Any]:
    """A query parameter as OpenAPI describes it."""
    shown = {} if example is None else {"example": example}
    return {"name": name, "in": "query", "description": description, "schema": schema, **shown}


def path_parameter(name: str, description: str, example: str) -> dict[str, Any]:
    """A parameter of the path, any text, as OpenAPI describes it."""
    schema = {"type": "string", "minLength": 1}
    place = {"name": name, "in": "path", "required": True}
    return {**place, "description": description, "schema": schema, "example": example}


def page_parameters(what: str) -> tuple[dict[str, Any], ...]:
    """The parameters that lead through the pages of a plain listing, as OpenAPI describes them.

    Args:
        what: What is listed.
    """
    sizes = {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}
    return (
        query_parameter("limit", f"Most {what} to answer.", sizes),
        query_parameter("cursor", "`next` or `prev` of an earlier page.", {"type": "string", "maxLength": 256}),
    )


TENANT_PARAMETER: Final[Mapping[str, Any]] = query_parameter(
    "tenant_id",
    "The tenant to read; the token's default when absent.",
    {"type": "string", "minLength": 1, "maxLength": 63},
    "acme",
)

EVENT_PARAMETERS: Final = ({**TENANT_PARAMETER},)
"""The query parameters of a single event, as OpenAPI describes them."""
