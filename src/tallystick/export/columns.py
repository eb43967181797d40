"""An event as cells of CSV (RFC 4180): its columns, how nested values are written, and what no spreadsheet may run."""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, cast

import orjson

DEFAULT_COLUMNS: Final = (
    "seq",
    "id",
    "timestamp",
    "received_at",
    "tenant_id",
    "user_id",
    "action",
    "resource_type",
    "resource_id",
    "severity",
    "message",
    "ip_address",
    "user_agent",
    "session_id",
    "request_id",
    "event_id",
    "before",
    "after",
    "metadata",
    "written_by.issuer",
    "written_by.subject",
    "leaf_hash",
)
"""All of an event but its salt."""

MAX_COLUMNS: Final = 100

_MAX_LENGTH: Final = 1_000
_MAX_PARTS: Final = 64

_FIELDS: Final = frozenset(name.partition(".")[0] for name in (*DEFAULT_COLUMNS, "salt"))
_NESTED: Final = frozenset({"before", "after", "metadata", "written_by"})
_UNSEEN: Final = r"\s'\"\x00-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff"
_FORMULA: Final = re.compile(rf"[{_UNSEEN}]*[=+\-@\u2212\uff1d\uff0b\uff0d\uff20]|[\x00-\x1f]")


def check_column(name: str) -> str:
    """Read the name of a column: a field of an event, or a path within `before`, `after`, `metadata` or `written_by`.

    Raises:
        ValueError: There is no such field, or it has no parts, or the name is longer than any path of an event.
    """
    if len(name) > _MAX_LENGTH or name.count(".") > _MAX_PARTS:
        raise ValueError(f"has a name of more than {_MAX_LENGTH} characters or {_MAX_PARTS} parts")
    field, dot, rest = name.partition(".")
    if field not in _FIELDS:
        raise ValueError(f"`{field[:100]}` is no field of an event")
    if dot and (field not in _NESTED or not rest):
        raise ValueError(f"`{name[:100]}` is no path: only {', '.join(sorted(_NESTED))} have parts")
    return name


class Table:
    """Writes events as rows.

    A cell is the value at the column's path: text as it is, anything else as JSON, and empty where there is none. Text
    that a spreadsheet would take for a formula gets an apostrophe before it (CWE-1236): it begins with a control or,
    when what is not seen and quotes are left aside, with ``=``, ``+``, ``-``, ``@`` or a look-alike.

    Args:
        columns: As `check_column` takes them.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = columns
        self._paths = [column.split(".") for column in columns]

    @property
    def header(self) -> bytes:
        """The first line: the names of the columns."""
        return _written([[_harmless(column) for column in self._columns]])

    def rows(self, events: Iterable[bytes]) -> bytes:
        """The lines of events, each given as it is answered."""
        return _written([_cell(_at(event, path)) for path in self._paths] for event in map(_parsed, events))


def _parsed(event: bytes) -> Mapping[str, object]:
    return cast("Mapping[str, object]", orjson.loads(event))


def _at(value: object, path: Sequence[str]) -> object:
    """The value at a path. A member whose name itself has dots is found, too, where no shorter one leads on."""
    if not path:
        return value
    if not isinstance(value, dict):
        return None
    members = cast("dict[str, Any]", value)
    for length in range(1, len(path) + 1):
        name = ".".join(path[:length])
        if name in members and (found := _at(members[name], path[length:])) is not None:
            return found
    return None


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return _harmless(value)
    return orjson.dumps(value).decode()


def _harmless(text: str) -> str:
    return "'" + text if _FORMULA.match(text) else text


def _written(rows: Iterable[Sequence[str]]) -> bytes:
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows(rows)
    return buffer.getvalue().encode()
