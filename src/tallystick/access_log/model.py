"""The events of access logs: who, what, and what came of it, as an event of the log like any other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, cast

from tallystick.log.model import Author, EventFields, PreparedEvent, Severity, form_event
from tallystick.query.timestamps import format_milliseconds

Phase = Literal["intent", "outcome", "refused"]
Result = Literal["completed", "aborted", "failed"]

_LONGEST: Final = 1_024
"""Characters of one value that are kept: what people send in a `q` may be anything."""

_MOST_VALUES: Final = 50
_MOST_CHARACTERS: Final = 8_192
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
        asked: What is asked for, by name. It is kept as sent, cut to a bounded length.
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
    """

    tenant_id: str
    log_id: int


def access_event(
    tenant_id: str,
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
        tenant_id: Whose log it is for.
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
        "user_agent": _cut(actor.user_agent, _LONGEST),
        "severity": severity,
        **changed,
        "metadata": {name: value for name, value in about.items() if value is not None},
    }
    if phase == "intent" and deed.asked:
        cast("dict[str, object]", fields["metadata"])["asked"] = bounded(deed.asked)
    given = cast("EventFields", {name: value for name, value in fields.items() if value not in (None, "")})
    occurred_us = None if occurred_ms is None else occurred_ms * 1_000
    return form_event(given, occurred_us, tenant_id=tenant_id, author=Author(actor.issuer, actor.subject))


def bounded(asked: Mapping[str, object]) -> dict[str, object]:
    """What was asked for, without what would make the record of a request many times the request.

    A value that was given once stands by itself. Long texts and lists are cut, and end in `…` then; of what has too
    many characters in all, the later names keep no value but that sign.
    """
    room = _Room(_MOST_CHARACTERS)
    return {_text(name, room): _bounded(value, room, 0) for name, value in list(asked.items())[:_MOST_VALUES]}


@dataclass(slots=True)
class _Room:
    characters: int


def _bounded(value: object, room: _Room, depth: int) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping) and depth < _DEEPEST:
        members = list(cast("Mapping[str, object]", value).items())[:_MOST_VALUES]
        return {_text(name, room): _bounded(member, room, depth + 1) for name, member in members}
    if isinstance(value, Sequence) and not isinstance(value, str) and depth < _DEEPEST:
        each = list(cast("Sequence[object]", value))
        if len(each) == 1 and depth == 0:
            return _bounded(each[0], room, depth)
        kept = [_bounded(one, room, depth + 1) for one in each[:_MOST_VALUES]]
        return kept if len(each) <= _MOST_VALUES else [*kept, _CUT]
    return _text(value if isinstance(value, str) else _CUT, room)


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
