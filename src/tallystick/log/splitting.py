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

_GUESSES: Final = 1_000
"""Commas that are looked at for one stretch: a text may be made of them."""

_SPACE: Final = re.compile(r"[ \t\n\r]*")
_OPENING: Final = re.compile(rb"[ \t\n\r]*\[[ \t\n\r]*")
_KEY: Final = re.compile(rb'\{[ \t\n\r]*"[^"\\]{0,64}"')
_BETWEEN: Final = re.compile(rb"\}[ \t\n\r]*(,)[ \t\n\r]*(?=\{)")
"""The comma between two objects, or what looks like it within a text or an array of one."""


def read_array(body: bytes, max_event_bytes: int, stretch_bytes: int = _STRETCH_BYTES) -> Iterator[object]:
    """Give the elements of a JSON array: parsed where they are sound, else as bytes, to be judged one by one.

    Where a stretch ends is guessed: at a comma behind which an object begins as the first element does. The guess is
    proved by parsing: what is JSON as an array of its own ends where an element ends. Should it not be, the rest is
    cut exactly, at twice the cost.

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
    key = _KEY.match(body, position)
    first = b"{" if key is None else key[0]
    stretch = min(stretch_bytes, max_event_bytes // 2)
    begun = 0
    while True:
        comma = _find_comma(body, position + stretch, position + max_event_bytes, first)
        end = len(body) if comma is None else comma
        if end - position > max_event_bytes:
            break
        try:
            values = parse_json(b"[" + (body[position:] if comma is None else body[position:end] + b"]"))
        except InvalidError:
            break
        yield from cast("list[object]", values)
        if comma is None:
            return
        begun = position = end + 1
    yield from split_array(body, begun)


def _find_comma(body: bytes, start: int, end: int, first: bytes) -> int | None:
    for between in islice(_BETWEEN.finditer(body, start, end), _GUESSES):
        if body.startswith(first, between.end()):
            return between.start(1)
    return None


def split_ndjson(body: bytes) -> Iterator[bytes]:
    """Give the lines that hold something; the last may lack its newline."""
    for line in body.split(b"\n"):
        if line and not line.isspace():
            yield line


def split_array(body: bytes, begun: int = 0) -> Iterator[bytes]:
    """Give the elements of a JSON array, unparsed.

    Only where one ends is found here; whether it is JSON as we take it is judged by whoever parses it.

    Args:
        body: The array.
        begun: Where the element begins that is given first, in bytes; 0 for the first of all.

    Raises:
        InvalidError: Not an array.
    """
    try:
        text = body[begun:].decode()
    except UnicodeDecodeError:
        raise _not_an_array("it is not UTF-8") from None
    # Numbers stay text: they are not looked at here, and Python makes no integer of more than 4,300 digits.
    scan = json.JSONDecoder(parse_int=str, parse_float=str).raw_decode
    position = _after_space(text, 0)
    if not begun:
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
            place = position + len(body[:begun].decode())
            raise _not_an_array(f"what begins at character {place} is not JSON, or nested too deep") from None
        yield text[position:end].encode()
        position = _after_space(text, end)
        separator = text[position : position + 1]
        if separator == "]":
            _expect_end(text, position + 1)
            return
        if separator != ",":
            place = position + len(body[:begun].decode())
            raise _not_an_array(f"a comma or ] is missing at character {place}")
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
