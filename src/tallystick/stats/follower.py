"""Keeps the rollups: each event is counted in the transaction that moves the cursor past it."""

import asyncio
from typing import Final

from tallystick.database.pools import Connection
from tallystick.followers.model import Recording, Stretch
from tallystick.stats.rolling import SPAN_US, Increments
from tallystick.stats.rollup_queries import add, close_spans, forget

NAME: Final = "rollups"
"""Its name in cursors, in commands and in the view `log_rolled_up`."""

_SLICE: Final = 1_000

_SETTLED_US: Final = 3_600_000_000
"""A span is closed when an hour has passed since. What arrives later costs more."""

_SPANS_AT_ONCE: Final = 4


class RollupFollower:
    """A `Recorder` of how many events there are."""

    @property
    def name(self) -> str:
        """See `Recorder`."""
        return NAME

    async def prepare(self, log_id: int, stretch: Stretch) -> Recording:
        """See `Recorder`. From the start of a log everything is counted anew."""
        increments = Increments()
        for begin in range(0, len(stretch.events), _SLICE):
            increments.add(stretch.events[begin : begin + _SLICE])
            await asyncio.sleep(0)

        async def write(connection: Connection) -> None:
            if stretch.after < 0:
                await forget(connection, log_id)
            if stretch.events:
                await add(connection, log_id, stretch.through, increments)

        return write

    async def tidy(self, connection: Connection, log_id: int, stretch: Stretch) -> None:
        """See `Recorder`. Spans that are over are closed."""
        if stretch.received_us is None:
            return
        before = (stretch.received_us - _SETTLED_US) // SPAN_US
        # Spans to which this stretch added are likely to get more, as while a history is imported.
        besides = {event.occurred_us // SPAN_US for event in stretch.events}
        await close_spans(connection, log_id, before, besides, _SPANS_AT_ONCE)
