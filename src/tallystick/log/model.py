"""The event: what a client may send, and the body that is formed of it, hashed and stored.

A body is formed in two parts. All that the client sent is dumped before the log is locked; the id, the arrival and an
absent timestamp are only known inside the lock, so they come first and are put before it there.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Annotated, Any, Final, Literal, Required, cast

import jiter
import orjson
from pydantic import AfterValidator, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from tallystick.errors import Flaw, InvalidError
from tallystick.log.tree import JsonObject, check_tree, escape_pointer
from tallystick.privacy.masking.masker import Masker
from tallystick.query.timestamps import parse_timestamp
from tallystick.settings import EventSettings

Severity = Literal["INFO", "WARNING", "ERROR", "CRITICAL"]

SALT_BYTES: Final = 12

_OCTET: Final = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_IPV4: Final = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}", re.ASCII)


def _ip_address(text: str) -> str:
    if _IPV4.fullmatch(text):  # a fifth of the price of the general way
        return text
    try:
        if "%" not in text:  # a zone names an interface of the machine that saw it, and means nothing elsewhere
            ip_address(text)
            return text
    except ValueError:
        pass
    raise ValueError("must be an IPv4 or IPv6 address, without a port, a prefix length or a zone")


def _timestamp(text: str) -> str:
    parse_timestamp(text)
    return text


def _text(longest: int, *, shortest: int = 0) -> StringConstraints:
    return StringConstraints(min_length=shortest, max_length=longest)


class EventFields(TypedDict, total=False):
    """An event as a client sends it. Fields that are not listed belong into `metadata`."""

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)  # type: ignore[misc]

    tenant_id: Annotated[
        str,
        _text(63, shortest=1),
        Field(description="The tenant whose event this is; the token's default when absent."),
    ]
    event_id: Annotated[
        str,
        _text(128, shortest=1),
        Field(description="The client's own id of the event. Sent again with the same content, it answers as before."),
    ]
    timestamp: Annotated[
        str,
        AfterValidator(_timestamp),
        Field(
            description="When it happened: RFC 3339 with an offset, up to 6 fraction digits. Its arrival when absent.",
            json_schema_extra={"format": "date-time"},
        ),
    ]
    action: Required[Annotated[str, _text(128, shortest=1), Field(description="What was done: `user.login`.")]]
    resource_type: Required[
        Annotated[str, _text(128, shortest=1), Field(description="Kind of the thing it was done to, as in `invoice`.")]
    ]
    resource_id: Annotated[str, _text(512, shortest=1), Field(description="Which one of that kind.")]
    user_id: Annotated[str, _text(256, shortest=1), Field(description="Who did it.")]
    session_id: Annotated[str, _text(256, shortest=1), Field(description="The session it was done in.")]
    request_id: Annotated[
        str, _text(256, shortest=1), Field(description="Correlates the events of one request across services.")
    ]
    ip_address: Annotated[
        str, _text(45), AfterValidator(_ip_address), Field(description="Where it came from: IPv4 or IPv6.")
    ]
    user_agent: Annotated[str, _text(1024), Field(description="The client program, as it named itself.")]
    severity: Annotated[Severity, Field(description="How much it matters; INFO when absent.")]
    message: Annotated[str, _text(8192), Field(description="One line for people.")]
    before: Annotated[JsonObject | None, Field(description="The resource before, whole or in part; null if new.")]
    after: Annotated[JsonObject | None, Field(description="The resource after, whole or in part; null if gone.")]
    metadata: Annotated[JsonObject, Field(description="Anything else, as an object.")]


EVENT_SCHEMA: Final[TypeAdapter[EventFields]] = TypeAdapter(EventFields)

_WORDINGS: Final = {
    "extra_forbidden": "is not a field of an event; put what is your own into `metadata`",
    "missing": "is required",
    "string_too_long": "is longer than {max_length} characters",
    "string_too_short": "is empty: leave it out, or give it a value",
    "string_type": "must be a string (a field without a value is left out, not null)",
    "value_error": "{error}",
    "dict_type": "must be a JSON object",
    "typed_dict_type": "must be a JSON object",
}
"""What pydantic's error types are called here."""

_TREES: Final = ("before", "after", "metadata")

_MOST_FLAWS: Final = 20
"""As many flaws of one event are listed: an answer must not be many times its request."""


@dataclass(frozen=True, slots=True)
class Author:
    """Who wrote an event: any writer may name any `user_id`, so the token's own issuer and subject are on record."""

    issuer: str
    subject: str


@dataclass(frozen=True, slots=True)
class Clock:
    """The moment an event is judged at, and how far its timestamp may lie from it.

    Attributes:
        now_us: Unix microseconds.
        max_past_us: How far back; None lifts the limit (`logs:import`).
        max_future_us: How far ahead.
    """

    now_us: int
    max_past_us: int | None
    max_future_us: int


@dataclass(frozen=True, slots=True)
class PreparedEvent:
    """An event ready for the writer: all of its body that is known before the log is locked.

    Attributes:
        rest: The body after its head: ``,"action":…}`` in UTF-8.
        occurred_us: The client's timestamp in Unix microseconds, or None for the arrival.
        event_id: The client's own id, or None.
        canonical: The event as canonical JSON, by which a retry is known, or None without an `event_id`.
    """

    rest: bytes
    occurred_us: int | None
    event_id: str | None
    canonical: bytes | None


