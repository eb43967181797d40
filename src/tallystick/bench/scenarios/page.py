"""The report page: one HTML file that fetches nothing, with plots, figures, and what they were measured on."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from itertools import groupby
from typing import Final

from tallystick.bench.report import Check, Figure, Report, machine, percentile
from tallystick.bench.scenarios.charts import (
    Plot,
    Point,
    Ridge,
    Scale,
    along,
    count_told,
    milliseconds_told,
    ridges,
    upward,
    upward_log,
)
from tallystick.bench.scenarios.figures import Row, called
from tallystick.bench.scenarios.model import Group, Scenario
from tallystick.bench.scenarios.samples import Samples
from tallystick.bench.scenarios.timeline import PERCENTILES, Course, Timeline

_UNITS: Final = {Group.APPENDS: "events/s", Group.READS: "requests/s", Group.FLOOD: "events/s"}
_SHOWN: Final = (Group.APPENDS, Group.READS, Group.FLOOD)
_FEW: Final = 4
"""The least that an axis of counts goes up to, so that its labels are whole numbers."""

_MACHINE: Final = ("processor", "cores", "memory_gib", "system", "python", "uvloop")
_STATUSES: Final = {429: "s429", 503: "s503", 0: "s0"}


@dataclass(frozen=True, slots=True)
class Measured:
    """All that the page shows.

    Attributes:
        scenario: As far as it went.
        report: Its figures and checks.
        rows: What they were made of.
        timeline: How it went.
        samples: All of them.
        facts: What was measured, when and how, by name.
        command: That measures it again.
    """

    scenario: Scenario
    report: Report
    rows: Sequence[Row]
    timeline: Timeline
    samples: Samples
    facts: Mapping[str, str]
    command: str


def page(measured: Measured) -> str:
    """Write the page."""
    style = files("tallystick.bench.scenarios").joinpath("page.css").read_text(encoding="utf-8")
    title = f"Load scenario: {measured.scenario.name}"
    parts = [
        _head(measured, title),
        *(_group(measured, group, course) for group, course in measured.timeline.courses.items() if group in _SHOWN),
        _beside(measured),
        _checks(measured.report.checks),
        _figures(measured.report.figures),
        _facts(measured),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{escape(title)}</title><style>{style}</style></head><body><main>{''.join(parts)}</main></body></html>\n"
    )


def _head(measured: Measured, title: str) -> str:
    passed = measured.report.passed
    proof = next(check for check in measured.report.checks if not check.target)
    verdict = "Nothing lost, nothing doubled" if passed else "The proof fails"
    told = f'<p class="verdict {"good" if passed else "bad"}">{"✓" if passed else "✗"} {verdict}</p>'
    lead = f'<p class="lead">{escape(str(measured.facts["url"]))} · {escape(str(measured.facts["began"]))}</p>'
    return f"<h1>{escape(title)}</h1>{lead}{told}<p>{escape(proof.detail)}.</p>{_tiles(measured)}"


def _tiles(measured: Measured) -> str:
    rows = [row for row in measured.rows if row.phase.measured]
    stored = sum(len(row.times) * row.events for row in rows if row.group is Group.APPENDS)
    tiles = [(f"{stored:,}", "events acknowledged")]
    phases = [phase for phase in measured.scenario.phases if phase.measured]
    for group in (Group.APPENDS, Group.READS):
        for phase in phases:
            times = sorted(time for row in rows if row.group is group and row.phase is phase for time in row.times)
            where = f"{group.lower()} {phase.name}" if len(phases) > 1 else group.lower()
            percents = (99,) if len(phases) > 1 else (50, 99)
            tiles += [
                (milliseconds_told(1000 * percentile(times, percent)), f"p{percent} of {where}")
                for percent in percents
                if times
            ]
    refused = sum(row.refusals.total() for row in rows if row.group is not Group.FLOOD)
    tiles.append((f"{refused:,}", "refusals"))
    tiles += [(f"{value:.2f}&thinsp;&times;", name) for name, value in measured.report.ratios.items()]
    shown = (f'<div class="tile"><strong>{value}</strong><span>{escape(name)}</span></div>' for value, name in tiles)
    return f'<div class="tiles">{"".join(shown)}</div>'


def _group(measured: Measured, group: Group, course: Course) -> str:
    drawn = _rates(measured, group, course) + _latencies(measured, group, course)
    return f'<h2>{group.value}</h2><div class="plots">{drawn}</div>'


def _rates(measured: Measured, group: Group, course: Course) -> str:
    scenario, timeline = measured.scenario, measured.timeline
    asked: list[Point] = []
    for begin, end, phase in scenario.bounds:
        rate = scenario.rate(phase, group)
        asked += [(begin, rate), (end, rate)]
    taken = [(timeline.moment(number), rate) for number, rate in enumerate(course.acknowledged)]
    highest = max(rate for _, rate in [*asked, *taken])
    plot = _plot(measured, f"{group.value}: asked for and acknowledged", upward(highest, count_told))
    plot.area(taken, "taken")
    plot.line([taken], "taken")
    plot.line([asked], "asked")
    plot.hints(((moment, f"{_at(moment)}: {rate:,.0f} {_UNITS[group]}") for moment, rate in taken), timeline.width)
    legend = (("asked", "asked for", "dashed"), ("taken", "acknowledged", ""))
    return _framed(f"Rate, {_UNITS[group]}", legend, plot.svg())


def _latencies(measured: Measured, group: Group, course: Course) -> str:
    timeline = measured.timeline
    known = [(timeline.moment(number), each) for number, each in enumerate(course.milliseconds) if each is not None]
    scale = upward_log((value for _, each in known for value in each), milliseconds_told)
    plot = _plot(measured, f"{group.value}: response times", scale)
    for place, percent in enumerate(PERCENTILES):
        plot.line(_pieces(timeline, course, place), f"p{percent}", f"p{percent}")
    plot.hints(((moment, f"{_at(moment)}: {_percentiles(each)}") for moment, each in known), timeline.width)
    legend = tuple((f"p{percent}", f"p{percent}", "") for percent in PERCENTILES)
    return _framed("Time since a request was due", legend, plot.svg())


def _pieces(timeline: Timeline, course: Course, place: int) -> Iterable[Sequence[Point]]:
    """A percentile's line, broken where nothing fell due."""
    for there, piece in groupby(enumerate(course.milliseconds), key=lambda each: each[1] is not None):
        if there:
            yield [(timeline.moment(number), each[place]) for number, each in piece if each is not None]


