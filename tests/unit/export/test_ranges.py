"""Ranges of bytes as requests ask for them."""

import pytest

from tallystick.errors import RangeNotSatisfiableError
from tallystick.export.ranges import range_of


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=0-", (0, 10)),
        ("bytes=3-7", (3, 8)),
        ("bytes=9-9", (9, 10)),
        ("bytes=3-700", (3, 10)),
        ("bytes=-4", (6, 10)),
        ("bytes=-400", (0, 10)),
        ("Bytes= 1-2", (1, 3)),
    ],
)
def test_one_range_is_heeded(header: str, wanted: tuple[int, int]) -> None:
    assert range_of(header, 10) == wanted


@pytest.mark.parametrize(
    "header",
    [None, "", "bytes", "bytes=", "bytes=-", "bytes=5-3", "bytes=1-2,4-5", "items=1-2", "bytes=a-b", "bytes=1"],
)
def test_what_is_no_range_of_bytes_is_passed_over(header: str | None) -> None:
    assert range_of(header, 10) is None


@pytest.mark.parametrize(
    ("header", "size"), [("bytes=10-", 10), ("bytes=10-12", 10), ("bytes=-0", 10), ("bytes=0-", 0), ("bytes=-1", 0)]
)
def test_a_range_beyond_the_end_is_refused_with_the_size(header: str, size: int) -> None:
    with pytest.raises(RangeNotSatisfiableError) as refused:
        range_of(header, size)
    assert refused.value.headers == {"Content-Range": f"bytes */{size}"}
