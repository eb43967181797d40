"""Reveals what is sealed in one event: only the named fields."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

import orjson

from tallystick.auth.access import Access
from tallystick.errors import Flaw, GoneError, InvalidError
from tallystick.log.reader import LogReader
from tallystick.privacy.sealing import DataKeys, JsonValue, UnsealError
from tallystick.privacy.service import TenantKeys
from tallystick.query.sealed import compact_of, key_id_of

_MISSING: Final = object()


@dataclass(frozen=True, slots=True)
class Revealed:
    """What was sealed in an event.

    Attributes:
        event_id: Which event.
        fields: Values by the JSON Pointers that were asked for.
    """

    event_id: str
    fields: Mapping[str, JsonValue]


class RevealService:
    """Reveals.

    Args:
        reader: Reads events.
        keys: Of tenants.
    """

    def __init__(self, reader: LogReader, keys: TenantKeys) -> None:
        self._reader = reader
        self._keys = keys

    async def reveal(self, access: Access, event_id: str, pointers: Sequence[str]) -> Revealed:
        """Reveal fields of an event: all of them, or none. That somebody asked is on record before.

        Args:
            access: Who asks, in the tenant.
            event_id: Which event.
            pointers: JSON Pointers (RFC 6901) into the event, each to a sealed value itself.

        Raises:
            NotFoundError: No such event in this log, or none that the principal may see.
            GoneError: The event was removed, or a key of a field was erased.
            InvalidError: A pointer leads to nothing, or to what was not sealed there.
            UnavailableError: PostgreSQL does not answer, or the tenant's keys cannot be had now.
        """
        found = await self._reader.get(access.events_log, access.narrowing, event_id)
        event: dict[str, object] = orjson.loads(found.item)
        keys = await self._keys.of(access.tenant.id)
        if missing := _keys_of(event, pointers) - keys.keys.keys():
            # At once: what a client sends may name any number of keys that there never were.
            keys = await self._keys.of(access.tenant.id, *missing)
        return Revealed(str(event["id"]), _unseal(keys, event, pointers))


def _keys_of(event: Mapping[str, object], pointers: Sequence[str]) -> set[str]:
    """The ids of the data keys that sealed what pointers lead to."""
    key_ids: set[str] = set()
    flaws: list[Flaw] = []
    for number, pointer in enumerate(pointers):
        value = value_at(event, pointer)
        compact = compact_of(value)
        if compact is not None:
            key_ids.add(key_id_of(compact))
        else:
            wrong = "leads to nothing in the event" if value is _MISSING else "leads to a value that is not sealed"
            flaws.append(Flaw(f"{wrong}: name the place of a sealed value", f"/fields/{number}"))
    _refuse(flaws)
    return key_ids


def _unseal(keys: DataKeys, event: Mapping[str, object], pointers: Sequence[str]) -> dict[str, JsonValue]:
    salt = bytes.fromhex(str(event["salt"]))
    values: dict[str, JsonValue] = {}
    flaws: list[Flaw] = []
    gone: list[str] = []
    for number, pointer in enumerate(pointers):
        try:
            values[pointer] = keys.unseal(value_at(event, pointer), salt, pointer)
        except UnsealError as error:
            if error.reason == "unknown_key":
                gone.append(pointer)
            else:
                detail = "looks sealed, but was not sealed here: it is what the client sent"
                flaws.append(Flaw(detail, f"/fields/{number}"))
    _refuse(flaws)
    if gone:
        raise GoneError(f"the key that sealed {', '.join(gone)} was erased, so that nobody can reveal it")
    return values


def _refuse(flaws: Sequence[Flaw]) -> None:
    if flaws:
        raise InvalidError("not every field can be revealed; each entry of `errors` names one", flaws=flaws)


def value_at(event: Mapping[str, object], pointer: str) -> object:
    """The value that a JSON Pointer leads to, or what is no JSON value where it leads to nothing (RFC 6901 §4)."""
    value = cast("object", event)
    for step in pointer.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict):
            members = cast("dict[str, object]", value)
            value = members.get(name, _MISSING)
        elif isinstance(value, list) and name.isascii() and name.isdigit() and (name == "0" or name[0] != "0"):
            items = cast("list[object]", value)
            value = items[int(name)] if len(name) < 10 and int(name) < len(items) else _MISSING
        else:
            return _MISSING
    return value