def _beside(measured: Measured) -> str:
    others = [group for group in _SHOWN if group is not Group.FLOOD]
    drawn = "".join(
        [
            _by_kind(measured),
            _freshness(measured),
            _refusals(measured, "Refusals", others),
            _refusals(measured, "Refusals of the flood", [Group.FLOOD]),
        ]
    )
    return f'<h2>Distribution, freshness, refusals</h2><div class="plots">{drawn}</div>' if drawn else ""


def _refusals(measured: Measured, title: str, groups: Sequence[Group]) -> str:
    """Bars of all refusals of some groups, one status upon the other."""
    timeline = measured.timeline
    courses = [course for group, course in timeline.courses.items() if group in groups]
    statuses = sorted({status for course in courses for status in course.refusals})
    if not statuses:
        return ""
    floor = [0] * timeline.count
    stacks: list[tuple[int, list[int], list[int]]] = []
    for status in statuses:
        counts = [course.refusals[status] for course in courses if status in course.refusals]
        top = [low + sum(each) for low, *each in zip(floor, *counts, strict=True)]
        stacks.append((status, floor, top))
        floor = top
    plot = _plot(measured, title, upward(max(*floor, _FEW), count_told))
    legend: list[tuple[str, str, str]] = []
    for status, low, top in stacks:
        bars = zip(map(timeline.moment, range(timeline.count)), low, top, strict=True)
        plot.bars((bar for bar in bars if bar[2] > bar[1]), timeline.width, _STATUSES.get(status, "sother"))
        total = sum(top) - sum(low)
        legend.append((_STATUSES.get(status, "sother"), f"{called(status)}: {total:,}", "square"))
    return _framed(f"{title}, in {timeline.width:g} s", legend, plot.svg())


