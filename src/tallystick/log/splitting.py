"""Bodies of bulk requests, cut into events: parsed a stretch at a time, or unparsed where one of them has a flaw."""

import json
import re
from collections.abc import Iterator
from itertools import islice
from typing import Final, cast

from tallystick.errors import Flaw, InvalidError
from tallystick.log.model import parse_json

_STRETCH_BYTES: Final = 16 * 1024
"""What is parsed in one go, and what is left of the event in which it ends: a tenth of a millisecond."""

_SPACE: Final = re.compile(r"[ \t\n\r]*")
_OPENING: Final = re.compile(rb"[ \t\n\r]*\[")
_BETWEEN: Final = re.compile(rb"\}[ \t\n\r]*,(?=[ \t\n\r]*\{)")
"""The comma between two objects, or what looks like it within a text or an array of one."""


def read_array(body: bytes, max_event_bytes: int, stretch_bytes: int = _STRETCH_BYTES) -> Iterator[object]:
    """Give the elements of a JSON array: parsed where they are sound, else as bytes, to be judged one by one.

    Where a stretch ends is guessed, and the guess is proved by parsing it: what is JSON as an array of its own ends
    where an element ends. Should it not be, the rest is cut exactly, at three times the cost.

    Args:
        body: The array.
        max_event_bytes: Who gets a parsed element knows that it is no larger.
        stretch_bytes: How much is parsed in one go, at least.

    Raises:
        InvalidError: Not an array.
    """
    opening = _OPENING.match(body)
    if opening is None:
        raise _not_an_array("it starts with something else")
    position = opening.end()
    given = 0
    while True:
        comma = _BETWEEN.search(body, position + stretch_bytes)
        end = len(body) if comma is None else comma.end()
        if end - position > max_event_bytes:
            break
        try:
            values = parse_json(b"[" + (body[position:] if comma is None else body[position : end - 1] + b"]"))
        except InvalidError:
            break
        elements = cast("list[object]", values)
        yield from elements
        if comma is None:
            return
        given += len(elements)
        position = end
    yield from islice(split_array(body), given, None)


def split_ndjson(body: bytes) -> Iterator[bytes]:
    """Give the lines that hold something; the last may lack its newline."""
    for line in body.split(b"\n"):
        if line and not line.isspace():
            yield line


def split_array(body: bytes) -> Iterator[bytes]:
    """Give the elements of a JSON array, unparsed.

    Only where one ends is found here; whether it is JSON as we take it is judged by whoever parses it.

    Raises:
        InvalidError: Not an array.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise _not_an_array("it is not UTF-8") from None
    # Numbers stay text: they are not looked at here, and Python makes no integer of more than 4,300 digits.
    scan = json.JSONDecoder(parse_int=str, parse_float=str).raw_decode
    position = _after_space(text, 0)
    if text[position : position + 1] != "[":
        raise _not_an_array("it starts with something else")
    position = _after_space(text, position + 1)
    if text[position : position + 1] == "]":
        _expect_end(text, position + 1)
        return
    while True:
        try:
            _, end = scan(text, position)
        except (json.JSONDecodeError, RecursionError):
            raise _not_an_array(f"what begins at character {position} is not JSON, or nested too deep") from None
        yield text[position:end].encode()
        position = _after_space(text, end)
        separator = text[position : position + 1]
        if separator == "]":
            _expect_end(text, position + 1)
            return
        if separator != ",":
            raise _not_an_array(f"a comma or ] is missing at character {position}")
        position = _after_space(text, position + 1)


def _after_space(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return position if match is None else match.end()


def _expect_end(text: str, position: int) -> None:
    if _after_space(text, position) != len(text):
        raise _not_an_array("something follows it")


def _not_an_array(reason: str) -> InvalidError:
    return InvalidError(
        f"the body must be a JSON array of events: {reason}", flaws=[Flaw("must be an array of events", pointer="")]
    )
