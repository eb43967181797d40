"""How an export is written down, and how it is compressed."""

import zlib

import pytest
import zstandard

from tallystick.export.formats import Coding, coding_of, compressor

CODINGS: tuple[Coding, ...] = ("gzip", "zstd")


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("", None),
        ("identity", None),
        ("br", None),
        ("gzip", "gzip"),
        ("zstd", "zstd"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("GZIP;q=0.5, zstd;q=0.4", "gzip"),
        ("gzip;q=0", None),
        ("*", "gzip"),
        ("*;q=0.1, gzip;q=0", None),
        ("gzip;q=0.5, identity", None),
        ("gzip;q=x", None),
    ],
)
def test_the_coding_is_what_was_asked_for(accepted: str, coding: Coding | None) -> None:
    assert coding_of(accepted) == coding


def test_what_is_compressed_can_be_read() -> None:
    pieces = [b"a" * 70_000, b"b", b"c" * 1_000]
    packed: dict[str, bytes] = {}
    for coding in CODINGS:
        squeeze = compressor(coding)
        packed[coding] = b"".join([*(squeeze.compress(piece) for piece in pieces), squeeze.flush()])
    assert zlib.decompress(packed["gzip"], wbits=31) == b"".join(pieces)
    assert zstandard.ZstdDecompressor().decompressobj().decompress(packed["zstd"]) == b"".join(pieces)
