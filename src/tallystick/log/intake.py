"""Bodies of requests: read within a budget and decompressed, slice by slice."""

import asyncio
import zlib
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

import zstandard
from starlette.requests import ClientDisconnect, Request

from tallystick.auth.headers import header_of
from tallystick.errors import (
    BadRequestError,
    OverloadedError,
    RequestTimeoutError,
    TooLargeError,
    UnsupportedMediaError,
)

Form = Literal["json", "ndjson", "merge-patch"]

_FORMS: Final[dict[str, Form]] = {
    "application/json": "json",
    "application/x-ndjson": "ndjson",
    "application/ndjson": "ndjson",
    "application/jsonl": "ndjson",
    "application/merge-patch+json": "merge-patch",
}
_ACCEPTS: Final = {"POST": "Accept-Post", "PATCH": "Accept-Patch"}
_ENCODINGS: Final = "gzip, zstd"
_WINDOW_BITS_GZIP: Final = 31
_MAX_WINDOW_ZSTD: Final = 8 * 1024 * 1024  # RFC 9659 §3
_STEP: Final = 256 * 1024
"""Bytes that are decompressed before the event loop gets its turn."""

WHOLE: Final = "tallystick.whole"
"""Key of the ASGI extension by which the server says that all of a request's body is there: none has to wait for it."""

_BUDGET_BODIES: Final = 8
"""As many bodies of full size may be held at once; a body that would go beyond is pushed back."""

_CLIENTS: Final = 4
"""So many clients it takes at least to use up the budget."""


def form_of(request: Request, *, allowed: tuple[Form, ...]) -> Form:
    """Read the content type.

    Raises:
        UnsupportedMediaError: It is none of those allowed, or not UTF-8.
    """
    content_type = header_of(request.scope, b"content-type")
    media, _, parameters = ("application/json" if content_type is None else content_type).partition(";")
    form = _FORMS.get(media.strip().lower())
    if form is None or form not in allowed:
        names = " or ".join(name for name, known in _FORMS.items() if known in allowed and name != "application/ndjson")
        raise UnsupportedMediaError(
            f"send the body as {names}", headers={_ACCEPTS[request.method]: names.replace(" or ", ", ")}
        )
    for parameter in parameters.split(";"):
        name, _, charset = parameter.partition("=")
        if name.strip().lower() == "charset" and charset.strip(' "').lower() != "utf-8":
            raise UnsupportedMediaError("send the body as UTF-8: JSON knows no other charset (RFC 8259 §8.1)")
    return form


@dataclass(slots=True)
class Body:
    """A body being read."""

    limit: int
    refusal: str
    data: bytearray = field(default_factory=bytearray)
    sent: int = 0

    def count(self, chunk: bytes) -> None:
        """Count what came over the wire: there is compressed data without end that expands to nothing.

        Raises:
            TooLargeError: Over the limit.
        """
        self.sent += len(chunk)
        self._bound(self.sent)

    def extend(self, piece: bytes) -> None:
        """Add what was expanded.

        Raises:
            TooLargeError: Over the limit.
        """
        self._bound(len(self.data) + len(piece))
        self.data += piece

    def _bound(self, size: int) -> None:
        if size > self.limit:
            raise TooLargeError(self.refusal)


class Intake:
    """Reads large bodies, and bounds the memory that all of them take together.

    Args:
        max_bytes: Largest body, before and after decompression.
        timeout: Seconds within which a whole body must arrive; one that never ends would keep its memory.
    """

    def __init__(self, max_bytes: int, timeout: float) -> None:
        self._max_bytes = max_bytes
        self._timeout = timeout
        self._left = _BUDGET_BODIES * max_bytes
        self._clients: Counter[str] = Counter()

    @asynccontextmanager
    async def hold(self, request: Request, client: str) -> AsyncGenerator[bytes]:
        """Read and decompress a large body, and hold its share of the budget until the block ends.

        Args:
            request: Whose body.
            client: Who sends it; one client gets at most a quarter of the budget.

        Raises:
            OverloadedError: Too many large bodies at once, of the client or of all.
            TooLargeError: As `read_body` does, and its other errors.
        """
        limit = self._max_bytes
        body = Body(limit, f"a body may have {limit:,} bytes, also after decompression; send it in parts")
        taken = 0

        def take(size: int) -> None:
            nonlocal taken
            self._take(client, size - taken)
            taken = size

        try:
            await _receive(request, body, self._timeout, take)
            yield bytes(body.data)
        finally:
            self._left += taken
            self._clients[client] -= taken
            if not self._clients[client]:
                del self._clients[client]

    def _take(self, client: str, size: int) -> None:
        if self._clients[client] + size > _BUDGET_BODIES * self._max_bytes // _CLIENTS:
            raise OverloadedError("too many large bodies of this client are being read at once; send this one again")
        if size > self._left:
            raise OverloadedError("too many large bodies are being read at once; send this one again")
        self._left -= size
        self._clients[client] += size


