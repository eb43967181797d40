"""The events of access logs: who, what, and what came of it, as an event of the log like any other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, cast

import orjson

from tallystick.log.model import Author, EventFields, PreparedEvent, Severity, form_event
from tallystick.privacy.masking.service import redactor
from tallystick.query.timestamps import format_milliseconds

Phase = Literal["intent", "outcome", "refused"]
Result = Literal["completed", "aborted", "failed"]

_LONGEST: Final = 2_048
"""Characters of one value that are kept: all of a `q`, so that nobody hides in it what they look for."""

_MOST_VALUES: Final = 100
"""Values side by side that are kept: all that a filter may have, for the same reason."""

_MOST_CHARACTERS: Final = 32_768
_USER_AGENT: Final = 1_024
_DEEPEST: Final = 6
_IDENTITY: Final = 256
_RESOURCE: Final = 512
_CUT: Final = "…"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does something.

    Attributes:
        issuer: Who vouches for the subject: a token's issuer, or one of `tallystick:cli` and `tallystick:worker`.
        subject: Who it is.
        role: What they are in the tenant; None where roles mean nothing.
        token_id: Of their token, or None.
        ip_address: Where they are, as far as trusted proxies tell.
        user_agent: Their program, as it names itself.
        request_id: Correlates what one request did.
    """

    issuer: str
    subject: str
    role: str | None = None
    token_id: str | None = None
    ip_address: str | None = None
    user_agent: str | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Deed:
    """What somebody does.

    Attributes:
        operation: The `operationId`, or the words of a command.
        action: The stable word for it: `logs.list`.
        resource_type: What kind of thing it is done to.
        resource_id: Which one, or None.
        asked: What is asked for, by name. It is kept as sent, cut to a bounded length and without secrets.
    """

    operation: str
    action: str
    resource_type: str
    resource_id: str | None = None
    asked: Mapping[str, object] = field(default_factory=dict[str, object])


@dataclass(frozen=True, slots=True)
class Place:
    """An access log.

    Attributes:
        tenant_id: Whose.
        log_id: Its id.
        masking: The tenant's settings of that name, by which what is asked for is masked; None where it has none.
    """

    tenant_id: str
    log_id: int
    masking: Mapping[str, object] | None = field(default=None, compare=False)


def access_event(
    place: Place,
    actor: Actor,
    deed: Deed,
    phase: Phase,
    told: Mapping[str, object],
    *,
    occurred_ms: int | None = None,
    severity: Severity = "INFO",
) -> PreparedEvent:
    """Form an event of an access log.

    Args:
        place: The log it is for.
        actor: Who.
        deed: What.
        phase: Whether it is about to be done, was done, or was refused.
        told: What else is to be said; `before` and `after` become those of the event, the rest its metadata.
        occurred_ms: When, in Unix milliseconds; None is the arrival.
        severity: How much it matters.
    """
    said = dict(told)
    changed = {name: said.pop(name) for name in ("before", "after") if name in said}
    about = {
        "phase": phase,
        "operation": deed.operation,
        "issuer": actor.issuer,
        "role": actor.role,
        "token_id": actor.token_id,
        **said,
    }
    fields = {
        "timestamp": None if occurred_ms is None else format_milliseconds(occurred_ms),
        "action": deed.action,
        "resource_type": deed.resource_type,
        "resource_id": _cut(deed.resource_id, _RESOURCE),
        "user_id": _cut(actor.subject, _IDENTITY),
        "request_id": _cut(actor.request_id, _IDENTITY),
        "ip_address": actor.ip_address,
        "user_agent": _cut(actor.user_agent, _USER_AGENT),
        "severity": severity,
        **changed,
        "metadata": {name: value for name, value in about.items() if value is not None},
    }
    if phase == "intent" and deed.asked:
        cast("dict[str, object]", fields["metadata"])["asked"] = _without_secrets(bounded(deed.asked), place)
    given = cast("EventFields", {name: value for name, value in fields.items() if value not in (None, "")})
    occurred_us = None if occurred_ms is None else occurred_ms * 1_000
    return form_event(given, occurred_us, tenant_id=place.tenant_id, author=Author(actor.issuer, actor.subject))


def _without_secrets(asked: dict[str, object], place: Place) -> object:
    """What was asked for, masked as an event of that tenant would be: people search for what they are to forget."""
    masker, told = redactor(place.masking), {"metadata": {"asked": asked}}
    if masker.suspects(orjson.dumps(told)):
        masker.mask(told, salt=b"")
    return told["metadata"]["asked"]


def bounded(asked: Mapping[str, object]) -> dict[str, object]:
    """What was asked for, without what would make the record of a request many times the request.

    A value that was given once stands by itself. Long texts are cut and end in `…` then, which also stands for all
    that has no place any more: beyond so many values side by side, so deep, or so much in all, and for integers that
    no event may have. What has several values
    comes last, so that nobody pushes anything else out by many of them.
    """
    return _members(dict(sorted(asked.items(), key=lambda member: _is_many(member[1]))), _Room(_MOST_CHARACTERS), 0)


def _is_many(value: object) -> bool:
    return (
        isinstance(value, Mapping | Sequence)
        and not isinstance(value, str)
        and len(cast("Sequence[object]", value)) > 1
    )


@dataclass(slots=True)
class _Room:
    """How much may still be kept; each value takes its characters and one more."""

    characters: int


def _bounded(value: object, room: _Room, depth: int) -> object:
    room.characters -= 1
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return _CUT
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return _text(value, room)
    if depth < _DEEPEST and isinstance(value, Mapping):
        return _members(cast("Mapping[str, object]", value), room, depth + 1)
    if depth < _DEEPEST and isinstance(value, Sequence):
        each = cast("Sequence[object]", value)
        return _bounded(each[0], room, depth) if len(each) == 1 and depth == 0 else _items(each, room, depth + 1)
    return _CUT


def _members(members: Mapping[str, object], room: _Room, depth: int) -> dict[str, object]:
    kept: dict[str, object] = {}
    for name, value in members.items():
        if len(kept) == _MOST_VALUES or room.characters <= 0:
            return {**kept, _CUT: _CUT}
        kept_name = _text(name, room)
        kept[kept_name] = _bounded(value, room, depth)
    return kept


def _items(items: Sequence[object], room: _Room, depth: int) -> list[object]:
    kept: list[object] = []
    for value in items:
        if len(kept) == _MOST_VALUES or room.characters <= 0:
            return [*kept, _CUT]
        kept.append(_bounded(value, room, depth))
    return kept


def _text(text: str, room: _Room) -> str:
    cut = _plain(text, min(_LONGEST, max(room.characters, 1)))
    room.characters -= len(cut)
    return cut


def _cut(text: str | None, longest: int) -> str | None:
    return None if text is None else _plain(text, longest)


def _plain(text: str, longest: int) -> str:
    """A text, without what cannot be stored, and not too long."""
    plain = text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    return plain if len(plain) <= longest else plain[: longest - 1] + _CUT
