"""Makes figures of samples: by kind and phase, what should hold of them, and whether the generator was fast enough."""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tallystick.bench.report import Check, Figure, Latency, Report, at_least, percentile, under
from tallystick.bench.scenarios.asking import INCOMPLETE
from tallystick.bench.scenarios.catalogue import Name
from tallystick.bench.scenarios.generating import Outcome
from tallystick.bench.scenarios.model import Group, Phase, Scenario
from tallystick.bench.scenarios.samples import Samples
from tallystick.errors import ConfigurationError

LATE_MS: Final = 50.0
LATE_SHARE: Final = 0.25
"""It was fast enough while its own p99 stayed below one of the two: its lateness is part of each time measured."""

NOISY_TIMES: Final = 2.0
RECOVERY_SECONDS: Final = 10.0
INDEXED_MS: Final = 2_000.0
_TAKEN: Final = 0.99
_BACK_TIMES: Final = 2.0
_BACK_SECONDS: Final = 3


@dataclass(slots=True)
class Row:
    """Requests of one kind in one phase.

    Attributes:
        kind: What its stream is called.
        group: Of the stream.
        phase: Where.
        events: Of one request, where it appends; else 1.
        due: How many fell due.
        times: Response times of those that were answered as they must be; ascending.
        lates: How late the generator came to each; ascending.
        refusals: Answers that let a request wait, or ended it, by status.
    """

    kind: str
    group: Group
    phase: Phase
    events: int
    due: int = 0
    times: list[float] = field(default_factory=list[float])
    lates: list[float] = field(default_factory=list[float])
    refusals: Counter[int] = field(default_factory=Counter[int])

    @property
    def failed(self) -> int:
        """Requests that were never answered as they must be."""
        return self.due - len(self.times)

    @property
    def per_second(self) -> float:
        """Events acknowledged, or requests answered, of those that fell due in a second."""
        return len(self.times) * self.events / self.phase.seconds

    def milliseconds(self, percent: float) -> float:
        """A percentile of the response times; there must be some."""
        return 1000 * percentile(self.times, percent)

    def figure(self) -> Figure:
        """As a row of a report."""
        facts = {"p95_ms": self.milliseconds(95)} if self.times else {}
        if self.failed:
            facts["given_up"] = self.failed
        return Figure(
            f"{self.kind}, {self.phase.name}",
            self.per_second,
            self.phase.seconds,
            len(self.times),
            Latency.of(self.times) if self.times else None,
            {called(status): count for status, count in self.refusals.items()},
            facts=facts,
        )


def called(status: int) -> str:
    """What a status is called, where none came too."""
    return str(status) if status else "no answer"


def rows(scenario: Scenario, samples: Samples) -> list[Row]:
    """Sort requests by kind and by the phase in which they fell due."""
    starts = [begin for begin, _, _ in scenario.bounds]
    made = [
        [Row(stream.kind, stream.group, phase, stream.events) for phase in scenario.phases]
        for stream in scenario.streams
    ]
    for sample in samples:
        row = made[sample.stream][bisect_right(starts, sample.due) - 1]
        row.due += 1
        row.lates.append(sample.late)
        if sample.answered:
            row.times.append(sample.seconds)
    for refusal in samples.refusals:
        made[refusal.stream][bisect_right(starts, refusal.due) - 1].refusals[refusal.status] += 1
    found = [row for of_stream in made for row in of_stream if row.due]
    for row in found:
        row.times.sort()
        row.lates.sort()
    return found


def insist_on_time(measured: Sequence[Row], most_ms: float) -> None:
    """Refuse figures that would be the generator's.

    Args:
        measured: All rows that figures are made of.
        most_ms: How late the generator may be at its p99, however long the answers took.

    Raises:
        ConfigurationError: It was too late to measure what was there.
    """
    for row in measured:
        late = 1000 * percentile(row.lates, 99)
        slow = row.milliseconds(99) if row.times else 0.0
        if late > max(most_ms, LATE_SHARE * slow):
            raise ConfigurationError(
                f"the load generator was the bottleneck: in the phase `{row.phase.name}` 1 % of `{row.kind}` was sent "
                f"{late:,.0f} ms late or more, beside a p99 of {slow:,.0f} ms: the figures would be the generator's. "
                "Give it cores of its own, more --processes or a lower --rate, or take it as it is with --late"
            )


def report(scenario: Scenario, found: Sequence[Row], outcome: Outcome, proof: Sequence[Check]) -> Report:
    """Put figures and checks together.

    Args:
        scenario: As far as it went.
        found: All rows, those of the warm-up too.
        outcome: What was measured.
        proof: What must hold.
    """
    measured = [row for row in found if row.phase.measured and row.group is not Group.PROBES]
    figures = [row.figure() for row in measured]
    checks = [*proof, *_answers(outcome.samples), *_taken(scenario, measured)]
    ratios: dict[str, float] = {}
    for figure, check in _freshness(scenario, outcome.samples):
        figures.append(figure)
        checks.append(check)
    if scenario.name == Name.NOISY:
        ratios = _neighbours(measured)
        checks += [under(f"{name}, times", value, NOISY_TIMES) for name, value in ratios.items()]
    if scenario.name == Name.BURST and len(scenario.phases) > 3:
        checks.append(_recovery(scenario, outcome.samples))
    figures.append(_generator(scenario, found, outcome))
    return Report(f"scenario {scenario.name}", tuple(figures), tuple(checks), ratios)