def parse_json(raw: bytes) -> object:
    """Parse JSON once, keeping what float64 would lose until it is judged, and refusing duplicate keys.

    Raises:
        InvalidError: Not JSON (RFC 8259), or it has an unpaired surrogate, invalid UTF-8 or a duplicate key.
    """
    try:
        return cast(
            "object", jiter.from_json(raw, catch_duplicate_keys=True, float_mode="lossless-float", allow_inf_nan=False)
        )
    except ValueError as error:
        raise InvalidError(f"the body is not valid JSON: {error}", flaws=[Flaw(str(error), pointer="")]) from None


def validate_event(value: object, limits: EventSettings, clock: Clock) -> tuple[EventFields, int | None]:
    """Judge one parsed event.

    Args:
        value: As `parse_json` gave it; its decimals are turned into floats in place.
        limits: What an event may hold.
        clock: When it is judged.

    Returns:
        The fields, none added, and the timestamp in Unix microseconds or None.

    Raises:
        InvalidError: With the flaws found, each at its JSON Pointer, and how many more there are.
    """
    flaws: list[Flaw] = []
    if isinstance(value, dict):  # before the schema, which copies what it is given
        given = cast("dict[str, object]", value)
        flaws.extend(_text_flaws(given))
        keys = limits.max_keys
        for name in _TREES:
            tree = given.get(name)
            if isinstance(tree, dict):
                keys = check_tree(cast("JsonObject", tree), f"/{name}", limits, keys, flaws)
    fields: EventFields | None = None
    try:
        fields = EVENT_SCHEMA.validate_python(value)
    except ValidationError as error:
        flaws.extend(_flaw(detail) for detail in error.errors(include_url=False, include_input=False))
    occurred_us: int | None = None
    if fields is not None and (timestamp := fields.get("timestamp")) is not None:
        occurred_us = parse_timestamp(timestamp)
        if occurred_us > clock.now_us + clock.max_future_us:
            ahead = clock.max_future_us // 1_000_000
            flaws.append(
                Flaw(f"lies more than {ahead} seconds in the future: check the clock it came from", "/timestamp")
            )
        elif clock.max_past_us is not None and occurred_us < clock.now_us - clock.max_past_us:
            days = clock.max_past_us / 86_400_000_000
            flaws.append(
                Flaw(
                    f"lies more than {days:g} days in the past: old history needs the permission logs:import",
                    "/timestamp",
                )
            )
    if len(flaws) > _MOST_FLAWS:
        flaws[_MOST_FLAWS:] = [Flaw(f"has {len(flaws) - _MOST_FLAWS:,} further flaws, which are not listed", "")]
    if flaws or fields is None:
        raise InvalidError("the event is not valid; each entry of `errors` names a field to mend", flaws=flaws)
    return fields, occurred_us


def form_event(
    fields: EventFields,
    occurred_us: int | None,
    *,
    tenant_id: str,
    author: Author,
    masker: Masker | None = None,
    salt: bytes | None = None,
) -> PreparedEvent:
    """Form all of the body that is known before the log is locked.

    What is masked is what is hashed and stored; only the canonical form, which never leaves memory but as a keyed
    digest, is of the event as it was sent.

    Args:
        fields: As `validate_event` returned them; what is masked is replaced in place.
        occurred_us: Likewise.
        tenant_id: The tenant that was resolved for the event.
        author: Who sent it.
        masker: Of that tenant; None masks nothing.
        salt: 96 random bits, drawn now when absent. What masking seals is bound to it.
    """
    event_id = fields.get("event_id")
    fields["tenant_id"] = tenant_id
    salt = salt or os.urandom(SALT_BYTES)
    canonical = None if event_id is None else orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)
    rest: dict[str, Any] = {
        **fields,
        "severity": fields.get("severity", "INFO"),
        "written_by": {"issuer": author.issuer, "subject": author.subject},
        "salt": salt.hex(),
    }
    body = orjson.dumps(rest)
    if masker is not None and masker.suspects(body):
        masker.mask(rest, salt)
        body = orjson.dumps(rest)
    return PreparedEvent(b"," + body[1:], occurred_us, event_id, canonical)


def form_head(event_id: str, received_at: str, *, with_timestamp: bool) -> bytes:
    """Form the part of the body that is only known inside the lock.

    Args:
        event_id: The event's id, as `log.identity.make_id` makes it.
        received_at: RFC 3339.
        with_timestamp: Whether the arrival is also the timestamp.
    """
    if with_timestamp:
        return f'{{"id":"{event_id}","received_at":"{received_at}","timestamp":"{received_at}"'.encode()
    return f'{{"id":"{event_id}","received_at":"{received_at}"'.encode()


def _flaw(detail: Mapping[str, Any]) -> Flaw:
    # Only the field itself: pydantic names branches of its own schema after it, and trees are judged by `check_tree`.
    pointer = "".join(f"/{escape_pointer(step)}" for step in detail["loc"][:1])
    wording = _WORDINGS.get(detail["type"], cast("str", detail["msg"]))
    return Flaw(wording.format(**detail.get("ctx", {})), pointer)


def _text_flaws(event: Mapping[str, object]) -> list[Flaw]:
    return [
        Flaw("holds a NUL character (U+0000), which cannot be stored", f"/{name}")
        for name, value in event.items()
        if isinstance(value, str) and "\0" in value
    ]
