"""Bodies: read within their limits, and decompressed whole or refused."""

import asyncio
import gzip
import os
import zlib
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack

import pytest
import zstandard
from starlette.requests import Request
from starlette.types import Message

from factories import unique
from tallystick.errors import (
    BadRequestError,
    OverloadedError,
    RequestTimeoutError,
    TooLargeError,
    UnsupportedMediaError,
)
from tallystick.log.intake import Intake, form_of, read_body

LIMIT = 1024 * 1024


BODY = b"".join(b'{"action":"a","n":%d}\n' % n for n in range(5_000))


NOISE = os.urandom(64 * 1024)


ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor(write_content_size=False).compress,
}


def request(chunks: Sequence[bytes] = (), **headers: str) -> Request:
    """A request whose body comes in these chunks."""
    pending = list(chunks) or [b""]

    async def receive() -> Message:
        chunk = pending.pop(0)
        return {"type": "http.request", "body": chunk, "more_body": bool(pending)}

    named = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return Request({"type": "http", "method": "POST", "path": "/", "headers": named}, receive)


def stalled(start: bytes) -> Request:
    """A request whose body begins so and never ends."""
    sent = request([start, b""])
    receive = sent.receive

    async def stall() -> Message:
        message = await receive()
        return message if message["body"] else await asyncio.get_running_loop().create_future()

    return Request(sent.scope, stall)


def chunked(body: bytes, size: int) -> list[bytes]:
    return [body[start : start + size] for start in range(0, len(body), size)]


def intake_of(max_bytes: int) -> Intake:
    return Intake(max_bytes, timeout=20)


async def read(chunks: Sequence[bytes], encoding: str | None = None, limit: int = LIMIT) -> bytes:
    headers = {} if encoding is None else {"content_encoding": encoding}
    async with intake_of(limit).hold(request(chunks, **headers), "ada") as body:
        held = body
    assert await read_body(request(chunks, **headers), limit, 20) == held
    return held


@pytest.mark.parametrize("encoding", [None, "identity", "gzip", "x-gzip", "GZIP", " gzip ", "zstd", "Zstd"])
@pytest.mark.parametrize("size", [1, 7, 255, 256, 257, 1 << 20])
async def test_a_body_is_read_whole_however_it_is_cut(encoding: str | None, size: int) -> None:
    encode = ENCODERS.get((encoding or "").strip().lower().removeprefix("x-"), bytes)

    assert await read(chunked(encode(BODY), size), encoding) == BODY


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
@pytest.mark.parametrize("size", [1, 100, 1 << 20])
async def test_several_members_or_frames_are_one_body(encoding: str, size: int) -> None:
    encode = ENCODERS[encoding]
    parts = (BODY[:50_000], b"", BODY[50_000:50_001], BODY[50_001:])

    assert await read(chunked(b"".join(map(encode, parts)), size), encoding) == BODY


async def test_a_skippable_frame_of_zstd_is_skipped() -> None:
    skippable = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"notes"
    encode = ENCODERS["zstd"]

    assert await read([skippable + encode(BODY[:9]) + skippable + encode(BODY[9:]) + skippable], "zstd") == BODY


