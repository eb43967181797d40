"""A process that stands back: seen in what the kernel keeps of it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_STAND_BACK = """
import os
from pathlib import Path
from tallystick.runtime.courtesy import stand_back
stand_back()
print(os.nice(0))
group = Path("/proc/self/autogroup")
print(group.read_text() if group.exists() else "")
"""
_ASKED = min(os.nice(0) + 10, 19)


def _stood_back(*, own_session: bool) -> tuple[int, str]:
    """The niceness of a process that stands back, and what the kernel tells of its session's."""
    done = subprocess.run(
        [sys.executable, "-c", _STAND_BACK], capture_output=True, text=True, check=True, start_new_session=own_session
    )
    niceness, _, group = done.stdout.partition("\n")
    return int(niceness), group.strip()


def test_it_is_nicer_than_those_that_are_waited_for() -> None:
    assert _stood_back(own_session=False)[0] == _ASKED


def test_its_own_session_is_nicer_where_cores_are_shared_out_among_sessions() -> None:
    niceness, group = _stood_back(own_session=True)
    assert niceness == _ASKED
    if not group:
        pytest.skip("this kernel does not group processes by session (CONFIG_SCHED_AUTOGROUP)")
    if not os.access("/proc/self/autogroup", os.W_OK):
        pytest.skip("the niceness of a session may not be set here")
    assert group.endswith(f" nice {_ASKED}")


def test_a_session_that_it_shares_stays_as_it_is() -> None:
    ours = Path("/proc/self/autogroup")
    before = ours.read_text(encoding="ascii").strip() if ours.exists() else ""
    assert _stood_back(own_session=False)[1] == before
