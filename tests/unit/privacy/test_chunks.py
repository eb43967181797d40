"""Encrypted objects: any content in any pieces, any range of it, and nothing that was changed, cut or moved."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.privacy.chunks import (
    CHUNK_BYTES,
    DamagedObjectError,
    Decryptor,
    Encryptor,
    header_bytes,
    span_of,
    stored_bytes,
)
from tallystick.privacy.sealing import DataKeys

KEYS = DataKeys("acme", "k-2", {"k-1": b"\1" * 32, "k-2": b"\2" * 32}, b"\3" * 32)
NAME = "tenants/acme/exports/x/y.ndjson"
GOLDEN = (
    "54535831036b2d32000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
    "32333435363738f379d940b1b1b6405f7a2c20878eeed53a7f2cf424deb5f7e065dc"
)
SIZES = (0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES, 3 * CHUNK_BYTES + 100)


def content_of(size: int) -> bytes:
    return hashlib.shake_128(b"content").digest(size)


def encrypted(content: bytes, piece: int = 50_000, name: str = NAME, keys: DataKeys = KEYS) -> bytes:
    encryptor = Encryptor(keys, name)
    taken = [encryptor.take(content[start : start + piece]) for start in range(0, len(content), piece)]
    return b"".join(taken) + encryptor.end()


def decrypted(
    stored: bytes,
    size: int,
    start: int = 0,
    end: int | None = None,
    piece: int = 70_000,
    name: str = NAME,
    keys: DataKeys = KEYS,
) -> bytes:
    span = span_of("k-2", size, start, size if end is None else end)
    decryptor = Decryptor(keys, name, "k-2", stored[: header_bytes("k-2")], size, span)
    read = stored[span.begin : span.end]
    taken = [decryptor.take(read[at : at + piece]) for at in range(0, len(read), piece)]
    return b"".join(taken) + decryptor.end()


@pytest.mark.parametrize("piece", [1_000, CHUNK_BYTES, 1_000_000])
@pytest.mark.parametrize("size", SIZES)
def test_what_is_encrypted_is_decrypted_however_it_comes(size: int, piece: int) -> None:
    stored = encrypted(content_of(size), piece)
    assert len(stored) == stored_bytes("k-2", size)
    assert decrypted(stored, size, piece=piece) == content_of(size)


@settings(max_examples=60)
@given(st.sampled_from([size for size in SIZES if size]), st.data())
def test_any_range_is_read_from_its_chunks_alone(size: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, size - 1))
    end = data.draw(st.integers(start + 1, size))
    span = span_of("k-2", size, start, end)
    assert span.end - span.begin <= (end - start) + 2 * (CHUNK_BYTES + 16)
    assert decrypted(encrypted(content_of(size)), size, start, end) == content_of(size)[start:end]


@settings(max_examples=60)
@given(st.data())
def test_any_bit_changed_is_refused(data: st.DataObject) -> None:
    size = CHUNK_BYTES + 100
    stored = bytearray(encrypted(content_of(size)))
    at = data.draw(st.integers(0, len(stored) - 1))
    stored[at] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(DamagedObjectError):
        decrypted(bytes(stored), size)


def test_chunks_are_not_to_be_swapped_left_out_or_repeated() -> None:
    size = 3 * CHUNK_BYTES
    stored = encrypted(content_of(size))
    header, chunk = header_bytes("k-2"), CHUNK_BYTES + 16
    head, first, second, third = (
        stored[:header],
        *(stored[header + at * chunk : header + (at + 1) * chunk] for at in range(3)),
    )
    for wrong in (
        head + second + first + third,
        head + first + third,
        head + first + first + third,
        head + first + second,
        head + third,
        head,
    ):
        with pytest.raises(DamagedObjectError):
            decrypted(wrong, size)


def test_the_beginning_of_an_object_is_not_a_shorter_one() -> None:
    stored = encrypted(content_of(3 * CHUNK_BYTES))
    size = 2 * CHUNK_BYTES
    with pytest.raises(DamagedObjectError, match="chunk 1"):
        decrypted(stored[: stored_bytes("k-2", size)], size)


def test_it_opens_under_its_own_name_for_its_own_tenant_by_its_own_key_alone() -> None:
    stored, size = encrypted(content_of(100)), 100
    with pytest.raises(DamagedObjectError):
        decrypted(stored, size, name=NAME + "2")
    with pytest.raises(DamagedObjectError):
        decrypted(stored, size, keys=DataKeys("other", "k-2", KEYS.keys, b"\3" * 32))
    with pytest.raises(DamagedObjectError, match="key is not there"):
        decrypted(stored, size, keys=DataKeys("acme", "k-1", {"k-1": b"\1" * 32}, b"\3" * 32))
    with pytest.raises(DamagedObjectError, match="header"):
        decrypted(b"TSX2" + stored[4:], size)


def test_two_objects_of_the_same_content_share_nothing() -> None:
    first, second = encrypted(content_of(1_000)), encrypted(content_of(1_000))
    header = header_bytes("k-2")
    assert first[:header][9:] != second[:header][9:]
    assert first[header:] != second[header:]


def test_the_form_is_that_of_the_golden_vector() -> None:
    """Made by another implementation of HKDF-Expand: of `cryptography`, from the description in `chunks`."""
    stored = bytes.fromhex(GOLDEN)
    assert stored[:4] == b"TSX1"
    assert decrypted(stored, 11) == b"hello world"
