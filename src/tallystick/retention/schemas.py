"""Cleanup on the wire."""

import re
from typing import Any, Final

from pydantic import BaseModel, Field

from tallystick.log.schemas_read import query_parameter
from tallystick.query.timestamps import format_moment
from tallystick.retention.service import Preview
from tallystick.search.schemas import LIST_PARAMETERS

LONGEST_REASON: Final = 200

_OF_PAGES: Final = ("order", "after_seq", "limit", "cursor", "highlight", "to")


_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")

TRUTHS: Final = {"true": True, "false": False}
"""How a query string says yes and no."""


def reason_of(text: str) -> str:
    """Read a reason.

    Raises:
        ValueError: It is not a line of so many characters.
    """
    if not text.strip() or len(text) > LONGEST_REASON or _CONTROL.search(text):
        raise ValueError(f"must be a line of 1 to {LONGEST_REASON} characters")
    return text.strip()


def _needed(name: str, description: str, schema: dict[str, Any], example: str) -> dict[str, Any]:
    return {**query_parameter(name, description, schema, example), "required": True}


def reason_parameter(description: str, example: str) -> dict[str, Any]:
    """The query parameter that says why something is removed, as OpenAPI describes it."""
    schema = {"type": "string", "minLength": 1, "maxLength": LONGEST_REASON}
    return _needed("reason", description, schema, example)


CLEANUP_PARAMETERS: Final[tuple[dict[str, Any], ...]] = (
    _needed(
        "before",
        "Only what occurred before this moment goes; RFC 3339 with an offset.",
        {"type": "string", "format": "date-time"},
        "2025-01-01T00:00:00Z",
    ),
    reason_parameter("Why. It is recorded, and told to whoever asks for what is gone.", "request 4711 of a customer"),
    query_parameter(
        "dry_run", "Count and show what would go, and store nothing.", {"type": "boolean", "default": False}, "true"
    ),
    *(each for each in LIST_PARAMETERS if each["name"] not in _OF_PAGES),
)
"""The query parameters of a cleanup, as OpenAPI describes them."""


class CleanupPreview(BaseModel):
    """What a cleanup would take."""

    events: int = Field(ge=0, description="How many events, as far as was looked.")
    complete: bool = Field(description="That is all of it; else it took too long to look at the rest.")
    looked_through: int = Field(description="Up to which seq was looked.")
    first_seq: int | None = Field(description="Seq of the first of them.")
    last_seq: int | None = Field(description="Seq of the last that was found.")
    protected_from: str = Field(
        description="What arrived at this moment or later stays, whatever is asked for.",
        json_schema_extra={"format": "date-time"},
    )
    sample: list[dict[str, Any]] = Field(description="The first few of them; empty for who may not read events.")

    @classmethod
    def of(cls, preview: Preview, sample: list[dict[str, Any]]) -> "CleanupPreview":
        """Put a preview on the wire."""
        return cls(
            events=preview.events,
            complete=preview.complete,
            looked_through=preview.looked_through,
            first_seq=preview.first_seq,
            last_seq=preview.last_seq,
            protected_from=format_moment(preview.protected_from),
            sample=sample,
        )
