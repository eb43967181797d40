"""Exports in the object store on the wire."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel, Field

from tallystick.export.columns import MAX_COLUMNS
from tallystick.export.formats import COMPRESSIONS, FORMATS, Compression, Format
from tallystick.export.model import StoredExport, StoredState
from tallystick.export.parameters import STORING
from tallystick.jobs.schemas import JobProgress, Moment, fraction
from tallystick.log.identity import MAX_SEQ
from tallystick.query.timestamps import format_moment
from tallystick.search.schemas import LIST_PARAMETERS, body_member

_PARAMETERS: Final = ("format", "columns", "compression", "through_seq")
"""What is shown beside the query."""

EXPORT_BODY: Final[Mapping[str, Any]] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        **{each["name"]: body_member(each) for each in LIST_PARAMETERS if each["name"] in STORING},
        "format": {
            "type": "string",
            "enum": list(FORMATS),
            "default": "ndjson",
            "description": "One event a line, one JSON document, or a table.",
        },
        "columns": {
            "type": "array",
            "minItems": 1,
            "maxItems": MAX_COLUMNS,
            "items": {"type": "string", "minLength": 1},
            "description": "Of CSV: fields, or paths such as `metadata.amount`, in the order wanted.",
        },
        "compression": {
            "type": "string",
            "enum": list(COMPRESSIONS),
            "default": "none",
            "description": "How the file is compressed.",
        },
        "through_seq": {
            "type": "integer",
            "minimum": -1,
            "maximum": MAX_SEQ,
            "description": "No event after this seq; the newest of the log when absent.",
        },
    },
}
"""The body that asks for an export, as OpenAPI describes it."""

EXPORTS: Final[Mapping[str, Any]] = {
    "everything": {"summary": "All events, compressed", "value": {"compression": "zstd"}},
    "a month as a table": {
        "value": {
            "format": "csv",
            "columns": ["timestamp", "user_id", "action", "metadata.amount"],
            "from": "2026-10-01T00:00:00Z",
            "to": "2026-11-01T00:00:00Z",
            "q": "metadata.amount:>=1000",
        }
    },
}
"""Examples of the body."""

QUEUED: Final[Mapping[str, Any]] = {
    "id": "3f0c9a52-6f0e-4b7e-9d35-1f1f0e6f7c11",
    "log": "events",
    "state": "queued",
    "progress": {"done": 0, "total": None, "fraction": None},
    "error": None,
    "format": "ndjson",
    "compression": "zstd",
    "columns": None,
    "query": {"severity": ["ERROR"]},
    "through_seq": 1_204_112,
    "events": None,
    "bytes": None,
    "sha256": None,
    "content": None,
    "created_at": "2026-11-24T17:21:36.123Z",
    "started_at": None,
    "finished_at": None,
    "expires_at": None,
}
READY: Final[Mapping[str, Any]] = {
    **QUEUED,
    "state": "succeeded",
    "progress": {"done": 81_022, "total": 81_022, "fraction": 1.0},
    "events": 81_022,
    "bytes": 5_242_880,
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "content": "/api/v1/exports/3f0c9a52-6f0e-4b7e-9d35-1f1f0e6f7c11/content",
    "started_at": "2026-11-24T17:21:36.406Z",
    "finished_at": "2026-11-24T17:21:44.019Z",
    "expires_at": "2026-11-25T17:21:44.011Z",
}


class ExportDocument(BaseModel):
    """An export in the object store, or on its way there."""

    id: str = Field(description="Of the export, and of its job.", json_schema_extra={"format": "uuid"})
    log: str = Field(description="Which of the tenant's logs; `access` before a tenant is removed alone.")
    state: StoredState = Field(description="`queued` and `running` come first; fetch it when it has `succeeded`.")
    progress: JobProgress = Field(
        description="In events. The total is not known before the end where there are filters."
    )
    error: str | None = Field(description="Why it failed, or why it was put off.")
    format: Format = Field(description="One event a line, one JSON document, or a table.")
    compression: Compression = Field(description="How the file is compressed.")
    columns: list[str] | None = Field(description="Of CSV, where they were chosen.")
    query: dict[str, list[str]] = Field(description="Which events: the filters, `q` and the times, as sent.")
    through_seq: int = Field(ge=-1, description="It is complete through this seq: later events are not in it.")
    events: int | None = Field(ge=0, description="How many events it holds.")
    bytes: int | None = Field(ge=0, description="Its size.")
    sha256: str | None = Field(description="Of its bytes, in hex.")
    content: str | None = Field(
        description="Where it can be fetched with a token of whoever asked for it; null before."
    )
    created_at: Moment = Field(description="When it was asked for.")
    started_at: Moment | None = Field(description="When a worker first began it.")
    finished_at: Moment | None = Field(description="When it ended.")
    expires_at: Moment | None = Field(description="After this it can no longer be fetched, and is removed.")

    @classmethod
    def of(cls, export: StoredExport, content: str) -> "ExportDocument":
        """Put an export on the wire.

        Args:
            export: Which.
            content: Where it is fetched.
        """
        asked = export.asked
        ready = export.stands == "succeeded"
        progress = JobProgress(done=export.done, total=export.total, fraction=fraction(export))
        return cls(
            id=export.id,
            log=export.log,
            state=export.stands,
            progress=progress,
            error=export.error if export.state != "succeeded" else None,
            format=FORMATS[asked.get("format", ["ndjson"])[0]],
            compression=COMPRESSIONS[asked.get("compression", ["none"])[0]],
            columns=asked.get("columns"),
            query={name: values for name, values in asked.items() if name not in _PARAMETERS},
            through_seq=export.through_seq,
            events=export.events if ready else None,
            bytes=export.size if ready else None,
            sha256=export.sha256.hex() if ready and export.sha256 is not None else None,
            content=content if ready else None,
            created_at=format_moment(export.created_at),
            started_at=export.started_at and format_moment(export.started_at),
            finished_at=export.finished_at and format_moment(export.finished_at),
            expires_at=export.expires_at and format_moment(export.expires_at),
        )


class ExportList(BaseModel):
    """A page of exports, the newest first."""

    items: list[ExportDocument]
    next: str | None = Field(description="Cursor of the page after it; null at the end.")
    prev: str | None = Field(description="Cursor of the page before; null at the start.")
