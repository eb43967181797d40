"""How a process that works in the background leaves the cores to those that somebody waits for."""

import ctypes
import os
import platform
from typing import Final

_NICENESS: Final = 10
"""A tenth of a core that another process wants all the time. At 5, a quarter, searches beside 5,000 events/s had a p99
a fifth higher, and events were in the index a sixth sooner: who asks before that is answered from the log's tail."""

_SLICE_NS: Final = 5_000_000
"""Longer than what others have unasked (0.7 to 2.8 ms), and short for whoever waits while both cores are wanted."""

_SET_ATTRIBUTES: Final = {"x86_64": 314, "aarch64": 274}
"""The number of ``sched_setattr(2)``, for which most C libraries have no function, by machine."""


class _Attributes(ctypes.Structure):
    """``struct sched_attr`` in its first version of 48 bytes; all zero is the ordinary policy."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("policy", ctypes.c_uint32),
        ("flags", ctypes.c_uint64),
        ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32),
        ("runtime", ctypes.c_uint64),
        ("deadline", ctypes.c_uint64),
        ("period", ctypes.c_uint64),
    )


def stand_back() -> None:
    """Let whoever wakes have the core at once, and have less of it where several want it for long.

    Niceness (``nice(2)``) shares out a core that is wanted all the time, but does not say who goes first: on two busy
    cores the server process of a commit waited up to 4 ms for a slice of the worker to end, and with it each request of
    the batch. Since Linux 6.12 a process that asks for a longer slice is interrupted by any that wakes with a shorter
    one. Older kernels ignore the wish, and other systems are not asked.
    """
    niceness = os.nice(_NICENESS)
    number = _SET_ATTRIBUTES.get(platform.machine())
    if platform.system() == "Linux" and number is not None:
        wish = _Attributes(size=ctypes.sizeof(_Attributes), nice=niceness, runtime=_SLICE_NS)
        ctypes.CDLL(None).syscall(number, 0, ctypes.byref(wish), 0)
