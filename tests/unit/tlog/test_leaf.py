"""What an answered event's leaf hash commits to."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick_tlog import body_of, leaf_hash, verify_event

BODY = b'{"id":"x","message":"na\xc3\xafve","seq":"not this one"}'


def answer(body: bytes, seq: int = 7, leaf: str | None = None) -> bytes:
    return b'{"seq":%d,"leaf_hash":"%s",' % (seq, (leaf or leaf_hash(body).hex()).encode()) + body[1:]


def test_a_leaf_is_hashed_as_rfc_6962_says() -> None:
    # The hash of the empty leaf, as in the test vectors of Certificate Transparency.
    assert leaf_hash(b"").hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert leaf_hash(BODY) == hashlib.sha256(b"\x00" + BODY).digest()


@given(st.binary(), st.integers(0, 2**40 - 1))
def test_the_body_is_cut_out_byte_for_byte(rest: bytes, seq: int) -> None:
    body = b"{" + rest

    assert body_of(answer(body, seq)) == body
    assert verify_event(answer(body, seq))


@pytest.mark.parametrize("position", range(len(BODY) - 1))
def test_a_body_with_one_bit_changed_does_not_verify(position: int) -> None:
    item = bytearray(answer(BODY))
    item[len(item) - 1 - position] ^= 1

    assert not verify_event(bytes(item))


def test_another_events_hash_does_not_verify() -> None:
    assert not verify_event(answer(BODY, leaf=leaf_hash(b"{}").hex()))


@pytest.mark.parametrize(
    "item",
    [
        b"",
        b"{}",
        BODY,
        b" " + answer(BODY),
        answer(BODY).replace(b":7,", b":07,"),
        answer(BODY).replace(b":7,", b":-7,"),
        answer(BODY).replace(b":7,", b":7.0,"),
        answer(BODY).replace(b":7,", b": 7,"),
        answer(BODY).replace(b'"leaf_hash":"', b'"leaf_hash":"0'),
        answer(BODY, leaf=leaf_hash(BODY).hex().upper()),
        b'{"leaf_hash":"%s","seq":7,' % leaf_hash(BODY).hex().encode() + BODY[1:],
    ],
)
def test_what_is_no_answered_event_is_refused(item: bytes) -> None:
    with pytest.raises(ValueError, match="an event starts with"):
        body_of(item)
    with pytest.raises(ValueError, match="an event starts with"):
        verify_event(item)
