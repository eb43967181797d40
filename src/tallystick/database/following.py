"""A snapshot of a table in memory, looked at again and again until its process ends."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

_log = structlog.get_logger(__name__)


async def follow(refresh: Callable[[], Awaitable[None]], *, what: str, every: float) -> None:
    """Refresh a snapshot until cancelled.

    A failure is logged once, and its end once: meanwhile the snapshot grows stale, which whoever reads it notices.

    Args:
        refresh: Takes in what changed.
        what: Its name in log lines.
        every: Seconds between two looks.
    """
    failing = False
    while True:
        try:
            await refresh()
            if failing:
                _log.info(f"{what}_followed_again")  # structlog's event is a name, not a format
            failing = False
        except Exception as error:  # noqa: BLE001  # whatever it is, the snapshot grows stale and says so
            if not failing:
                _log.warning(f"{what}_not_read", error=type(error).__name__)
            failing = True
        await asyncio.sleep(every)
