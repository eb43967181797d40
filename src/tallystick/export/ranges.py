"""Which part of an object a request asks for (RFC 9110 §14): one range of bytes, or all."""

import re
from typing import Final

from tallystick.errors import RangeNotSatisfiableError

_RANGE: Final = re.compile(r"bytes=\s*([0-9]{0,18})-([0-9]{0,18})\s*", re.IGNORECASE)


def range_of(header: str | None, size: int) -> tuple[int, int] | None:
    """The bytes that a ``Range`` header asks for, as start and end, exclusive; None for all.

    What is no range of bytes, and several ranges, are passed over, as a server may.

    Raises:
        RangeNotSatisfiableError: There are no such bytes.
    """
    match = _RANGE.fullmatch(header or "")
    if match is None or match[1] == match[2] == "":
        return None
    if match[1]:
        start, end = int(match[1]), min(int(match[2]) + 1, size) if match[2] else size
        if match[2] and int(match[2]) < start:
            return None
    else:
        start, end = max(size - int(match[2]), 0), size
    if start >= end:
        raise RangeNotSatisfiableError(
            f"it has {size} bytes: ask for a range within", headers={"Content-Range": f"bytes */{size}"}
        )
    return start, end
