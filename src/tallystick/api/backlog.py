"""What of the worker's work is left: read from the database now and then, for `/metrics` and `/readyz`."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import asyncpg
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tallystick.database.pools import Database
from tallystick.errors import UnavailableError
from tallystick.export.model import ExportSums
from tallystick.export.queries import sum_up
from tallystick.followers.queries import Standing, find_standings
from tallystick.jobs.model import JobState
from tallystick.jobs.queries import count_jobs

REMEMBERED: Final = 5.0
"""Seconds for which a look is given again; a costly one for twenty times as long as it took."""

_TIMEOUT: Final = 2.0
_REST: Final = 20


_GAUGES: Final[tuple[tuple[str, str, Callable[[Standing], float]], ...]] = (
    ("tallystick_follower_lag_events", "Events that a follower has not handled.", lambda each: each.events),
    ("tallystick_follower_lag_seconds", "Age of the oldest of these events.", lambda each: each.seconds),
    ("tallystick_follower_logs_behind", "Logs that these events are in.", lambda each: each.logs),
    ("tallystick_follower_quarantined_events", "Events that it could not handle.", lambda each: each.quarantined),
)


@dataclass(frozen=True, slots=True, eq=False)  # a registry of metrics knows its collectors by identity
class Seen(Collector):
    """What a look found.

    Attributes:
        standings: How far each follower is.
        jobs: How many there are, by state.
        exports: Those in the object store.
    """

    standings: Sequence[Standing]
    jobs: Mapping[JobState, int]
    exports: ExportSums

    def collect(self) -> Iterator[Metric]:
        """As metrics. They are the database's, so each process says the same and none is added to another's."""
        for name, meaning, value in _GAUGES:
            gauge = GaugeMetricFamily(name, meaning, labels=["follower"])
            for standing in self.standings:
                gauge.add_metric([standing.follower], value(standing))
            yield gauge
        gauge = GaugeMetricFamily("tallystick_jobs", "Jobs by state.", labels=["state"])
        for state, jobs in self.jobs.items():
            gauge.add_metric([state], jobs)
        yield gauge
        yield from self._of_exports()

    def _of_exports(self) -> Iterator[Metric]:
        gauge = GaugeMetricFamily(
            "tallystick_exports", "Exports for the object store that wait, run or are kept.", labels=["state"]
        )
        for state, exports in self.exports.states.items():
            gauge.add_metric([state], exports)
        yield gauge
        yield GaugeMetricFamily(
            "tallystick_exports_kept_bytes", "Size of the exports that are kept.", self.exports.kept_bytes
        )
        for name, meaning, value in (
            ("tallystick_exports_written", "Exports that were written.", self.exports.written),
            ("tallystick_exports_written_bytes", "Their size.", self.exports.written_bytes),
            ("tallystick_exports_removed", "Exports that were removed, most since they expired.", self.exports.removed),
        ):
            yield CounterMetricFamily(name, meaning, value)


class Backlog:
    """Looks at cursors and jobs, at most every few seconds however often it is asked.

    Args:
        database: Used as the control role.
        followers: Names of those that are looked at.
        clock: In seconds.
    """

    def __init__(
        self, database: Database, followers: Sequence[str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._database = database
        self._followers = followers
        self._clock = clock
        self._looking = asyncio.Lock()
        self._seen: Seen | None = None
        self._next = float("-inf")

    async def look(self) -> Seen | None:
        """What is left; None while the database does not answer."""
        async with self._looking:
            began = self._clock()
            if began >= self._next:
                self._seen = await self._read()
                ended = self._clock()
                self._next = ended + max(REMEMBERED, _REST * (ended - began))
        return self._seen

    async def _read(self) -> Seen | None:
        try:
            async with asyncio.timeout(_TIMEOUT), self._database.control_session() as connection:
                standings = await find_standings(connection, self._followers)
                return Seen(standings, await count_jobs(connection), await sum_up(connection))
        except (UnavailableError, TimeoutError, asyncpg.PostgresError):  # the last: an older schema, as `/readyz` says
            return None
