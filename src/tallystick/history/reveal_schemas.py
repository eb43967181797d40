"""Reveals on the wire."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, field_validator

from tallystick.log.schemas_read import EXAMPLE_EVENT, Wire

MAX_FIELDS: Final = 50
MAX_CHARACTERS: Final = 7_000
"""Of all pointers together: the access log keeps them whole."""

_POINTER: Final = "^(/([^/~]|~[01])*)+$"


class RevealRequest(BaseModel):
    """Which fields of an event are to be revealed, and why."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    reason: Annotated[str, StringConstraints(min_length=1, max_length=500, pattern="^[^\\u0000-\\u001f]*$")] = Field(
        description="Why: a ticket, a case, a request. It is kept in the tenant's access log."
    )
    fields: list[Annotated[str, StringConstraints(max_length=1024, pattern=_POINTER)]] = Field(
        min_length=1,
        max_length=MAX_FIELDS,
        description="JSON Pointers (RFC 6901) into the event, each to a sealed value itself. No other field is shown.",
    )

    @field_validator("fields")
    @classmethod
    def _once(cls, fields: list[str]) -> list[str]:
        if len(set(fields)) < len(fields):
            raise ValueError("name each field once")
        if sum(map(len, fields)) > MAX_CHARACTERS:
            raise ValueError(f"all fields together have more than {MAX_CHARACTERS} characters: ask for fewer at a time")
        return fields


class RevealAnswer(Wire):
    """What was sealed."""

    id: str = Field(description="The event's id.", json_schema_extra={"format": "uuid"})
    fields: dict[str, Any] = Field(
        description="By the JSON Pointers that were asked for: the values as they were sent."
    )


REVEAL: Final[TypeAdapter[RevealRequest]] = TypeAdapter(RevealRequest)

ASKED: Final[Mapping[str, Any]] = {"reason": "Chargeback 4711: which card was it?", "fields": ["/metadata/card"]}
ANSWERED: Final[Mapping[str, Any]] = {
    "id": EXAMPLE_EVENT["id"],
    "fields": {"/metadata/card": "4111 1111 1111 1111"},
}

REVEAL_BODY: Final[Mapping[str, Any]] = {
    "required": True,
    "content": {"application/json": {"schema": RevealRequest.model_json_schema(), "example": ASKED}},
}
"""The body, as OpenAPI describes it."""