async def read_body(request: Request, limit: int, seconds: float) -> bytes:
    """Read and decompress a small body: it takes nothing of the budget, so that no large ones keep it out.

    Args:
        request: Whose body.
        limit: Most bytes, before and after decompression.
        seconds: Time within which it must arrive.

    Raises:
        TooLargeError: Over the limit.
        UnsupportedMediaError: An encoding other than gzip and zstd.
        BadRequestError: The compressed data is damaged.
        RequestTimeoutError: It did not arrive in time.
    """
    body = Body(limit, f"this body may have {limit:,} bytes, also after decompression")
    await _receive(request, body, seconds, lambda _: None)
    return bytes(body.data)


async def _receive(request: Request, body: Body, seconds: float, take: Callable[[int], None]) -> None:
    """Fill the body; `take` is told its size as it grows."""
    expand = _decompressor(header_of(request.scope, b"content-encoding") or "")
    if WHOLE in request.scope.get("extensions", ()):
        await _fill(request, body, expand, take)
        return
    try:
        async with asyncio.timeout(seconds):
            await _fill(request, body, expand, take)
    except TimeoutError:
        raise RequestTimeoutError(
            f"the body did not arrive within {seconds:g} s; send it again, in parts if the line is slow",
            headers={"Connection": "close"},
        ) from None


async def _fill(
    request: Request, body: Body, expand: Callable[[bytes], Iterator[bytes]], take: Callable[[int], None]
) -> None:
    expanded = 0
    more = True
    while more:  # without the stream of the request, a generator: a body has mostly come in one piece
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk, more = message.get("body", b""), message.get("more_body", False)
        body.count(chunk)
        for piece in expand(chunk):
            body.extend(piece)
            expanded += len(piece)
            if expanded >= _STEP:
                expanded = 0
                take(len(body.data))
                await asyncio.sleep(0)
        take(len(body.data))
    for piece in expand(b""):
        body.extend(piece)


def _decompressor(encoding: str) -> Callable[[bytes], Iterator[bytes]]:
    """A function that takes each chunk, at last an empty one, and gives what it expands to in bounded pieces."""
    match encoding.strip().lower():
        case "" | "identity":
            return lambda chunk: iter((chunk,))
        case "gzip" | "x-gzip":
            return _Expander("gzip", lambda: zlib.decompressobj(_WINDOW_BITS_GZIP), zlib.error).expand
        case "zstd":
            zstd = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_ZSTD)
            return _Expander("zstd with a window of up to 8 MiB", zstd.decompressobj, zstandard.ZstdError).expand
        case _:
            raise UnsupportedMediaError(
                f"send the body plain or compressed by one of {_ENCODINGS}", headers={"Accept-Encoding": _ENCODINGS}
            )


class _Frame(Protocol):
    """A member of gzip (RFC 1952) or a frame of zstd (RFC 8878): a body may have several, one after the other."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


class _Expander:
    """Compressed data, fed little at a time: no decompressor bounds what comes out, and what follows a frame is copied.

    Args:
        name: What the data must be.
        begin: Makes the decompressor of one frame.
        damaged: What it raises when the data is something else.
    """

    _FEED: Final = 256  # gzip makes 264 KiB of it at most; of zstd at most 64 blocks of 128 KiB come

    def __init__(self, name: str, begin: Callable[[], _Frame], damaged: type[Exception]) -> None:
        self._name = name
        self._begin = begin
        self._damaged = damaged
        self._frame = begin()
        self._started = False

    def expand(self, chunk: bytes) -> Iterator[bytes]:
        if not chunk:
            if self._started and not self._frame.eof:
                raise BadRequestError(f"the {self._name.partition(' ')[0]} data ends too early")
            return
        self._started = True
        for start in range(0, len(chunk), self._FEED):
            yield from self._expand(chunk[start : start + self._FEED])

    def _expand(self, rest: bytes) -> Iterator[bytes]:
        while rest:
            if self._frame.eof:
                self._frame = self._begin()
            try:
                piece = self._frame.decompress(rest)
            except self._damaged:
                raise BadRequestError(f"the body is not {self._name}, though Content-Encoding says so") from None
            rest = self._frame.unused_data
            yield piece
