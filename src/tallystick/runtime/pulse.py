"""Whether the loops of a worker go on turning: one that hangs raises nothing and ends nothing."""

from collections.abc import Callable, Sequence
from time import monotonic
from typing import Final

STALL_SECONDS: Final = 300.0
"""Longer than any turn waits for what does not answer."""


class Pulse:
    """When each loop turned last.

    Args:
        clock: In seconds.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._turned_at: dict[str, float] = {}

    def of(self, loop: str) -> Callable[[], None]:
        """What a loop calls at each turn. Its first one is due from now on."""

        def turned() -> None:
            self._turned_at[loop] = self._clock()

        turned()
        return turned

    def stalled(self) -> Sequence[str]:
        """Names of the loops that have not turned for too long."""
        latest = self._clock() - STALL_SECONDS
        return sorted(loop for loop, turned_at in self._turned_at.items() if turned_at < latest)
