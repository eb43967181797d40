"""The arithmetic of what is kept for slow clients."""

from hypothesis import given
from hypothesis import strategies as st

from tallystick.stream.ring import Passage, Ring


def passage(number: int, size: int = 100) -> Passage:
    return Passage(number - 1, number, b"x" * size, 1)


def test_passages_keep_their_numbers() -> None:
    ring = Ring(10_000)
    for number in range(5):
        ring.append(passage(number))
    ring.forget(2)
    assert (ring.first, ring.end) == (2, 5)
    assert [ring[number].through for number in range(2, 5)] == [2, 3, 4]
    ring.forget(1)
    assert ring.first == 2
    ring.forget(9)
    assert (ring.first, ring.end, ring.bytes) == (5, 5, 0)
    ring.append(passage(5))
    assert ring[5].through == 5


def test_the_newest_is_kept_however_long() -> None:
    ring = Ring(1_000)
    ring.append(passage(0))
    ring.append(passage(1, 50_000))
    assert (ring.first, ring.end) == (1, 2)


def test_what_has_nothing_to_send_takes_room_too() -> None:
    ring = Ring(1_000)
    for number in range(100):
        ring.append(Passage(number - 1, number, None))
    assert ring.end - ring.first <= 10


@given(st.lists(st.integers(0, 2_000), min_size=1), st.integers(1, 5_000))
def test_it_holds_the_newest_that_fit(sizes: list[int], most: int) -> None:
    ring = Ring(most)
    for number, size in enumerate(sizes):
        ring.append(passage(number, size))
        held = [ring[each].size for each in range(ring.first, ring.end)]
        assert ring.bytes == sum(held)
        assert ring.bytes <= most or len(held) == 1
        if ring.first:
            assert ring.bytes + passage(ring.first - 1, sizes[ring.first - 1]).size > most
