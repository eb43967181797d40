"""Plots as SVG that needs nothing but the page's style sheet: scales, marks, and a frame around them."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Final

WIDTH: Final = 520
HEIGHT: Final = 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 32, 24, 26
_STEPS: Final = (1, 2, 2.5, 5, 10)
_FINE: Final = (1, 2, 5)

Point = tuple[float, float]
Format = Callable[[float], str]


@dataclass(frozen=True, slots=True)
class Scale:
    """From values to places on paper.

    Attributes:
        low: The least value.
        high: The largest.
        begin: Where the least lies.
        end: Where the largest lies.
        ticks: Values with a line and a label.
        told: How a value is written.
        log: Whether equal distances are equal factors.
    """

    low: float
    high: float
    begin: float
    end: float
    ticks: Sequence[float]
    told: Format
    log: bool = False

    def __call__(self, value: float) -> float:
        """The place of a value; those beyond the ends lie at the ends."""
        held = min(max(value, self.low), self.high)
        if self.log:
            part = math.log(held / self.low) / math.log(self.high / self.low)
        else:
            part = (held - self.low) / (self.high - self.low)
        return self.begin + part * (self.end - self.begin)


def count_told(value: float) -> str:
    """A count or a rate."""
    return f"{value:,.10g}"


def seconds_told(value: float) -> str:
    """A stretch of time on an axis, in seconds or minutes."""
    return f"{value / 60:g} min" if value >= 60 and value % 60 == 0 else f"{value:g} s"


def milliseconds_told(value: float) -> str:
    """A response time, given in milliseconds."""
    return f"{value / 1000:.3g} s" if value >= 1000 else f"{value:.3g} ms"


def upward(highest: float, told: Format) -> Scale:
    """A scale of values from zero up."""
    step = _step(max(highest, 1e-9) / 4)
    top = step * math.ceil(max(highest, 1e-9) / step)
    ticks = [step * number for number in range(round(top / step) + 1)]
    return Scale(0, top, HEIGHT - _BOTTOM, _TOP, ticks, told)


def upward_log(values: Iterable[float], told: Format) -> Scale:
    """A scale of values over several powers of ten."""
    low, high, ticks = _decades(values)
    return Scale(low, high, HEIGHT - _BOTTOM, _TOP, ticks, told, log=True)


def along(seconds: float) -> Scale:
    """A scale of time from the beginning on."""
    steps = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)
    step = next((step for step in steps if seconds / step <= 8), math.ceil(seconds / 8))
    ticks = [step * number for number in range(int(seconds / step) + 1)]
    return Scale(0, seconds, _LEFT, WIDTH - _RIGHT, ticks, seconds_told)


def along_log(values: Iterable[float], told: Format, begin: float, end: float) -> Scale:
    """A scale across, of values over several powers of ten."""
    low, high, ticks = _decades(values)
    return Scale(low, high, begin, end, ticks, told, log=True)


def _step(rough: float) -> float:
    power = 10 ** math.floor(math.log10(rough))
    return next(step * power for step in _STEPS if step * power >= rough * 0.999)


def _decades(values: Iterable[float]) -> tuple[float, float, list[float]]:
    """The least and the largest, widened to round numbers, and round numbers between them."""
    positive = [value for value in values if value > 0] or [1.0]
    fine = [step * 10.0**power for power in range(-4, 8) for step in _FINE]
    low = max(value for value in fine if value <= max(min(positive), fine[0]))
    high = next((value for value in fine if value >= max(positive) and value > low), fine[-1])
    ticks = [value for value in fine if low <= value <= high]
    if len(ticks) > 7:
        ticks = [value for value in ticks if math.isclose(math.log10(value), round(math.log10(value)))]
    return low, high, ticks


@dataclass(slots=True)
class Plot:
    """Marks over time, in a frame.

    Attributes:
        label: What it shows, for those who do not see it.
        across: The scale of time.
        up: The other.
        phases: When each began and ended, and what it is called.
    """

    label: str
    across: Scale
    up: Scale
    phases: Sequence[tuple[float, float, str]]
    _marks: list[str] = field(default_factory=list[str])
    _ends: list[tuple[float, str, str]] = field(default_factory=list[tuple[float, str, str]])

    def line(self, pieces: Iterable[Sequence[Point]], name: str, end_label: str = "") -> None:
        """Draw a line in pieces, as there may be nothing between them, and label its end."""
        last: Point | None = None
        for piece in pieces:
            self._marks.append(f'<polyline class="line {name}" points="{self._points(piece)}"/>')
            last = piece[-1]
        if last is not None and end_label:
            self._ends.append((self.up(last[1]), end_label, name))

    def area(self, points: Sequence[Point], name: str) -> None:
        """Fill what lies below a line."""
        floor = [(points[-1][0], self.up.low), (points[0][0], self.up.low)]
        self._marks.append(f'<polygon class="area {name}" points="{self._points([*points, *floor])}"/>')

    def bars(self, stacks: Iterable[tuple[float, float, float]], width: float, name: str) -> None:
        """Draw bars around moments, each from a value to a value."""
        half = max((self.across(width) - self.across(0)) / 2 - 0.5, 0.5)
        for moment, low, high in stacks:
            top, bottom, middle = self.up(high), self.up(low), self.across(moment)
            self._marks.append(
                f'<rect class="bar {name}" x="{middle - half:.1f}" y="{top:.1f}" width="{2 * half:.1f}" '
                f'height="{max(bottom - top, 0):.1f}"/>'
            )

    def dots(self, points: Iterable[Point], name: str) -> None:
        """Draw dots."""
        self._marks += [
            f'<circle class="dot {name}" cx="{self.across(x):.1f}" cy="{self.up(y):.1f}" r="2.6"/>' for x, y in points
        ]

    def hints(self, told: Iterable[tuple[float, str]], width: float) -> None:
        """Say in words what lies at a moment, when one points there."""
        half = (self.across(width) - self.across(0)) / 2
        for moment, words in told:
            self._marks.append(
                f'<rect class="hint" x="{self.across(moment) - half:.1f}" y="{_TOP}" width="{2 * half:.1f}" '
                f'height="{HEIGHT - _TOP - _BOTTOM}"><title>{escape(words)}</title></rect>'
            )

    def svg(self) -> str:
        """The whole picture."""
        return (
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(self.label)}">'
            f"{self._shades()}{self._grid()}{''.join(self._marks)}{self._end_labels()}</svg>"
        )

    def _points(self, points: Iterable[Point]) -> str:
        return " ".join(f"{self.across(x):.1f},{self.up(y):.1f}" for x, y in points)

    def _shades(self) -> str:
        drawn: list[str] = []
        for number, (begin, end, name) in enumerate(self.phases):
            left, right = self.across(begin), self.across(end)
            drawn.append(
                f'<rect class="phase {"plain" if number % 2 else "shaded"}" x="{left:.1f}" y="{_TOP}" '
                f'width="{right - left:.1f}" height="{HEIGHT - _TOP - _BOTTOM}"/>'
            )
            if right - left > 6.5 * len(name):
                drawn.append(
                    f'<text class="phase-name" x="{(left + right) / 2:.1f}" y="{_TOP - 8}">{escape(name)}</text>'
                )
        return "".join(drawn)

    def _grid(self) -> str:
        left, right, floor = _LEFT, WIDTH - _RIGHT, HEIGHT - _BOTTOM
        lines = [
            f'<line class="grid" x1="{left}" x2="{right}" y1="{self.up(value):.1f}" y2="{self.up(value):.1f}"/>'
            f'<text class="tick up" x="{left - 7}" y="{self.up(value) + 3.5:.1f}">{self.up.told(value)}</text>'
            for value in self.up.ticks
        ]
        moments = [
            f'<text class="tick along" x="{self.across(value):.1f}" y="{floor + 17}">{self.across.told(value)}</text>'
            for value in self.across.ticks
        ]
        return "".join([*lines, *moments, f'<line class="axis" x1="{left}" x2="{right}" y1="{floor}" y2="{floor}"/>'])

    def _end_labels(self) -> str:
        """Labels of lines at their ends, moved apart where they would lie upon each other."""
        drawn: list[str] = []
        ceiling = -math.inf
        for place, label, name in sorted(self._ends):
            ceiling = max(place + 3.5, ceiling + 12)
            drawn.append(f'<text class="end {name}" x="{WIDTH - _RIGHT + 5}" y="{ceiling:.1f}">{escape(label)}</text>')
        return "".join(drawn)


_ROW: Final = 40
_LETTER: Final = 6.2
_LONGEST_NAME: Final = 240
_BINS: Final = 90


@dataclass(frozen=True, slots=True)
class Ridge:
    """One row.

    Attributes:
        name: Of what.
        times: Response times in milliseconds, ascending.
        marked: Those that are marked and told.
    """

    name: str
    times: Sequence[float]
    marked: Sequence[float]


def ridges(label: str, kinds: Sequence[Ridge]) -> str:
    """How response times are distributed: a row for each kind, on one logarithmic scale.

    Args:
        label: What it shows, for those who do not see it.
        kinds: The rows.
    """
    ends = [kind.times[at] for kind in kinds for at in (0, -1)]
    names = min(_LETTER * max(len(kind.name) for kind in kinds) + 12, _LONGEST_NAME)
    across = along_log(ends, milliseconds_told, names, WIDTH - 16)
    height = _ROW * len(kinds) + 40
    drawn = [
        f'<line class="grid" x1="{across(value):.1f}" x2="{across(value):.1f}" y1="10" y2="{height - 26}"/>'
        f'<text class="tick along" x="{across(value):.1f}" y="{height - 10}">{across.told(value)}</text>'
        for value in across.ticks
    ]
    for number, kind in enumerate(kinds):
        floor = _ROW * (number + 1) + 8
        drawn.append(f'<text class="kind" x="0" y="{floor - 6}">{escape(kind.name)}</text>')
        drawn.append(f'<polygon class="ridge" points="{_outline(kind.times, across, floor)}"/>')
        drawn += [
            f'<line class="mark" x1="{across(value):.1f}" x2="{across(value):.1f}" y1="{floor - 10}" y2="{floor}"/>'
            for value in kind.marked
        ]
        told = " · ".join(milliseconds_told(value) for value in kind.marked)
        drawn.append(
            f'<rect class="hint" x="0" y="{floor - _ROW + 6}" width="{WIDTH}" height="{_ROW}">'
            f"<title>{escape(kind.name)}: {told}</title></rect>"
        )
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(label)}">{"".join(drawn)}</svg>'


def _outline(times: Sequence[float], across: Scale, floor: float) -> str:
    """A histogram's outline over equal distances of a logarithmic scale."""
    width = (across.end - across.begin) / _BINS
    counts = [0] * _BINS
    for value in times:
        counts[min(int((across(value) - across.begin) / width), _BINS - 1)] += 1
    most = max(counts)
    points = [(across.begin + (place + 0.5) * width, floor - 31 * count / most) for place, count in enumerate(counts)]
    closed = [(across.begin, floor), *points, (across.end, floor)]
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in closed)
