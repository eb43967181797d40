from itertools import chain

import pytest

from ordering import slow_first

SLOW = [["a1", "a2"], ["b1"], ["c1", "c2", "c3"], ["d1"], ["e1"]]
OTHERS = [str(number) for number in range(100)]


def blocks(tests: list[str], processes: int) -> list[list[str]]:
    """As xdist deals them out at first."""
    dealt: list[list[str]] = []
    for left in range(processes, 0, -1):
        size = len(tests) // left
        dealt.append(tests[:size])
        tests = tests[size:]
    return dealt


@pytest.mark.parametrize("processes", [2, 3, 4, 8, 64])
@pytest.mark.parametrize("others", [OTHERS, OTHERS[:3], []])
def test_none_is_lost_or_doubled(processes: int, others: list[str]) -> None:
    ordered = slow_first(SLOW, others, processes)
    assert sorted(ordered) == sorted([*chain(*SLOW), *others])
    assert [test for test in ordered if test in others] == others


def test_half_of_the_processes_begin_with_slow_ones_and_modules_stay_whole() -> None:
    dealt = blocks(slow_first(SLOW, OTHERS, 4), 4)
    assert dealt[0][:7] == ["a1", "a2", "c1", "c2", "c3", "e1", "0"]
    assert dealt[1][:3] == ["b1", "d1", dealt[1][2]]
    assert all(test in OTHERS for block in (dealt[0][6:], dealt[1][2:], dealt[2], dealt[3]) for test in block)
