"""What was measured, and how it is shown: latencies, rates, ratios, the machine, one JSON document."""

import importlib.metadata
import math
import os
import platform
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

Say = Callable[[str], None]
"""Tells a person what is being done."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Response times in milliseconds, from the moment a request was due or sent until its whole answer was read."""

    p50: float
    p99: float
    max: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> "Latency":
        """Summarise single response times.

        Raises:
            ValueError: There are none.
        """
        if not seconds:
            raise ValueError("no response was measured")
        ordered = sorted(seconds)
        return cls(
            p50=1000 * percentile(ordered, 50),
            p99=1000 * percentile(ordered, 99),
            max=1000 * ordered[-1],
        )


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile of values in ascending order: a value that was really measured."""
    rank = math.ceil(len(ordered) * percent / 100)
    return ordered[max(rank, 1) - 1]


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of a report.

    Attributes:
        name: What was measured.
        events_per_second: Events acknowledged (or copied, or requests answered when it reads) a second.
        seconds: How long it ran.
        requests: Requests answered with success.
        latency: None where single requests have no meaning.
        statuses: Answers by status, where they were counted one by one.
        cpu: CPU seconds used per second of the run, by process group: 1.0 is a whole core.
        runs: Events per second of every repetition, when there were several; ``events_per_second`` is their median.
        facts: Anything else, by name.
    """

    name: str
    events_per_second: float
    seconds: float
    requests: int = 0
    latency: Latency | None = None
    statuses: Mapping[str, int] = field(default_factory=dict[str, int])
    cpu: Mapping[str, float] = field(default_factory=dict[str, float])
    runs: tuple[float, ...] = ()
    facts: Mapping[str, float | int | str | bool] = field(default_factory=dict[str, float | int | str | bool])


def median_of(figures: Sequence[Figure]) -> Figure:
    """Join repetitions of one measurement: the median rate, the median of each percentile, the largest maximum.

    Raises:
        ValueError: There are none, or they are of different names.
    """
    if len({figure.name for figure in figures}) != 1:
        raise ValueError("repetitions of one measurement are needed")
    latencies = [figure.latency for figure in figures if figure.latency is not None]
    statuses: dict[str, int] = {}
    for figure in figures:
        for status, count in figure.statuses.items():
            statuses[status] = statuses.get(status, 0) + count
    rates = tuple(figure.events_per_second for figure in figures)
    groups = {group for figure in figures for group in figure.cpu}
    return Figure(
        name=figures[0].name,
        events_per_second=statistics.median(rates),
        seconds=sum(figure.seconds for figure in figures),
        requests=sum(figure.requests for figure in figures),
        latency=Latency(
            p50=statistics.median(latency.p50 for latency in latencies),
            p99=statistics.median(latency.p99 for latency in latencies),
            max=max(latency.max for latency in latencies),
        )
        if latencies
        else None,
        statuses=statuses,
        cpu={group: statistics.median(figure.cpu.get(group, 0.0) for figure in figures) for group in sorted(groups)},
        runs=rates if len(rates) > 1 else (),
        facts=figures[-1].facts,
    )


def ratio(of: Figure, to: Figure) -> float:
    """How many times the rate of ``to`` the rate of ``of`` is; run by run where both alternated, then the median."""
    if len(of.runs) == len(to.runs) > 1:
        return statistics.median(a / b for a, b in zip(of.runs, to.runs, strict=True))
    return of.events_per_second / to.events_per_second


@dataclass(frozen=True, slots=True)
class Check:
    """Something that must hold, or that should.

    Attributes:
        name: What.
        passed: Whether it does.
        detail: The numbers that say so.
        target: A figure to be reached on a machine of the reference's kind; without this, figures do not count at all.
    """

    name: str
    passed: bool
    detail: str
    target: bool = False


def at_least(name: str, value: float, wanted: float) -> Check:
    """A target from below."""
    return Check(f"{name} at least {wanted:,g}", value >= wanted, f"{value:,.1f}", target=True)


def under(name: str, value: float, limit: float) -> Check:
    """A target from above."""
    return Check(f"{name} under {limit:,g}", value < limit, f"{value:,.1f}", target=True)


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that one command measured."""

    command: str
    figures: tuple[Figure, ...]
    checks: tuple[Check, ...] = ()
    ratios: Mapping[str, float] = field(default_factory=dict[str, float])

    @property
    def passed(self) -> bool:
        """Whether the figures count: every check holds that is not only a target."""
        return all(check.passed for check in self.checks if not check.target)


def joined(command: str, reports: Sequence[Report]) -> Report:
    """Put the reports of several commands into one."""
    return Report(
        command=command,
        figures=tuple(figure for report in reports for figure in report.figures),
        checks=tuple(check for report in reports for check in report.checks),
        ratios={name: value for report in reports for name, value in report.ratios.items()},
    )


def machine() -> dict[str, str | int | float]:
    """Describe where the figures were measured."""
    memory = psutil.virtual_memory().total
    return {
        "processor": _processor(),
        "cores": os.cpu_count() or 1,
        "memory_gib": round(memory / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_version()} ({platform.python_compiler()})",
        **{
            name: importlib.metadata.version(name)
            for name in ("tallystick", "fastapi", "pydantic", "uvicorn", "uvloop", "asyncpg")
        },
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as lines:  # noqa: PTH123 - a device of the kernel
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def as_json(report: Report, versions: Mapping[str, str]) -> dict[str, Any]:
    """Make the whole report one JSON document, with what is needed to judge and to repeat it."""
    return {
        "command": report.command,
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {**machine(), **versions},
        "figures": [asdict(figure) for figure in report.figures],
        "ratios": dict(report.ratios),
        "checks": [asdict(check) for check in report.checks],
        "passed": report.passed,
    }


def show(report: Report, versions: Mapping[str, str], console: Console) -> None:
    """Print the report as tables for a person."""
    facts = {**machine(), **versions}
    console.print(" · ".join(f"{name} {value}" for name, value in facts.items()), style="dim")
    table = Table("", "per second", "p50 ms", "p99 ms", "max ms", "CPU (cores)", "", title=report.command)
    for column in table.columns[1:5]:
        column.justify = "right"
    for figure in report.figures:
        latency = figure.latency
        table.add_row(
            figure.name,
            f"{figure.events_per_second:,.0f}" if figure.events_per_second else "",
            *(
                (f"{latency.p50:.1f}", f"{latency.p99:.1f}", f"{latency.max:.0f}")
                if latency is not None
                else ("", "", "")
            ),
            " ".join(f"{group} {share:.2f}" for group, share in figure.cpu.items()),
            " ".join(
                [
                    *(f"{name}={_number(value)}" for name, value in figure.facts.items()),
                    *(f"{status}: {count:,}" for status, count in sorted(figure.statuses.items())),
                ]
            ),
        )
    console.print(table)
    for name, value in report.ratios.items():
        console.print(f"{name}: [bold]{value:.2f}[/bold] times")
    for check in report.checks:
        mark = "[green]holds [/green]" if check.passed else "[red bold]misses[/red bold]"
        console.print(f"{mark}  {check.name}: {check.detail}")


def _number(value: float | str) -> str:
    return f"{value:,.1f}" if isinstance(value, float) else str(value)
