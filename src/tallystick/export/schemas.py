"""Exports on the wire: their parameters and answers as OpenAPI describes them."""

from collections.abc import Mapping
from typing import Any, Final

import orjson

from tallystick.export.columns import DEFAULT_COLUMNS, MAX_COLUMNS
from tallystick.export.formats import FORMATS
from tallystick.export.parameters import SELECTING
from tallystick.log.identity import MAX_SEQ
from tallystick.log.schemas_read import EXAMPLE_EVENT, query_parameter
from tallystick.search.schemas import LIST_PARAMETERS

THROUGH_HEADER: Final = "Tallystick-Through-Seq"

EXPORT_PARAMETERS: Final = (
    query_parameter(
        "format",
        "One event a line, one JSON document, or a table.",
        {"type": "string", "enum": list(FORMATS), "default": "ndjson"},
        "ndjson",
    ),
    *({**each} for each in LIST_PARAMETERS if each["name"] in SELECTING),
    {
        **query_parameter(
            "columns",
            "Of CSV: fields, or paths such as `metadata.amount`, in the order wanted.",
            {"type": "array", "maxItems": MAX_COLUMNS, "items": {"type": "string", "minLength": 1}},
        ),
        "style": "form",
        "explode": False,
    },
    query_parameter(
        "after_id",
        "To go on with an export that was broken off: the `id` of the last event that arrived whole."
        " Repeat the other parameters, and name `through_seq`.",
        {"type": "string", "format": "uuid"},
    ),
    query_parameter(
        "through_seq",
        "No event after this seq; the newest of the log when absent. To go on: what the header"
        f" `{THROUGH_HEADER}` answered.",
        {"type": "integer", "minimum": -1, "maximum": MAX_SEQ},
    ),
)
"""The query parameters of an export, as OpenAPI describes them."""

EXPORT_HEADERS: Final[Mapping[str, Any]] = {
    THROUGH_HEADER: {
        "description": "The export is complete through this seq: later events are not in it. -1 for an empty log.",
        "schema": {"type": "integer", "minimum": -1},
    }
}
"""The headers of an export, as OpenAPI describes them."""

_LINE: Final = orjson.dumps(EXAMPLE_EVENT).decode()

EXPORT_CONTENT: Final[Mapping[str, Any]] = {
    "application/x-ndjson": {"schema": {"type": "string"}, "example": f"{_LINE}\n"},
    "application/json": {
        "schema": {
            "type": "object",
            "required": ["through_seq", "items"],
            "additionalProperties": False,
            "properties": {
                "through_seq": {"type": "integer", "description": f"As `{THROUGH_HEADER}`."},
                "items": {
                    "type": "array",
                    "items": {"$ref": "#/components/schemas/Event"},
                    "description": "The events, the oldest first.",
                },
            },
        },
        "example": {"through_seq": 1204, "items": [EXAMPLE_EVENT]},
    },
    "text/csv": {"schema": {"type": "string"}, "example": ",".join(DEFAULT_COLUMNS) + "\r\n"},
}
"""The bodies of an export, as OpenAPI describes them."""