def _answers(samples: Samples) -> list[Check]:
    """What the bodies of successful answers said, and what a search found of what had been acknowledged before it."""
    wrong = {found: count for found, count in samples.flaws.items() if found[1] != INCOMPLETE}
    incomplete = sum(count for (_, what), count in samples.flaws.items() if what == INCOMPLETE)
    missed = sum(each.missed for each in samples.freshness)
    told = ", ".join(f"{count:,} of {kind}: {what}" for (kind, what), count in wrong.items())
    return [
        Check("every answer is what it must be", not wrong, told or "none was not"),
        # Each scenario looks for some; where it could not, nothing was proven.
        Check(
            "an event is found by the next search",
            bool(samples.freshness) and not missed,
            f"{missed:,} of {len(samples.freshness):,} missed",
        ),
        Check("searches are complete", not incomplete, f"{incomplete:,} were not", target=True),
    ]


def _taken(scenario: Scenario, measured: Sequence[Row]) -> list[Check]:
    """How much of what was asked for was taken, of all but a flood."""
    checks: list[Check] = []
    for group in (Group.APPENDS, Group.READS):
        of_group = [row for row in measured if row.group is group]
        if of_group:
            asked = sum(row.due for row in of_group)
            answered = sum(len(row.times) for row in of_group)
            checks.append(at_least(f"{group.lower()}: % of requests answered", 100 * answered / asked, 100 * _TAKEN))
    refused = sum(row.refusals.total() for row in measured if row.group is not Group.FLOOD)
    if scenario.name != Name.BURST:
        checks.append(Check("nothing is refused, but for a flood", not refused, f"{refused:,} refused", target=True))
    return checks


def _freshness(scenario: Scenario, samples: Samples) -> Iterable[tuple[Figure, Check]]:
    found = [each.found for each in samples.freshness if each.found is not None]
    indexed = [each.indexed for each in samples.freshness if each.indexed is not None]
    for name, times in (("an event is found after", found), ("an event is in the index after", indexed)):
        if times:
            latency = Latency.of(times)
            figure = Figure(name, 0, scenario.seconds, len(times), latency)
            yield figure, under(f"{name}, p99 ms", latency.p99, INDEXED_MS)


def _neighbours(measured: Sequence[Row]) -> dict[str, float]:
    """The p99 of the others beside the flood and after it, to what it was alone."""
    alone, *later = [row for row in measured if row.group is Group.APPENDS]
    return {
        f"p99 of the others {row.phase.name} to alone": row.milliseconds(99) / alone.milliseconds(99)
        for row in later
        if row.times and alone.times
    }


def _recovery(scenario: Scenario, samples: Samples) -> Check:
    found = recovery(scenario, samples)
    name = "seconds after the burst until the p99 is at most twice that before"
    if found is None:
        return Check(f"{name} under {RECOVERY_SECONDS:g}", passed=False, detail="it did not come back", target=True)
    return under(name, found, RECOVERY_SECONDS)


def recovery(scenario: Scenario, samples: Samples) -> float | None:
    """Seconds from the end of a burst until, for three seconds, the p99 of appends is at most twice that before it.

    None where it did not come back.
    """
    (before, burst), last = scenario.bounds[1:3], scenario.bounds[-1]
    calm: list[float] = []
    later: dict[int, list[float]] = defaultdict(list)
    for sample in samples:
        if scenario.streams[sample.stream].group is not Group.APPENDS:
            continue
        seconds = sample.seconds if sample.answered else float("inf")
        if before[0] <= sample.due < before[1]:
            calm.append(seconds)
        elif sample.due >= burst[1]:
            later[int(sample.due - burst[1])].append(seconds)
    if not calm:
        return None
    limit = _BACK_TIMES * percentile(sorted(calm), 99)
    well = [
        not later[second] or percentile(sorted(later[second]), 99) <= limit for second in range(int(last[1] - burst[1]))
    ]
    for second in range(len(well) - _BACK_SECONDS + 1):
        if all(well[second : second + _BACK_SECONDS]):
            return float(second)
    return None


def _generator(scenario: Scenario, found: Sequence[Row], outcome: Outcome) -> Figure:
    lates = [late for row in found for late in row.lates]
    cpu: Mapping[str, float] = {f"process {number}": end.cpu for number, end in enumerate(outcome.ends, 1)}
    return Figure(
        "lateness of the generator itself", 0, scenario.seconds, len(lates), Latency.of(lates or [0.0]), cpu=cpu
    )
