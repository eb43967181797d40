"""Counters in a Valkey server, as an API process has them, and processes that hammer it."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

from tallystick.adapters.valkey import ValkeyCounters
from tallystick.auth.rates import RateLimits
from tallystick.errors import RateLimitedError
from tallystick.settings import RateSettings

PATIENCE = 30.0
PAYER_KEY = b"the same in all processes of an installation"


@asynccontextmanager
async def shared_counters(
    url: str, observe: Callable[[float], None] = lambda _: None, **changes: Any
) -> AsyncGenerator[ValkeyCounters]:
    """Counters of one process, patient with a machine that is busy with tests."""
    settings = RateSettings(url=url, timeout=PATIENCE).model_copy(update=changes)
    async with ValkeyCounters(settings, lambda: PAYER_KEY, observe) as counters:
        yield counters


def hammer(url: str, subject: str, tenant: str, tasks: int, requests: int) -> int:
    """Send requests from a process of its own, many at once; returns how many passed."""

    async def send(rates: RateLimits) -> int:
        passed = 0
        for _ in range(requests):
            try:
                await rates.take("iss", subject, tenant, 3)
            except RateLimitedError:
                continue
            passed += 1
        return passed

    async def send_all() -> int:
        settings = RateSettings(principal_per_minute=1_000, tenant_per_minute=700)
        async with shared_counters(url) as counters:
            return sum(await asyncio.gather(*(send(RateLimits(settings, counters)) for _ in range(tasks))))

    return asyncio.run(send_all())
