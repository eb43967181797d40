"""What the writing endpoints take and answer, for the OpenAPI document."""

from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field

from tallystick.log.model import EVENT_SCHEMA

EVENT_EXAMPLES: Final[dict[str, Any]] = {
    "login": {
        "summary": "Somebody signed in",
        "value": {
            "action": "user.login",
            "resource_type": "user",
            "resource_id": "ada@example.com",
            "user_id": "ada@example.com",
            "ip_address": "203.0.113.9",
            "message": "Ada signed in with a passkey",
        },
    },
    "change": {
        "summary": "A change, with what was before and after, safe to send again",
        "value": {
            "event_id": "invoice-1204-approved",
            "action": "invoice.approve",
            "resource_type": "invoice",
            "resource_id": "1204",
            "user_id": "grace@example.com",
            "session_id": "s-7f3a",
            "request_id": "req-5d1c",
            "severity": "WARNING",
            "before": {"status": "open", "total": 129.95},
            "after": {"status": "approved", "total": 129.95},
            "metadata": {"approval": {"level": 2, "rule": "four-eyes"}},
        },
    },
}

_BULK_EXAMPLE: Final = [example["value"] for example in EVENT_EXAMPLES.values()]

EVENT_BODY: Final[dict[str, Any]] = {
    "required": True,
    "description": "One event. `gzip` and `zstd` are taken as `Content-Encoding`.",
    "content": {"application/json": {"schema": EVENT_SCHEMA.json_schema(), "examples": EVENT_EXAMPLES}},
}

BULK_BODY: Final[dict[str, Any]] = {
    "required": True,
    "description": "Events of one tenant, as a JSON array or one a line. `gzip` and `zstd` are taken.",
    "content": {
        "application/json": {
            "schema": {"type": "array", "items": EVENT_SCHEMA.json_schema(), "maxItems": 10_000},
            "example": _BULK_EXAMPLE,
        },
        "application/x-ndjson": {
            "schema": {"type": "string"},
            "example": '{"action":"user.login","resource_type":"user"}\n'
            '{"action":"user.logout","resource_type":"user"}\n',
        },
    },
}

IDEMPOTENCY_KEY: Final[dict[str, Any]] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Makes the whole request safe to send again: the same key and content, the same answer for a day.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    "example": "8e03978e-40d5-43e8-bc93-6894a57f9324",
}

ON_ERROR: Final[dict[str, Any]] = {
    "name": "on_error",
    "in": "query",
    "required": False,
    "description": "`fail` stores nothing when one event is bad; `skip` stores the good ones and reports the rest.",
    "schema": {"type": "string", "enum": ["fail", "skip"], "default": "fail"},
}


class StoredEvent(BaseModel):
    """Where an event lies in the log."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "019ac2f0-3c1b-7000-8000-12d2f4a91c3e",
                "seq": 1204,
                "leaf_hash": "6d7b1e0c1e4f8a0d3b5c7f9e2a4c6e8f0a1b2c3d4e5f60718293a4b5c6d7e8f9",
                "received_at": "2026-11-24T17:21:36.123Z",
            }
        }
    )

    id: Annotated[str, Field(description="UUIDv7 of its arrival, which carries its seq.")]
    seq: Annotated[int, Field(ge=0, description="Its position in the tenant's log, from 0 without a gap.")]
    leaf_hash: Annotated[str, Field(description="SHA-256(0x00 ‖ body) in hex: what the log commits to (RFC 6962).")]
    received_at: Annotated[str, Field(description="Its arrival, RFC 3339 in UTC, whole milliseconds.")]


class Rejected(BaseModel):
    """An event that was not stored, and why."""

    index: Annotated[int, Field(ge=0, description="Its place in the request.")]
    pointer: Annotated[str, Field(description="JSON Pointer to the field.")] = ""
    detail: Annotated[str, Field(description="What to mend.")]


class BulkAnswer(BaseModel):
    """What became of a bulk request."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "stored": 2,
                "known": 0,
                "ids": ["019ac2f0-3c1b-7000-8000-12d2f4a91c3e", "019ac2f0-3c1b-7000-8000-12d8315b09aa"],
                "rejected": [],
            }
        }
    )

    stored: Annotated[int, Field(ge=0, description="Events stored now.")]
    known: Annotated[int, Field(ge=0, description="Events that were stored before, by their `event_id`.")]
    ids: Annotated[list[str | None], Field(description="As long as the request; null where an event was rejected.")]
    rejected: list[Rejected]
