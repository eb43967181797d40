"""Imports old history from NDJSON files through the public API, so that it can be broken off and go on.

Lines are sorted by time in blocks of 100,000, so that what lies together in the log happened together. Each chunk of a
block carries a retry key made of its content and place, and a file beside the input says how far it has come: after a
crash at any moment, a second run stores nothing twice.
"""

import gzip
import hashlib
import io
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from http import HTTPStatus
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final, cast

import httpx
import orjson
import zstandard

from tallystick.errors import ConfigurationError
from tallystick.query.timestamps import parse_timestamp
from tallystick.runtime.client import post
from tallystick.runtime.state import write_atomically

BLOCK_LINES: Final = 100_000
_CHUNK_LINES: Final = 5_000
_CHUNK_BYTES: Final = 8 * 1024 * 1024
_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_FINGERPRINT_BYTES: Final = 1024 * 1024
_SHOWN_FLAWS: Final = 10


@dataclass(frozen=True, slots=True)
class Line:
    """One event of the file.

    Attributes:
        number: Its line, from 1.
        raw: As it stands there.
    """

    number: int
    raw: bytes


@dataclass(frozen=True, slots=True)
class Position:
    """How far an import has come: what its progress file holds.

    Attributes:
        fingerprint: Of the input, so that another file is not taken for it.
        block: The block being imported.
        chunk: The chunk of that block that comes next.
        stored: Events stored.
        rejected: Events refused and skipped.
        complete: Whether all is done.
    """

    fingerprint: str
    block: int = 0
    chunk: int = 0
    stored: int = 0
    rejected: int = 0
    complete: bool = False

    def after_chunk(self, stored: int, rejected: int) -> "Position":
        """Where it stands once one more chunk is in the log."""
        return replace(self, chunk=self.chunk + 1, stored=self.stored + stored, rejected=self.rejected + rejected)

    def after_block(self) -> "Position":
        """Where it stands once a block is done."""
        return replace(self, block=self.block + 1, chunk=0)

    def at_end(self) -> "Position":
        """Where it stands once all is done."""
        return replace(self, complete=True)


class ImportFailedError(ConfigurationError):
    """The import stopped; it goes on from there when it is started again."""


class _Counted(io.RawIOBase):
    """A file that says how much of it was read."""

    def __init__(self, file: IO[bytes], advance: Callable[[int], None]) -> None:
        self._file = file
        self._advance = advance

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401  # a writable buffer, which 3.11 cannot name
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        self._advance(len(data))
        return len(data)


def progress_file(path: Path) -> Path:
    """Where the position of a file's import is kept."""
    return path.with_name(f"{path.name}.import.json")


def rejects_file(path: Path) -> Path:
    """Where the lines of a file go that were refused and skipped."""
    return path.with_name(f"{path.name}.rejected.ndjson")


def read_lines(path: Path, advance: Callable[[int], None] = lambda _: None) -> Iterator[Line]:
    """Read a file's events, plain or compressed by gzip or zstd, told apart by their first bytes.

    Args:
        path: The file.
        advance: Told of the bytes that were read.

    Raises:
        ConfigurationError: It cannot be read or is damaged.
    """
    try:
        with path.open("rb") as file:
            start = file.read(4)
            file.seek(0)
            counted = cast("IO[bytes]", io.BufferedReader(_Counted(file, advance), 1024 * 1024))
            for number, raw in enumerate(_expanded(counted, start), start=1):
                line = raw.strip()
                if line:
                    yield Line(number, line)
    except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
        raise ConfigurationError(f"cannot read {path}: {error}") from error


def _expanded(file: IO[bytes], start: bytes) -> IO[bytes]:
    if start.startswith(_GZIP):
        return cast("IO[bytes]", gzip.open(file))
    if start.startswith(_ZSTD):
        reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
        return cast("IO[bytes]", io.BufferedReader(cast("io.RawIOBase", reader), 1024 * 1024))
    return file


def sort_block(lines: Sequence[Line]) -> list[Line]:
    """Sort by timestamp; a line without a readable one stays behind the line before it."""
    keyed: list[tuple[int, Line]] = []
    last = 0
    for line in lines:
        last = _moment(line.raw, last)
        keyed.append((last, line))
    keyed.sort(key=lambda pair: pair[0])
    return [line for _, line in keyed]


def _moment(raw: bytes, fallback: int) -> int:
    try:
        return parse_timestamp(orjson.loads(raw)["timestamp"])
    except (ValueError, KeyError, TypeError):
        return fallback


