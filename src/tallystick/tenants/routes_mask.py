"""`POST /logs/mask`: what an event would become by a tenant's masking, or by settings that are only tried."""

import os
import time
from dataclasses import replace
from typing import Annotated, Any, Final, Required, cast

import orjson
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, WithJsonSchema
from starlette.requests import Request
from starlette.responses import Response
from typing_extensions import TypedDict

from tallystick.auth.gate import Gate
from tallystick.auth.operations import PREVIEW_MASKING
from tallystick.auth.routing import performs
from tallystick.errors import InvalidError
from tallystick.log.entrance import admit
from tallystick.log.intake import form_of, read_body
from tallystick.log.model import EVENT_SCHEMA, SALT_BYTES, Clock, EventFields, parse_json, validate_event
from tallystick.log.query_string import query_of
from tallystick.privacy.masking.rules import MEANINGS, Action, Finding, FoundBy
from tallystick.privacy.masking.schemas import MaskingSettings
from tallystick.privacy.masking.service import Masking
from tallystick.settings import EventSettings, Settings
from tallystick.tenants.bodies import fit

_JSON: Final = "application/json"
_ROOM: Final = 64 * 1024
"""Bytes that a request may have beside its event: the settings to try."""

_ANY_TIME: Final = 2**62

_EVENT: Final[dict[str, Any]] = {
    "action": "user.password_reset",
    "resource_type": "user",
    "message": "Reset by a link with token=5f2d8a1c9e",
    "after": {"new_password": "correct horse", "password_changed_at": "2026-11-24T17:21:36Z"},
}

_TRIALS: Final[dict[str, Any]] = {
    "as set": {"summary": "By the tenant's settings", "value": {"event": _EVENT}},
    "to try": {
        "summary": "By settings that are only tried",
        "value": {"event": _EVENT, "masking": {"preset": "default", "actions": {"password": "drop"}}},
    },
}


class MaskingTrial(TypedDict, total=False):
    """An event, and perhaps settings to try on it."""

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)  # type: ignore[misc]

    event: Required[Annotated[dict[str, Any], WithJsonSchema(EVENT_SCHEMA.json_schema())]]
    masking: Annotated[MaskingSettings, Field(description="Settings to try; those that the tenant has when absent.")]


_TRIAL: Final[TypeAdapter[MaskingTrial]] = TypeAdapter(MaskingTrial)
_BODY: Final[dict[str, Any]] = {
    "required": True,
    "content": {
        _JSON: {
            "schema": _TRIAL.json_schema(ref_template="#/components/schemas/{model}"),
            "examples": _TRIALS,
        }
    },
}


class MaskedPlace(BaseModel):
    """Something that would be masked, and why."""

    pointer: str = Field(description="JSON Pointer to its place in the event as it would be stored.")
    rule: str = Field(description="The rule that found it.")
    action: Action = Field(description="What becomes of it.")
    found_by: FoundBy = Field(description="`name`: a name says that it is secret. `value`: it gives itself away.")
    reason: str = Field(description="The same, for people.")

    @classmethod
    def of(cls, finding: Finding) -> "MaskedPlace":
        """Put a finding on the wire."""
        told = "its name is that of" if finding.found_by == "name" else "the value looks like"
        return cls(
            pointer=finding.pointer,
            rule=finding.rule,
            action=finding.action,
            found_by=finding.found_by,
            reason=f"{told} `{finding.rule}`, and {MEANINGS[finding.action]}",
        )


class MaskedEvent(BaseModel):
    """What an event would become."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "event": {
                    **_EVENT,
                    "message": "Reset by a link with token=[redacted:token]",
                    "after": {**_EVENT["after"], "new_password": "[redacted:password]"},
                },
                "masked": [
                    MaskedPlace.of(Finding(pointer, rule, Action.REDACT, "name")).model_dump(mode="json")
                    for pointer, rule in (("/message", "token"), ("/after/new_password", "password"))
                ],
            }
        }
    )

    event: dict[str, Any] = Field(description="The event's fields as they would be stored.")
    masked: list[MaskedPlace] = Field(description="Everything that would be masked, each with the reason.")


def mask_routes(gate: Gate, masking: Masking, settings: Settings) -> APIRouter:
    """The route that shows what masking would do."""
    router = APIRouter(tags=["logs"])
    api = settings.api

    @router.post(
        "/logs/mask",
        operation_id=PREVIEW_MASKING.name,
        summary="See what masking would do",
        response_model=MaskedEvent,
        openapi_extra={"requestBody": _BODY},
    )
    @performs(PREVIEW_MASKING)
    async def preview_masking(request: Request) -> Response:
        """What an event would become, and which rule masks what in it: by the tenant's settings, or by others.

        Nothing of the event is stored, counted or logged. That somebody asked is in the access log.
        """
        principal = await gate.authenticate(request)
        form_of(request, allowed=("json",))
        query_of(request)
        value = parse_json(await read_body(request, api.max_event_bytes + _ROOM, api.body_timeout))
        # Recorded, but for the event: where digests are shown, somebody may be guessing.
        access = await admit(gate, request, principal, PREVIEW_MASKING, _tenant_of(value), {})
        trial = fit(_TRIAL, value)
        event: dict[str, Any] = {**_validated(trial["event"], settings.events)}
        tried = trial.get("masking")
        masker = await masking.trial(
            access.tenant, None if tried is None else tried.model_dump(mode="json", exclude_unset=True)
        )
        found = masker.mask(event, os.urandom(SALT_BYTES))
        answer = {"event": event, "masked": [MaskedPlace.of(finding).model_dump(mode="json") for finding in found]}
        return Response(orjson.dumps(answer), media_type=_JSON)

    return router


def _tenant_of(value: object) -> str | None:
    """The tenant that the event of a request names; what is no string is left to validation."""
    event = cast("dict[str, object]", value).get("event") if isinstance(value, dict) else None
    named = cast("dict[str, object]", event).get("tenant_id") if isinstance(event, dict) else None
    return named if isinstance(named, str) else None


def _validated(event: dict[str, Any], limits: EventSettings) -> EventFields:
    """The fields of a sample event; it may be of any time.

    Raises:
        InvalidError: It is no valid event; each flaw at its pointer in the request.
    """
    try:
        fields, _ = validate_event(event, limits, Clock(time.time_ns() // 1000, None, _ANY_TIME))
    except InvalidError as error:
        flaws = [replace(flaw, pointer=f"/event{flaw.pointer or ''}") for flaw in error.flaws]
        raise InvalidError(error.detail, flaws=flaws) from None
    return fields
