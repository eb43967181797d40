"""Counters of rates in the memory of one process, by `limits`, at a cost that does not grow with their number.

The library's own memory storage looks at every counter there is on each hit: 300 µs with four thousand of them. This
one sweeps once a minute.
"""

import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final

from limits import RateLimitItemPerSecond
from limits.aio.storage import Storage
from limits.aio.strategies import FixedWindowRateLimiter

from tallystick.ports import Charge, Window

_SWEEP_SECONDS: Final = 60.0


class MemoryCounters(Storage):
    """Fixed-window counters of one process, for one event loop. No method suspends.

    Args:
        clock: Unix seconds.
    """

    STORAGE_SCHEME = None  # made directly, never looked up by a URI

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        super().__init__()
        self._clock = clock
        self._counters: dict[str, tuple[float, int]] = {}
        self._sweep_at = clock() + _SWEEP_SECONDS

    @property
    def base_exceptions(self) -> type[Exception]:
        """What the library may wrap; these counters raise nothing."""
        return ValueError

    async def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Add to a counter, beginning a window of ``expiry`` seconds where none is running."""
        now = self._clock()
        if now >= self._sweep_at:
            self._sweep(now)
        ends, count = self._counters.get(key, (0.0, 0))
        if ends <= now:
            ends, count = now + expiry, 0
        self._counters[key] = (ends, count + amount)
        return count + amount

    async def get(self, key: str) -> int:
        """The count of the running window, 0 when none is."""
        ends, count = self._counters.get(key, (0.0, 0))
        return count if ends > self._clock() else 0

    async def get_expiry(self, key: str) -> float:
        """When the running window ends, in Unix seconds; now when none is."""
        now = self._clock()
        return max(now, self._counters.get(key, (now, 0))[0])

    async def check(self) -> bool:
        """Memory is always there."""
        return True

    async def reset(self) -> int:
        """Forget all counters and return how many there were."""
        count = len(self._counters)
        self._counters.clear()
        return count

    async def clear(self, key: str) -> None:
        """Forget one counter."""
        self._counters.pop(key, None)

    def _sweep(self, now: float) -> None:
        self._sweep_at = now + _SWEEP_SECONDS
        self._counters = {key: held for key, held in self._counters.items() if held[0] > now}


class ProcessCounters:
    """Implements `RateCounters` for one process: nothing suspends, so nothing comes between look and charge.

    Args:
        clock: Unix seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._limiter = FixedWindowRateLimiter(MemoryCounters(clock))

    async def charge(self, charges: Sequence[Charge], window: int) -> Sequence[Window]:
        """See `ports.RateCounters`."""
        now = self._clock()
        windows: list[Window] = []
        for charge in charges:
            quota = _quota(charge.quota, window)
            ends, left = await self._limiter.get_window_stats(quota, charge.payer)
            used = charge.quota - left
            windows.append(Window(used, ends - now if used else window))
        if all(charge.cost <= charge.quota - found.used for charge, found in zip(charges, windows, strict=True)):
            for charge in charges:
                await self._limiter.hit(_quota(charge.quota, window), charge.payer, cost=charge.cost)
        return windows

    async def check(self) -> str:
        """See `ports.RateCounters`."""
        return "this process counts"


class _Quota(RateLimitItemPerSecond):
    """So much a window, for one payer, whose name is the key."""

    def key_for(self, *identifiers: bytes | str | float) -> str:
        return str(identifiers[0])


@lru_cache
def _quota(amount: int, window: int) -> _Quota:
    return _Quota(amount, window)
