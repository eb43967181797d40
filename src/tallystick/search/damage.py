"""A damaged index, met by whoever asks it: it is reported, and the question is answered later."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

from tallystick.errors import SearchDownError
from tallystick.ports import CorruptIndexError

ReportDamage: TypeAlias = Callable[[int], Awaitable[None]]
"""Sees to it that the damaged index of a log is made anew."""


@asynccontextmanager
async def damage_reported(report: ReportDamage, log_id: int) -> AsyncGenerator[None]:
    """Ask an index within the block.

    Raises:
        SearchDownError: It is damaged, and was reported.
    """
    try:
        yield
    except CorruptIndexError as error:
        await report(log_id)
        raise SearchDownError("the search index is damaged and is being made anew", retry_after=5) from error
