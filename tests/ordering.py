"""In which order tests run where several processes share them: what is slow begins at once, so that nobody ends alone.

`--dist worksteal` gives each process a block of consecutive tests, and who has done with its own takes from the ends of
the others'. In the order of their folders nearly all slow tests would lie in the first block.
"""

import os
from collections.abc import Sequence
from itertools import groupby, islice
from typing import TypeVar

import pytest

_Item = TypeVar("_Item")


def slow_first(slow: Sequence[Sequence[_Item]], others: Sequence[_Item], processes: int) -> list[_Item]:
    """All tests, so that each of the first half of the blocks begins with its share of slow ones.

    Half, as there are twice as many processes as cores: two slow tests would be in each other's way on one.

    Args:
        slow: By module, each of which stays together for what its tests share.
        others: In their order.
        processes: That share them.
    """
    shares: list[list[_Item]] = [[] for _ in range(max(processes // 2, 1))]
    for number, module in enumerate(slow):
        shares[number % len(shares)].extend(module)
    left = len(others) + sum(map(len, slow))
    ordered: list[_Item] = []
    rest = iter(others)
    for number in range(processes):
        block = left // (processes - number)
        left -= block
        share = shares[number] if number < len(shares) else []
        ordered += share
        ordered += islice(rest, max(block - len(share), 0))
    return [*ordered, *rest]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the tests, the same way in each process; one alone runs them as they come."""
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if processes == 1:
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    others = [item for item in items if not item.get_closest_marker("slow")]
    modules = [list(module) for _, module in groupby(slow, lambda item: item.path)]
    items[:] = slow_first(modules, others, processes)
