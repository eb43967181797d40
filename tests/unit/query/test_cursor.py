"""The cursor: it comes back as it was, and from nobody else."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.errors import InvalidError
from tallystick.query.cursor import MAX_LENGTH, CursorCodec, Position

INT64 = st.integers(-(2**63), 2**63 - 1)
POSITION = Position(backwards=False, occurred_us=1_795_540_896_123_456, seq=42, received_us=1_795_540_896_123_000)


@dataclass(frozen=True)
class Keys:
    active_id: str = "2026a"
    keys: Mapping[str, bytes] = field(default_factory=lambda: {"2026a": b"a" * 32})


CODEC = CursorCodec(Keys())


def refused(text: str, binding: bytes = b"log 1", codec: CursorCodec = CODEC) -> bool:
    with pytest.raises(InvalidError) as caught:
        codec.decode(text, binding)
    return [flaw.parameter for flaw in caught.value.flaws] == ["cursor"]


@given(st.builds(Position, st.booleans(), INT64, INT64, INT64), st.binary(max_size=64))
def test_it_comes_back_as_it_was(position: Position, binding: bytes) -> None:
    assert CODEC.decode(CODEC.encode(position, binding), binding) == position


def test_it_is_safe_in_a_query_string() -> None:
    text = CODEC.encode(POSITION, b"log 1")
    assert text.replace("-", "").replace("_", "").isalnum()
    assert len(text) <= MAX_LENGTH


@pytest.mark.parametrize("binding", [b"", b"log 2", b"log 1 ", b"log"])
def test_it_holds_for_its_own_query_alone(binding: bytes) -> None:
    assert refused(CODEC.encode(POSITION, b"log 1"), binding)


@given(st.integers(min_value=0), st.integers(0, 7))
def test_one_flipped_bit_forges_nothing(place: int, bit: int) -> None:
    raw = bytearray(base64.urlsafe_b64decode(CODEC.encode(POSITION, b"log 1") + "=="))
    raw[place % len(raw)] ^= 1 << bit
    assert refused(base64.urlsafe_b64encode(raw).decode())


@given(st.text(max_size=300))
def test_no_text_is_taken_for_one(text: str) -> None:
    assert refused(text)


@given(st.binary(max_size=80))
def test_no_bytes_are_taken_for_one(raw: bytes) -> None:
    assert refused(base64.urlsafe_b64encode(b"\x01" + raw).rstrip(b"=").decode())


def test_bytes_cannot_move_between_the_key_id_and_the_binding() -> None:
    codec = CursorCodec(Keys("a", {"a": b"k" * 32, "ab": b"k" * 32}))
    raw = base64.urlsafe_b64decode(codec.encode(POSITION, b"b") + "==")
    moved = raw[:-16] + b"b" + raw[-16:]
    assert refused(base64.urlsafe_b64encode(moved).decode(), b"", codec)


def test_after_a_rotation_the_old_key_still_verifies_and_the_new_one_signs() -> None:
    old = CODEC.encode(POSITION, b"log 1")
    rotated = CursorCodec(Keys("2026b", {"2026a": b"a" * 32, "2026b": b"b" * 32}))
    assert rotated.decode(old, b"log 1") == POSITION
    assert refused(rotated.encode(POSITION, b"log 1"))


def test_a_cursor_whose_key_is_gone_is_stale() -> None:
    assert refused(CODEC.encode(POSITION, b"log 1"), codec=CursorCodec(Keys("2026b", {"2026b": b"b" * 32})))
