"""The bytes of a row in PostgreSQL's binary COPY format."""

from hypothesis import given
from hypothesis import strategies as st

from tallystick.log.copyrows import HEADER, TRAILER, event_row, retry_key_row

INT64 = st.integers(-(2**62), 2**62)


def test_header_and_trailer_are_those_of_the_documentation() -> None:
    assert HEADER.hex() == "5047434f50590aff0d0a00" + "00000000" + "00000000"
    assert TRAILER.hex() == "ffff"


def test_a_row_is_known_byte_for_byte() -> None:
    row = event_row(7, 1 << 33, 946_684_800_000_001, 946_684_799_999_999, bytes(range(32)), "{é}".encode())

    assert row.hex(" ", 4) == bytes.fromhex(
        "0006"
        "00000004 00000007"
        "00000008 0000000200000000"
        "00000008 0000000000000001"
        "00000008 ffffffffffffffff"
        "00000020 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
        "00000004 7bc3a97d"
    ).hex(" ", 4)


def test_a_retry_key_is_known_byte_for_byte() -> None:
    row = retry_key_row(10_958, "event", 7, "é", b"\x01\x02", "k1", b"{}")

    assert row.hex(" ", 4) == bytes.fromhex(
        "000700000004 0000000100000005 6576656e7400000004 0000000700000002 c3a900000002 010200000002 6b3100000002 7b7d"
    ).hex(" ", 4)


def fields_of(row: bytes) -> list[bytes]:
    """Read a row as the format says, knowing nothing of its columns."""
    count, position = int.from_bytes(row[:2], "big"), 2
    fields: list[bytes] = []
    for _ in range(count):
        length = int.from_bytes(row[position : position + 4], "big")
        fields.append(row[position + 4 : position + 4 + length])
        position += 4 + length
    assert position == len(row)
    return fields


@given(st.integers(0, 2**31 - 1), st.integers(0, 2**40), INT64, INT64, st.binary(min_size=32, max_size=32), st.binary())
def test_any_row_reads_back(log_id: int, seq: int, received: int, occurred: int, leaf: bytes, body: bytes) -> None:
    *numbers, leaf_read, body_read = fields_of(event_row(log_id, seq, received, occurred, leaf, body))

    zero = 946_684_800_000_000
    assert [int.from_bytes(number, "big", signed=True) for number in numbers] == [
        log_id,
        seq,
        received - zero,
        occurred - zero,
    ]
    assert [len(number) for number in numbers] == [4, 8, 8, 8]
    assert (leaf_read, body_read) == (leaf, body)
