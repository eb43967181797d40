"""The id of an event: a UUIDv7 of its arrival whose counter bits carry its seq, so that no index on ids is needed.

The layout is RFC 9562 §6.2 (method 1, a dedicated counter)::

    48 bits  received_at, Unix milliseconds
     4 bits  version 7
    12 bits  seq, bits 39 to 28          (rand_a)
     2 bits  variant 10
    28 bits  seq, bits 27 to 0           (rand_b)
    34 bits  random
"""

import os
import re
from typing import Final, NamedTuple

MAX_SEQ = (1 << 40) - 1
"""A log holds at most 2⁴⁰ events."""

MAX_MILLISECONDS = (1 << 48) - 1
RANDOM_BITS = 34

_RANDOM_BYTES: Final = 5
_RANDOM_MASK: Final = (1 << RANDOM_BITS) - 1

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


class Place(NamedTuple):
    """Where an id says its event lies.

    Attributes:
        seq: Position in the log, from 0.
        received_ms: Arrival in Unix milliseconds.
    """

    seq: int
    received_ms: int


def draw_random(count: int) -> list[int]:
    """The random bits of so many ids."""
    drawn = os.urandom(_RANDOM_BYTES * count)
    starts = range(0, len(drawn), _RANDOM_BYTES)
    return [int.from_bytes(drawn[start : start + _RANDOM_BYTES], "big") & _RANDOM_MASK for start in starts]


def make_id(received_ms: int, seq: int, random: int) -> str:
    """Form the id of the event at ``seq``.

    Args:
        received_ms: Arrival in Unix milliseconds, 0 … 2⁴⁸ - 1.
        seq: Position in the log, 0 … 2⁴⁰ - 1.
        random: 34 random bits.

    Raises:
        ValueError: A part does not fit its bits.
    """
    if not (0 <= received_ms <= MAX_MILLISECONDS and 0 <= seq <= MAX_SEQ and 0 <= random < 1 << RANDOM_BITS):
        raise ValueError("an id holds 48 bits of milliseconds, 40 of seq and 34 of randomness")
    number = received_ms << 80 | 0x7 << 76 | (seq >> 28) << 64 | 0b10 << 62 | (seq & 0xFFF_FFFF) << RANDOM_BITS | random
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def parse_id(text: str) -> Place:
    """Read the place out of an id.

    Raises:
        ValueError: Not a lower-case UUIDv7.
    """
    if _UUID.fullmatch(text) is None:
        raise ValueError("an event id is a UUIDv7 in lower case")
    number = int(text.replace("-", ""), 16)
    return Place(
        seq=(number >> 64 & 0xFFF) << 28 | number >> RANDOM_BITS & 0xFFF_FFFF,
        received_ms=number >> 80,
    )