def _by_kind(measured: Measured) -> str:
    rows = [row for row in measured.rows if row.phase.measured and row.times and row.group is not Group.PROBES]
    if not rows:
        return ""
    several = len({row.phase.name for row in rows}) > 1
    kinds = [
        Ridge(
            f"{row.kind}, {row.phase.name}" if several else row.kind,
            [1000 * time for time in row.times],
            [row.milliseconds(percent) for percent in PERCENTILES],
        )
        for row in rows
    ]
    legend = (("", "marks at p50, p95 and p99", "none"),)
    return _framed("Response times by kind", legend, ridges("Response times by kind", kinds))


def _freshness(measured: Measured) -> str:
    samples = measured.samples.freshness
    found = [(each.moment, 1000 * each.found) for each in samples if each.found is not None]
    indexed = [(each.moment, 1000 * each.indexed) for each in samples if each.indexed is not None]
    if not found:
        return ""
    scale = upward_log((value for _, value in [*found, *indexed]), milliseconds_told)
    plot = _plot(measured, "How soon events can be searched for", scale)
    plot.dots(found, "found")
    plot.dots(indexed, "indexed")
    legend = (("found", "found by a search", "square"), ("indexed", "seen in the index", "square"))
    return _framed("After its acknowledgement, an event is", legend, plot.svg())


def _checks(checks: Sequence[Check]) -> str:
    rows = "".join(
        f'<tr><td class="{"good" if check.passed else "bad"}">{"✓ holds" if check.passed else "✗ misses"}</td>'
        f'<td class="text">{escape(check.name)}</td><td class="text">{escape(check.detail)}</td>'
        f'<td class="text">{"target" if check.target else "proof"}</td></tr>'
        for check in checks
    )
    head = '<tr><th></th><th class="text">What</th><th class="text">Found</th><th class="text">Kind</th></tr>'
    return f'<h2>What must hold, and what should</h2><div class="scroll"><table>{head}{rows}</table></div>'


def _figures(figures: Sequence[Figure]) -> str:
    head = "".join(
        f"<th>{name}</th>" for name in ("", "per second", "answered", "p50", "p95", "p99", "longest", "refused")
    )
    rows: list[str] = []
    for figure in figures:
        latency = figure.latency
        p95 = figure.facts.get("p95_ms")
        times = (
            ("", "", "", "")
            if latency is None
            else (
                milliseconds_told(latency.p50),
                milliseconds_told(float(p95)) if p95 is not None else "",
                milliseconds_told(latency.p99),
                milliseconds_told(latency.max),
            )
        )
        refused = ", ".join(f"{status}: {count:,}" for status, count in figure.statuses.items())
        if given_up := figure.facts.get("given_up"):
            refused += f" ({given_up:,} given up)"
        rate = f"{figure.events_per_second:,.1f}" if figure.events_per_second else ""
        cells = "".join(
            f"<td>{cell}</td>" for cell in (escape(figure.name), rate, f"{figure.requests:,}", *times, refused)
        )
        rows.append(f"<tr>{cells}</tr>")
    return f'<h2>Figures</h2><div class="scroll"><table><tr>{head}</tr>{"".join(rows)}</table></div>'


def _facts(measured: Measured) -> str:
    facts = {**measured.facts, **{f"generator: {name}": value for name, value in machine().items() if name in _MACHINE}}
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in facts.items())
    return f"<h2>Measured on</h2><dl>{rows}<dt>command</dt><dd><code>{escape(measured.command)}</code></dd></dl>"


def _plot(measured: Measured, label: str, up: Scale) -> Plot:
    seconds = measured.timeline.count * measured.timeline.width
    phases = [(begin, end, phase.name) for begin, end, phase in measured.scenario.bounds]
    return Plot(label, along(seconds), up, phases)


def _framed(title: str, legend: Iterable[tuple[str, str, str]], svg: str) -> str:
    keys = "".join(
        f'<span class="{name} {form}">{"" if form == "none" else "<i></i>"}{escape(told)}</span>'
        for name, told, form in legend
    )
    return f'<figure><figcaption><b>{escape(title)}</b><span class="legend">{keys}</span></figcaption>{svg}</figure>'


def _at(moment: float) -> str:
    return f"{moment:.1f} s"


def _percentiles(each: Sequence[float]) -> str:
    return ", ".join(f"p{percent} {milliseconds_told(value)}" for percent, value in zip(PERCENTILES, each, strict=True))
