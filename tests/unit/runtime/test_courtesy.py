"""A process that stands back: seen in what the kernel keeps of it."""

import os
import platform
import re
import subprocess
import sys

import pytest

_STAND_BACK = """
import os
from pathlib import Path
from tallystick.runtime.courtesy import stand_back
stand_back()
print(os.nice(0))
print(Path("/proc/self/sched").read_text() if Path("/proc/self/sched").exists() else "")
"""


def _stood_back() -> tuple[int, str]:
    done = subprocess.run([sys.executable, "-c", _STAND_BACK], capture_output=True, text=True, check=True)
    niceness, _, schedule = done.stdout.partition("\n")
    return int(niceness), schedule


def test_it_is_nicer_than_those_that_are_waited_for() -> None:
    assert _stood_back()[0] == min(os.nice(0) + 10, 19)


def test_it_asks_for_a_longer_slice_where_the_kernel_grants_one() -> None:
    version = re.match(r"(\d+)\.(\d+)", platform.release())
    if platform.system() != "Linux" or version is None or tuple(map(int, version.groups())) < (6, 12):
        pytest.skip("slices are granted by Linux since 6.12")
    granted = re.search(r"^se\.slice\s*:\s*(\d+)$", _stood_back()[1], re.MULTILINE)
    if granted is None:
        pytest.skip("this kernel does not tell of slices (CONFIG_SCHED_DEBUG)")
    assert granted[1] == "5000000"
