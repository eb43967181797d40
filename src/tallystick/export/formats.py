"""How an export is written: lines of JSON, one JSON document, or CSV; as it is, or compressed."""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal, Protocol, TypeAlias

import zstandard

from tallystick.export.columns import Table

Format: TypeAlias = Literal["ndjson", "json", "csv"]
Coding: TypeAlias = Literal["gzip", "zstd"]
Compression: TypeAlias = Literal["none", "gzip", "zstd"]

FORMATS: Final[Mapping[str, Format]] = {"ndjson": "ndjson", "json": "json", "csv": "csv"}

COMPRESSIONS: Final[Mapping[str, Compression]] = {"none": "none", "gzip": "gzip", "zstd": "zstd"}

_ENDINGS: Final[Mapping[Compression, str]] = {"none": "", "gzip": ".gz", "zstd": ".zst"}

MEDIA_TYPES: Final[Mapping[Format, str]] = {
    "ndjson": "application/x-ndjson",
    "json": "application/json",
    "csv": "text/csv; charset=utf-8; header=present",
}


_ROWS: Final = 50
_ROW_BYTES: Final = 64 * 1024
"""What a piece of CSV is made of at most, unless one event is larger: some milliseconds of work."""


class Layout(Protocol):
    """Writes pages of events, each event a line, one after the other."""

    def begin(self) -> bytes:
        """What comes before all."""
        ...

    def page(self, lines: bytes) -> Iterator[bytes]:
        """A page that is not empty, in pieces between which others may get their turn."""
        ...

    def end(self) -> bytes:
        """What comes after all. An export without it was broken off."""
        ...


def layout(format_: Format, through: int, columns: Sequence[str], *, goes_on: bool) -> Layout:
    """The layout of a format.

    Args:
        format_: Which.
        through: The seq that the export is complete through.
        columns: Of CSV.
        goes_on: It is appended to an earlier one, so that a table has its header already.
    """
    match format_:
        case "ndjson":
            return _LinesLayout()
        case "json":
            return _DocumentLayout(through)
        case "csv":
            return _TableLayout(Table(columns), headed=not goes_on)


class _LinesLayout:
    def begin(self) -> bytes:
        return b""

    def page(self, lines: bytes) -> Iterator[bytes]:
        yield lines

    def end(self) -> bytes:
        return b""


class _DocumentLayout:
    def __init__(self, through: int) -> None:
        self._through = through
        self._started = False

    def begin(self) -> bytes:
        return b'{"through_seq":%d,"items":[' % self._through

    def page(self, lines: bytes) -> Iterator[bytes]:
        comma = b"," if self._started else b""
        self._started = True
        yield comma + lines[:-1].replace(b"\n", b",")  # within a line every break is escaped

    def end(self) -> bytes:
        return b"]}\n"


class _TableLayout:
    def __init__(self, table: Table, *, headed: bool) -> None:
        self._table = table
        self._headed = headed

    def begin(self) -> bytes:
        return self._table.header if self._headed else b""

    def page(self, lines: bytes) -> Iterator[bytes]:
        part: list[bytes] = []
        size = 0
        for event in lines[:-1].split(b"\n"):
            part.append(event)
            size += len(event)
            if len(part) >= _ROWS or size >= _ROW_BYTES:
                yield self._table.rows(part)
                part, size = [], 0
        if part:
            yield self._table.rows(part)

    def end(self) -> bytes:
        return b""


def file_ending(format_: Format, compression: Compression) -> str:
    """What the name of a file of this kind ends with."""
    return f".{format_}{_ENDINGS[compression]}"


def media_type(format_: Format, compression: Compression) -> str:
    """The type of a file of this kind: compressed, it is what the compression makes of it (RFC 6713, RFC 8878)."""
    return MEDIA_TYPES[format_] if compression == "none" else f"application/{compression}"


class Compressor(Protocol):
    """Compresses a stream piece by piece."""

    def compress(self, data: bytes, /) -> bytes:
        """What can be sent of all so far."""
        ...

    def flush(self) -> bytes:
        """The rest; nothing comes after."""
        ...


def compressor(coding: Coding) -> Compressor:
    """A compressor of one stream."""
    if coding == "zstd":
        return zstandard.ZstdCompressor(level=3).compressobj()
    return zlib.compressobj(level=1, wbits=16 + zlib.MAX_WBITS)


def coding_of(accepted: str) -> Coding | None:
    """The coding to send, by the ``Accept-Encoding`` of a request (RFC 9110 §12.5.3); of equals, zstd."""
    weights: dict[str, float] = {}
    for part in accepted.split(","):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        weights[name] = next((_weight(each) for each in parameters if each.startswith("q=")), 1.0)
    best: Coding | None = None
    most = 0.0
    for coding in _CODINGS:
        weight = weights.get(coding, weights.get("*", 0.0) if coding == "gzip" else 0.0)
        if weight > most:
            best, most = coding, weight
    return None if most < weights.get("identity", 0.0) else best


_CODINGS: Final[tuple[Coding, ...]] = ("zstd", "gzip")


def _weight(parameter: str) -> float:
    try:
        return float(parameter.removeprefix("q="))
    except ValueError:
        return 0.0