def chunks(lines: Sequence[Line]) -> Iterator[list[Line]]:
    """Cut a sorted block into what one request takes."""
    chunk: list[Line] = []
    size = 0
    for line in lines:
        if chunk and (len(chunk) == _CHUNK_LINES or size + len(line.raw) > _CHUNK_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(line)
        size += len(line.raw) + 1
    if chunk:
        yield chunk


def load_position(path: Path) -> Position:
    """Where the import of a file stands; its start when there is no progress file.

    Raises:
        ConfigurationError: The progress file is of other contents, or unreadable.
    """
    fingerprint = _fingerprint(path)
    beside = progress_file(path)
    try:
        position = Position(**orjson.loads(beside.read_bytes()))
    except FileNotFoundError:
        return Position(fingerprint)
    except (OSError, TypeError, ValueError) as error:
        raise ConfigurationError(f"cannot read {beside}: mend it, or remove it to begin anew ({error})") from error
    if position.fingerprint != fingerprint:
        raise ConfigurationError(f"{path} has changed since {beside} was written: remove that file to begin anew")
    return position


def _fingerprint(path: Path) -> str:
    try:
        with path.open("rb") as file:
            digest = hashlib.sha256(file.read(_FINGERPRINT_BYTES))
        digest.update(str(path.stat().st_size).encode())
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from error
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Importer:
    """Sends files to one tenant.

    Attributes:
        client: Of the API, with a token that has `logs:import`.
        tenant_id: Written into each event that names no tenant; None leaves it to the token.
        skip: Skip what is refused, and keep it beside the input; else stop at it.
        patience: Seconds to wait for a busy or restarting server.
    """

    client: httpx.Client
    tenant_id: str | None = None
    skip: bool = False
    patience: float = 600

    def run(self, path: Path, advance: Callable[[int], None], report: Callable[[Position], None]) -> Position:
        """Import one file from where it stands.

        Args:
            path: The file.
            advance: Told of the bytes read of it.
            report: Told of the position after each chunk.

        Raises:
            ConfigurationError: The file cannot be read.
            ImportFailedError: The server refused, or did not answer for too long.
        """
        position: Position = load_position(path)
        if position.complete:
            return position
        lines = read_lines(path, advance)
        for _ in islice(lines, position.block * BLOCK_LINES):
            pass  # blocks that are done
        while block_lines := list(islice(lines, BLOCK_LINES)):
            for number, chunk in enumerate(chunks(sort_block(block_lines))):
                if number < position.chunk:
                    continue
                stored, rejected = self._send(path, chunk, f"{position.block}.{number}")
                position = position.after_chunk(stored, rejected)
                _save(path, position)
                report(position)
            position = position.after_block()
            _save(path, position)
        position = position.at_end()
        _save(path, position)
        return position

    def _send(self, path: Path, chunk: Sequence[Line], place: str) -> tuple[int, int]:
        """Store a chunk; returns how many were stored and how many refused."""
        body = b"\n".join(self._with_tenant(line.raw) for line in chunk)
        key = hashlib.sha256(place.encode() + b"\0" + body).hexdigest()
        answer = post(
            self.client,
            "/logs/bulk",
            patience=self.patience,
            params={"on_error": "skip" if self.skip else "fail"},
            content=zstandard.compress(body),
            headers={
                "content-type": "application/x-ndjson",
                "content-encoding": "zstd",
                "idempotency-key": f"import-{key}",
            },
        )
        if answer.status_code not in (HTTPStatus.OK, HTTPStatus.CREATED):
            raise ImportFailedError(_explain(path, chunk, answer))
        result: dict[str, Any] = answer.json()
        if result["rejected"]:
            _keep_rejects(path, chunk, result["rejected"])
        return result["stored"] + result["known"], len({flaw["index"] for flaw in result["rejected"]})

    def _with_tenant(self, raw: bytes) -> bytes:
        if self.tenant_id is None:
            return raw
        try:
            event = orjson.loads(raw)
        except ValueError:
            return raw  # for the server to say what is wrong with it
        if not isinstance(event, dict) or not event or "tenant_id" in event:
            return raw
        return b'{"tenant_id":' + orjson.dumps(self.tenant_id) + b"," + raw[1:]


def _save(path: Path, position: Position) -> None:
    write_atomically(progress_file(path), orjson.dumps(asdict(position)).decode() + "\n")


def _keep_rejects(path: Path, chunk: Sequence[Line], flaws: Sequence[dict[str, Any]]) -> None:
    by_index: dict[int, list[dict[str, Any]]] = {}
    for flaw in flaws:
        by_index.setdefault(flaw["index"], []).append({name: flaw[name] for name in flaw if name != "index"})
    with rejects_file(path).open("ab") as file:
        for index, errors in by_index.items():
            line = chunk[index]
            entry = {"line": line.number, "errors": errors, "event": line.raw.decode(errors="replace")}
            file.write(orjson.dumps(entry) + b"\n")


def _explain(path: Path, chunk: Sequence[Line], answer: httpx.Response) -> str:
    """What to mend, by line of the file."""
    try:
        problem: dict[str, Any] = answer.json()
        said = f"{problem['title']}: {problem['detail']}"
    except (ValueError, KeyError):
        return f"{path}: the server answered {answer.status_code}; start the import again to go on"
    flaws = [flaw for flaw in problem.get("errors", ()) if "index" in flaw]
    shown = [
        f"  line {chunk[int(flaw['index'])].number}: {flaw.get('pointer', '')} {flaw['detail']}"
        for flaw in flaws[:_SHOWN_FLAWS]
    ]
    if len(flaws) > len(shown):
        shown.append(f"  and {len(flaws) - len(shown)} more")
    advice = "mend them and start the import again, or add --skip" if shown else "start the import again to go on"
    return "\n".join([f"{path}: {said}", *shown, advice])
