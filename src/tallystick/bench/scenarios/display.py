"""Shows a person how a scenario goes: how far it is, what is acknowledged, how long it takes, what is refused."""

from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tallystick.bench.report import percentile
from tallystick.bench.scenarios.model import Group, Scenario
from tallystick.bench.scenarios.samples import Samples

_RECENT_SECONDS: Final = 5.0


class Recent:
    """The requests that were answered within the last seconds."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._answered: deque[tuple[float, float, int]] = deque()
        self._refused = 0

    def note(self, samples: Samples) -> None:
        """Note what was measured since the last time."""
        streams = self._scenario.streams
        shown = [sample for sample in samples if streams[sample.stream].group is not Group.FLOOD and sample.answered]
        self._answered += [
            (sample.due + sample.seconds, sample.seconds, streams[sample.stream].events) for sample in shown
        ]
        self._refused += sum(streams[refusal.stream].group is not Group.FLOOD for refusal in samples.refusals)

    def told(self, now: float) -> str:
        """Say how it goes, but for a flood."""
        while self._answered and self._answered[0][0] < now - _RECENT_SECONDS:
            self._answered.popleft()
        span = min(max(now, 1.0), _RECENT_SECONDS)
        rate = sum(events for _, _, events in self._answered) / span
        times = sorted(seconds for _, seconds, _ in self._answered)
        p99 = f"p99 {1000 * percentile(times, 99):,.0f} ms" if times else "no answer"
        return f"{rate:,.0f}/s · {p99} · {self._refused:,} refused"


@contextmanager
def showing(
    scenario: Scenario, *, quiet: bool
) -> Generator[tuple[Callable[[float, Samples], None], Callable[[int], None]]]:
    """Show a bar; gives what is to be told of the run, and then of the events that are read back.

    Args:
        scenario: What runs.
        quiet: Whether nothing is shown.
    """
    recent = Recent(scenario)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[told]}"),
    )
    with Progress(*columns, console=Console(stderr=True), disable=quiet, transient=True) as bar:
        task = bar.add_task(scenario.name, total=scenario.seconds, told="")

        def run(now: float, samples: Samples) -> None:
            recent.note(samples)
            name = scenario.phase_at(now).name if now < scenario.seconds else "waiting for the last answers"
            bar.update(task, description=name, completed=min(now, scenario.seconds), told=recent.told(now))

        def read_back(events: int) -> None:
            bar.update(task, description="reading back", told=f"{events:,} events")

        yield run, read_back
