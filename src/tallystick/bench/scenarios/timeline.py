"""How a run went over time: what was acknowledged, how long it took and what was refused, in equal stretches."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from tallystick.bench.report import percentile
from tallystick.bench.scenarios.model import Group, Scenario
from tallystick.bench.scenarios.samples import Samples

PERCENTILES: Final = (50, 95, 99)

_WIDTHS: Final = (0.25, 0.5, 1, 2, 5, 10, 15, 30, 60)
_MOST: Final = 100


@dataclass(slots=True)
class Course:
    """How the requests of a group went, stretch by stretch.

    Attributes:
        acknowledged: Events (requests, where they read) a second, by when they were answered.
        milliseconds: Percentiles by `PERCENTILES` of those that fell due; None where none was answered.
        refusals: How many, by status, by when they came.
    """

    acknowledged: list[float]
    milliseconds: list[tuple[float, ...] | None]
    refusals: dict[int, list[int]] = field(default_factory=dict[int, list[int]])


@dataclass(slots=True)
class Timeline:
    """How a run went.

    Attributes:
        width: Of a stretch, in seconds.
        courses: By group.
    """

    width: float
    courses: dict[Group, Course]

    @property
    def count(self) -> int:
        """How many stretches there are."""
        return max((len(course.acknowledged) for course in self.courses.values()), default=0)

    def moment(self, number: int) -> float:
        """The middle of a stretch, in seconds from the beginning."""
        return (number + 0.5) * self.width


def timeline(scenario: Scenario, samples: Samples) -> Timeline:
    """Sort samples into stretches: a hundred of them or fewer, whatever the run took."""
    last = max([scenario.seconds, *(sample.due + sample.seconds for sample in samples)])
    width = next((width for width in _WIDTHS if last / width <= _MOST), math.ceil(last / _MOST))
    count = math.ceil(last / width) or 1
    answered: dict[Group, Counter[int]] = defaultdict(Counter)
    times: dict[Group, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for sample in samples:
        if sample.answered:
            stream = scenario.streams[sample.stream]
            answered[stream.group][_stretch(sample.due + sample.seconds, width, count)] += stream.events
            times[stream.group][_stretch(sample.due, width, count)].append(sample.seconds)
    refused: dict[Group, dict[int, Counter[int]]] = defaultdict(lambda: defaultdict(Counter))
    for refusal in samples.refusals:
        group = scenario.streams[refusal.stream].group
        refused[group][refusal.status][_stretch(refusal.moment, width, count)] += 1
    return Timeline(
        width,
        {
            group: Course(
                [answered[group][number] / width for number in range(count)],
                [_percentiles(times[group].get(number, ())) for number in range(count)],
                {
                    status: [counts[number] for number in range(count)]
                    for status, counts in sorted(refused[group].items())
                },
            )
            for group in Group
            if any(stream.group is group for stream in scenario.streams)
        },
    )


def _stretch(moment: float, width: float, count: int) -> int:
    return min(max(int(moment / width), 0), count - 1)


def _percentiles(times: Sequence[float]) -> tuple[float, ...] | None:
    ordered = sorted(times)
    return tuple(1000 * percentile(ordered, each) for each in PERCENTILES) if ordered else None
