"""Histories on the wire: their parameters as OpenAPI describes them, and what a page looks like."""

from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import Field

from tallystick.history.parameters import BY, BY_TIME, RESOURCE, known_without
from tallystick.log.schemas_read import EXAMPLE_EVENT, Wire, path_parameter, query_parameter
from tallystick.search.schemas import LIST_PARAMETERS, EventList


class PatchOperation(Wire):
    """One operation of a JSON Patch (RFC 6902 §4)."""

    op: Literal["add", "remove", "replace"] = Field(description="What is done.")
    path: str = Field(description="JSON Pointer (RFC 6901) of the place; empty for the whole state.")
    value: Any = Field(default=None, description="What is there then; absent with `remove`.")


class ResourceHistory(EventList):
    """A page of what happened to a resource."""

    changes: list[list[PatchOperation] | None] = Field(
        description="For each item the JSON Patch that leads from its `before` to its `after`; null where it has"
        " neither. Where it has one of them the resource is new or gone: the one operation replaces the whole state. So"
        " does that of a change of more than a hundred places."
    )


def _listing_without(*names: str) -> list[dict[str, Any]]:
    """The parameters of a listing by time, the oldest first unless asked otherwise."""
    kept = [{**each} for each in LIST_PARAMETERS if each["name"] in known_without(*names)]
    for parameter in kept:
        if parameter["name"] == "order":
            parameter["schema"] = {"type": "string", "enum": list(BY_TIME), "default": "oldest"}
            parameter["description"] = "By occurrence, the oldest or the newest first, ties by seq."
            parameter["example"] = "oldest"
        elif parameter["name"] == "q":
            parameter["example"] = "approve* OR refund*"
    return kept


CORRELATED_PARAMETERS: Final = (
    path_parameter("correlation_id", "The request's or session's id, exactly.", "req-7d1c"),
    query_parameter(
        "by",
        "The field that the id is of. To filter by the other one, too, name it.",
        {"type": "string", "enum": list(BY), "default": "request_id"},
        "request_id",
    ),
    *_listing_without(),
)
"""The parameters of what is correlated, as OpenAPI describes them."""

HISTORY_PARAMETERS: Final = (
    path_parameter("resource_type", "Kind of the resource, exactly; a slash in it is written %2F.", "invoice"),
    path_parameter("resource_id", "Which one of that kind, exactly.", "inv-2026-0815"),
    *_listing_without(*RESOURCE),
)
"""The parameters of a history, as OpenAPI describes them."""

_PAGE: Final[Mapping[str, Any]] = {
    "items": [EXAMPLE_EVENT],
    "next": None,
    "prev": None,
    "indexed_through": 1203,
    "complete": True,
}

CORRELATED_EXAMPLE: Final[Mapping[str, Any]] = {**_PAGE, "items": [{**EXAMPLE_EVENT, "request_id": "req-7d1c"}]}
"""A page of what is correlated."""

HISTORY_EXAMPLE: Final[Mapping[str, Any]] = {
    **_PAGE,
    "changes": [[{"op": "replace", "path": "/state", "value": "approved"}]],
}
"""A page of a history."""