async def test_a_frame_of_zstd_with_a_checksum_is_verified() -> None:
    compressed = zstandard.ZstdCompressor(write_checksum=True).compress(BODY)

    assert await read([compressed], "zstd") == BODY
    with pytest.raises(BadRequestError):
        await read([compressed[:-1] + bytes([compressed[-1] ^ 1])], "zstd")


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
@pytest.mark.parametrize("size", [64, 1 << 20])
async def test_a_truncated_body_is_refused(encoding: str, size: int) -> None:
    compressed = ENCODERS[encoding](BODY)

    for kept in (1, 3, 12, len(compressed) // 2, len(compressed) - 9, len(compressed) - 1):
        with pytest.raises(BadRequestError, match="ends too early"):
            await read(chunked(compressed[:kept], size), encoding)
    with pytest.raises(BadRequestError, match="ends too early"):
        await read(chunked(compressed + compressed[:-1], size), encoding)


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
@pytest.mark.parametrize("garbage", [b"x", b"\n", b"\0" * 8, b"garbage" * 100])
async def test_what_follows_the_compressed_data_is_refused(encoding: str, garbage: bytes) -> None:
    compressed = ENCODERS[encoding](BODY)

    for chunks in ([compressed + garbage], [compressed, garbage]):
        with pytest.raises(BadRequestError):
            await read(chunks, encoding)


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
async def test_damaged_data_is_refused(encoding: str) -> None:
    compressed = bytearray(ENCODERS[encoding](BODY))
    compressed[4 if encoding == "zstd" else 2] ^= 0xFF

    for damaged in (bytes(compressed), BODY, b"\xff" * 100):
        with pytest.raises(BadRequestError):
            await read([damaged], encoding)


async def test_the_checksum_of_gzip_is_verified() -> None:
    compressed = bytearray(gzip.compress(BODY))
    compressed[-5] ^= 1

    with pytest.raises(BadRequestError):
        await read([bytes(compressed)], "gzip")


@pytest.mark.parametrize("encoding", ["deflate", "br", "compress", "gzip, zstd", "gzip,gzip", "*", "zst"])
async def test_other_encodings_are_refused_before_anything_is_read(encoding: str) -> None:
    with pytest.raises(UnsupportedMediaError) as caught:
        await read([zlib.compress(BODY)], encoding)
    assert caught.value.headers == {"Accept-Encoding": "gzip, zstd"}


@pytest.mark.parametrize("encoding", [None, "gzip", "zstd"])
async def test_the_limit_is_on_the_body_expanded(encoding: str | None) -> None:
    encode = ENCODERS.get(encoding or "", bytes)

    assert len(await read(chunked(encode(b" " * 10_000), 100), encoding, limit=10_000)) == 10_000
    with pytest.raises(TooLargeError, match="10,000 bytes"):
        await read(chunked(encode(b" " * 10_001), 100), encoding, limit=10_000)


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
async def test_a_bomb_goes_off_at_the_limit(encoding: str) -> None:
    bomb = ENCODERS[encoding](bytes(200 * LIMIT))
    assert len(bomb) < LIMIT

    with pytest.raises(TooLargeError):
        await read([bomb], encoding)


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
async def test_what_compresses_a_thousandfold_is_read_whole(encoding: str) -> None:
    body = bytes(8 * LIMIT) + BODY

    assert await read([ENCODERS[encoding](body)], encoding, limit=9 * LIMIT) == body


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
async def test_the_limit_is_also_on_what_is_sent(encoding: str) -> None:
    nothing = ENCODERS[encoding](b"")
    endless = [nothing * 10] * (20_000 // (10 * len(nothing)))

    with pytest.raises(TooLargeError):
        await read(endless, encoding, limit=10_000)


async def test_a_window_that_takes_much_memory_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=27, write_content_size=False)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    compressed = compressor.compress(NOISE) + compressor.flush()

    with pytest.raises(BadRequestError):
        await read([compressed], "zstd")


class Reading:
    """Bodies that are read and held."""

    def __init__(self, intake: Intake) -> None:
        self.intake = intake
        self.held = AsyncExitStack()

    async def hold(self, body: bytes, client: str | None = None) -> bytes:
        held = self.intake.hold(request([body]), client or unique("client"))
        return await self.held.enter_async_context(held)


@pytest.fixture
async def reading() -> AsyncGenerator[Reading]:
    reading = Reading(intake_of(len(NOISE)))
    yield reading
    await reading.held.aclose()


async def test_as_many_full_bodies_are_held_as_the_budget_has_and_no_more(reading: Reading) -> None:
    for _ in range(8):
        assert await reading.hold(NOISE) == NOISE
    with pytest.raises(OverloadedError) as caught:
        await reading.hold(b"x")
    assert caught.value.retry_after

    await reading.held.aclose()
    for _ in range(8):
        assert await reading.hold(NOISE) == NOISE


async def test_one_client_takes_a_quarter_of_the_budget_and_leaves_the_rest(reading: Reading) -> None:
    for client in ("ada", "bob", "cleo"):
        for _ in range(2):
            await reading.hold(NOISE, client)
        with pytest.raises(OverloadedError, match="of this client"):
            await reading.hold(b"x", client)
    for _ in range(2):
        assert await reading.hold(NOISE, "dan") == NOISE

    await reading.held.aclose()
    assert await reading.hold(NOISE, "ada") == NOISE


async def test_a_small_body_is_read_when_large_ones_have_used_up_the_budget(reading: Reading) -> None:
    for _ in range(8):
        await reading.hold(NOISE)

    assert await read_body(request([BODY]), LIMIT, 20) == BODY
    with pytest.raises(TooLargeError, match="10,000 bytes"):
        await read_body(request([BODY]), 10_000, 20)


async def test_a_body_that_does_not_arrive_in_time_is_given_up_and_returns_what_it_took() -> None:
    reading = Reading(Intake(len(NOISE), timeout=0.05))
    for _ in range(9):
        with pytest.raises(RequestTimeoutError, match=r"within 0.05 s") as caught:
            async with reading.intake.hold(stalled(NOISE[:60_000]), "ada"):
                pass
        assert caught.value.headers == {"Connection": "close"}
        with pytest.raises(RequestTimeoutError):
            await read_body(stalled(NOISE[:60_000]), LIMIT, 0.05)
    for _ in range(8):
        assert await reading.hold(NOISE) == NOISE
    await reading.held.aclose()


async def test_the_time_of_a_body_ends_when_it_has_arrived() -> None:
    async with Intake(len(NOISE), timeout=0.05).hold(request([NOISE]), "ada") as body:
        await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=0.1)
    assert body == NOISE


