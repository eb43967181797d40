"""How often a process that runs for long looks for garbage."""

import gc

_THRESHOLDS = (50_000, 20, 100)


def settle_garbage() -> None:
    """Leave what was made at the start out of every collection, and collect less often.

    Requests and stretches of a log make few cycles, but thousands of objects that live for a moment: at Python's own
    thresholds the worker would spend a tenth of its time on looking through them.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
