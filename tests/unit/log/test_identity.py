"""An id gives back where its event lies, sorts as events arrived, and is a UUIDv7 to everybody else."""

import uuid

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tallystick.log.identity import MAX_MILLISECONDS, MAX_SEQ, RANDOM_BITS, make_id, parse_id

MOST_RANDOM = (1 << RANDOM_BITS) - 1

milliseconds = st.integers(0, MAX_MILLISECONDS)
seqs = st.integers(0, MAX_SEQ) | st.integers(0, 40).map(lambda bit: min(1 << bit, MAX_SEQ))
randoms = st.integers(0, MOST_RANDOM)


@given(milliseconds, seqs, randoms)
@example(0, 0, 0)
@example(MAX_MILLISECONDS, MAX_SEQ, MOST_RANDOM)
@example(1_795_540_896_123, (1 << 28) - 1, MOST_RANDOM)
@example(1_795_540_896_123, 1 << 28, 0)
def test_an_id_gives_back_its_place(received_ms: int, seq: int, random: int) -> None:
    place = parse_id(make_id(received_ms, seq, random))

    assert (place.received_ms, place.seq) == (received_ms, seq)


@given(milliseconds, seqs, randoms)
@example(MAX_MILLISECONDS, MAX_SEQ, MOST_RANDOM)
def test_the_layout_is_that_of_rfc_9562(received_ms: int, seq: int, random: int) -> None:
    text = make_id(received_ms, seq, random)
    read = uuid.UUID(text)

    assert str(read) == text
    assert read.version == 7
    assert read.variant == uuid.RFC_4122
    bits = f"{read.int:0128b}"
    assert int(bits[:48], 2) == received_ms
    assert int(bits[52:64] + bits[66:94], 2) == seq
    assert int(bits[94:], 2) == random


def test_the_layout_of_one_id_is_known() -> None:
    seq = 0xABC << 28 | 0x1234567
    assert make_id(0x0123456789AB, seq, 0x3_0000_0001) == "01234567-89ab-7abc-848d-159f00000001"


@given(st.tuples(milliseconds, seqs), st.tuples(milliseconds, seqs), randoms, randoms)
def test_ids_sort_as_events_arrive(one: tuple[int, int], other: tuple[int, int], random: int, another: int) -> None:
    if one != other:
        assert (make_id(*one, random) < make_id(*other, another)) == (one < other)


@given(milliseconds, st.integers(0, MAX_SEQ - 1), randoms, randoms)
def test_the_next_event_of_a_millisecond_sorts_after_whatever_is_random(
    received_ms: int, seq: int, random: int, another: int
) -> None:
    assert make_id(received_ms, seq, random) < make_id(received_ms, seq + 1, another)


@pytest.mark.parametrize(
    "parts",
    [
        (-1, 0, 0),
        (MAX_MILLISECONDS + 1, 0, 0),
        (0, -1, 0),
        (0, MAX_SEQ + 1, 0),
        (0, 0, -1),
        (0, 0, MOST_RANDOM + 1),
    ],
)
def test_a_part_that_does_not_fit_is_refused(parts: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="48 bits"):
        make_id(*parts)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "01234567-89ab-7abc-848d-159f0000000",
        "01234567-89ab-7abc-848d-159f000000012",
        "01234567-89ab-7abc-848d-159f00000001\n",
        "01234567-89AB-7ABC-848D-159F00000001",
        "0123456789ab7abc848d159f00000001",
        "{01234567-89ab-7abc-848d-159f00000001}",
        "01234567-89ab-4abc-848d-159f00000001",
        "01234567-89ab-7abc-048d-159f00000001",
        "01234567-89ab-7abc-c48d-159f00000001",
        "01234567-89ab-7abc-848d-159f0000000g",
        "\u0660\u0661234567-89ab-7abc-848d-159f00000001",
    ],
)
def test_what_is_no_id_of_ours_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="UUIDv7"):
        parse_id(text)