@pytest.mark.parametrize(
    ("chunks", "encoding", "error"),
    [
        ([NOISE[:60_000], NOISE], "identity", TooLargeError),
        ([gzip.compress(NOISE[:60_000])[:-1]], "gzip", BadRequestError),
        ([gzip.compress(NOISE[:60_000]), b"garbage"], "gzip", BadRequestError),
        ([ENCODERS["zstd"](NOISE[:60_000]), b"garbage"], "zstd", BadRequestError),
    ],
)
async def test_an_error_returns_what_was_taken_of_the_budget(
    reading: Reading, chunks: list[bytes], encoding: str, error: type[Exception]
) -> None:
    for _ in range(20):
        with pytest.raises(error):
            async with reading.intake.hold(request(chunks, content_encoding=encoding), "ada"):
                pass
    for _ in range(8):
        assert await reading.hold(NOISE) == NOISE


async def test_a_failure_of_whoever_reads_returns_the_budget_too(reading: Reading) -> None:
    for _ in range(20):
        with pytest.raises(LookupError):
            async with reading.intake.hold(request([NOISE]), "ada"):
                raise LookupError
    for _ in range(8):
        await reading.hold(NOISE)


async def test_a_body_pushed_back_midway_returns_what_it_took(reading: Reading) -> None:
    for _ in range(7):
        await reading.hold(NOISE)
    await reading.hold(NOISE[:1000])
    for _ in range(3):
        with pytest.raises(OverloadedError):
            async with reading.intake.hold(request([NOISE[:60_000], NOISE[60_000:]]), "ada"):
                pass
    assert await reading.hold(NOISE[1000:]) == NOISE[1000:]


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
async def test_a_large_body_lets_the_loop_turn_while_it_expands(encoding: str) -> None:
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(turn())
    await read([ENCODERS[encoding](NOISE * 128)], encoding, limit=9 * LIMIT)
    beside.cancel()

    assert turns >= 16


@pytest.mark.parametrize(
    ("content_type", "form"),
    [
        (None, "json"),
        ("application/json", "json"),
        ("Application/JSON", "json"),
        ("application/json; charset=utf-8", "json"),
        ('application/json;charset="UTF-8"', "json"),
        ("application/json; charset=utf-8; x=y", "json"),
        ("application/json; x=y", "json"),
        ("application/x-ndjson", "ndjson"),
        ("application/ndjson", "ndjson"),
        ("application/jsonl ; charset=utf-8", "ndjson"),
    ],
)
def test_content_types_that_are_taken(content_type: str | None, form: str) -> None:
    sent = request() if content_type is None else request(content_type=content_type)

    assert form_of(sent, allowed=("json", "ndjson")) == form


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "application/xml",
        "application/json+x",
        "multipart/form-data",
        "application/json; charset=latin1",
        "application/json; x=y; charset=utf-16",
        "json",
    ],
)
def test_content_types_that_are_not(content_type: str) -> None:
    with pytest.raises(UnsupportedMediaError):
        form_of(request(content_type=content_type), allowed=("json", "ndjson"))


def test_a_form_that_is_not_allowed_here_says_which_are() -> None:
    with pytest.raises(UnsupportedMediaError) as caught:
        form_of(request(content_type="application/x-ndjson"), allowed=("json",))
    assert caught.value.headers == {"Accept-Post": "application/json"}
