"""Frames and close codes: golden vectors, and a real parser to read them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from memory_streams import messages
from tallystick.errors import (
    BadRequestError,
    DatabaseDownError,
    Flaw,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    OverloadedError,
    RateLimitedError,
    TallystickError,
    UnauthenticatedError,
)
from tallystick.stream.model import close_of, events_frame, framed, heartbeat_frame, removed_frames, shortened


def parsed(data: bytes) -> bytes:
    """What a client reads: the payload of one whole text frame and no more."""
    reader = StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    parsing = Frame.parse(reader.read_exact, mask=False)
    try:
        while True:
            next(parsing)
    except StopIteration as ended:
        frame: Frame = ended.value
    assert (frame.opcode, frame.fin) == (Opcode.TEXT, True)
    assert not reader.buffer
    return bytes(frame.data)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 200_000])
def test_a_frame_of_any_length_is_read_as_it_was(size: int) -> None:
    assert parsed(framed(b"x" * size)) == b"x" * size


def test_frames_are_these_bytes() -> None:
    assert heartbeat_frame(7) == b'\x81\x1c{"type":"heartbeat","seq":7}'
    items = [b'{"seq":3}', b'{"seq":5}']
    assert parsed(events_frame(items, 9)) == b'{"type":"events","items":[{"seq":3},{"seq":5}],"seq":9}'
    assert json.loads(parsed(removed_frames([(2, 4, "retention"), (6, 6, "order")], 1))) == {
        "type": "removed",
        "removed": [
            {"first_seq": 2, "last_seq": 4, "reason": "retention"},
            {"first_seq": 6, "last_seq": 6, "reason": "order"},
        ],
        "seq": 1,
    }


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BadRequestError("x"), 4400),
        (InvalidError("x"), 4400),
        (UnauthenticatedError("x"), 4401),
        (ForbiddenError("x"), 4403),
        (NotFoundError("x"), 4403),
        (RateLimitedError("x"), 4429),
        (OverloadedError("x"), 1013),
        (DatabaseDownError("x"), 1013),
        (TallystickError("x"), 1011),
    ],
)
def test_an_error_closes_with_a_code_and_says_why(error: TallystickError, code: int) -> None:
    assert close_of(error) == (code, "x")


def test_the_places_to_mend_are_said_before_anything_else() -> None:
    error = InvalidError("not valid", flaws=[Flaw("is empty", parameter="q"), Flaw("is odd", "/a")])
    assert close_of(error).reason == "q: is empty; /a: is odd"


@given(st.text())
def test_a_reason_fits_into_a_close_frame_and_stays_text(text: str) -> None:
    text = text.encode(errors="ignore").decode()
    short = shortened(text)
    assert len(short.encode()) <= 123
    assert text.startswith(short)
    assert len(text.encode()) > 119 or short == text


def test_many_removed_ranges_come_in_several_frames() -> None:
    ranges = [(number, number, "retention") for number in range(2_500)]
    found = messages(removed_frames(ranges, -1))
    assert [len(frame["removed"]) for frame in found] == [1_000, 1_000, 500]
    assert {frame["seq"] for frame in found} == {-1}
    assert [each["first_seq"] for frame in found for each in frame["removed"]] == list(range(2_500))
