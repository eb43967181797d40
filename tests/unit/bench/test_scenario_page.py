"""The report page: whole, of one file, and with everything that was measured in it."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from tallystick.bench.report import Check
from tallystick.bench.scenarios.catalogue import Defaults, Name, scenario
from tallystick.bench.scenarios.charts import (
    HEIGHT,
    WIDTH,
    Plot,
    along,
    count_told,
    milliseconds_told,
    seconds_told,
    upward,
    upward_log,
)
from tallystick.bench.scenarios.figures import report, rows
from tallystick.bench.scenarios.generating import End, Outcome
from tallystick.bench.scenarios.ledger import Ledger
from tallystick.bench.scenarios.model import Group, Scenario, Share, schedule
from tallystick.bench.scenarios.page import Measured, page
from tallystick.bench.scenarios.samples import Freshness, Refusal, Sample, Samples
from tallystick.bench.scenarios.timeline import timeline


class Elements(HTMLParser):
    """Every element of a page, and what it refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.open: list[str] = []
        self.references: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.references += [str(value) for name, value in attrs if name in ("src", "href", "xlink:href", "data")]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)


def measured(of: Scenario, samples: Samples, *, proof: bool = True) -> Measured:
    found = rows(of, samples)
    outcome = Outcome(samples, [End(Ledger("run", 0), 0.5)])
    checks = (Check("every acknowledged event is stored exactly once", proof, "12 acknowledged"),)
    facts = {"url": "https://audit.example", "began": "2026-11-29 12:00:00+00:00"}
    return Measured(
        of, report(of, found, outcome, checks), found, timeline(of, samples), samples, facts, "tallystick bench <x>"
    )


def drawn(name: Name) -> tuple[Scenario, Samples]:
    """A run in which every request was answered after some milliseconds, and some were refused before."""
    made = scenario(name, Defaults(12, 20, 3))
    samples = Samples()
    for apart in (False, True):
        for number, due in enumerate(schedule(made, Share(0, 1, apart=apart))):
            samples.add(Sample(due.stream, due.moment, 0.001, 0.002 + number % 50 / 1000, 201, answered=True))
            if number % 9 == 0:
                samples.refusals.append(Refusal(due.moment, due.moment, due.stream, (429, 503, 0, 502)[number % 4]))
    samples.freshness += [Freshness(1.0, 0.004, 0.9, missed=False), Freshness(5.0, 0.003, None, missed=False)]
    return made, samples


@pytest.mark.parametrize("name", list(Name))
def test_a_page_is_whole_and_fetches_nothing(name: Name) -> None:
    text = page(measured(*drawn(name)))
    elements = Elements()
    elements.feed(text)
    elements.close()
    assert elements.open == []
    assert not {"script", "link", "img", "iframe"} & set(elements.names)
    assert elements.references == []
    assert "url(" not in text
    assert "@import" not in text
    pictures = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len(pictures) >= 4
    for picture in pictures:
        ElementTree.fromstring(picture)  # noqa: S314 - our own
        assert not re.search(r"\b(nan|inf)\b", picture), "a number that is none"


def test_each_kind_and_phase_is_on_the_page_and_names_are_escaped() -> None:
    text = page(measured(*drawn(Name.NOISY)))
    for words in (
        "event of the others, beside the flood",
        "bulk of the flood",
        "The flood",
        "tallystick bench &lt;x&gt;",
    ):
        assert words in text
    assert "<x>" not in text


def test_a_failed_proof_is_said_first() -> None:
    made, samples = drawn(Name.SUSTAINED)
    assert "Nothing lost, nothing doubled" in page(measured(made, samples))
    failed = page(measured(made, samples, proof=False))
    assert "The proof fails" in failed
    assert "Nothing lost" not in failed


def test_a_run_without_a_single_answer_still_has_a_page() -> None:
    made = scenario(Name.SUSTAINED, Defaults(12, 20, 3))
    samples = Samples()
    for due in schedule(made, Share(0, 1)):
        samples.add(Sample(due.stream, due.moment, 0.0, 60.0, 503, answered=False))
        samples.refusals.append(Refusal(due.moment, due.moment, due.stream, 503))
    assert "503" in page(measured(made, samples))


def test_marks_stay_within_their_frame() -> None:
    plot = Plot("any", along(60), upward(100, count_told), [(0, 60, "all")])
    plot.line([[(0, 0), (30, 100), (60, 1e9)]], "taken")
    points = re.search(r'points="([^"]+)"', plot.svg())
    assert points is not None
    for point in points[1].split():
        x, y = map(float, point.split(","))
        assert 0 <= x <= WIDTH
        assert 0 <= y <= HEIGHT


@pytest.mark.parametrize(("highest", "top"), [(0.0, 0), (7.0, 8), (104.0, 150), (1_000.0, 1_000), (13_000.0, 15_000)])
def test_a_scale_from_zero_ends_at_a_round_number_above(highest: float, top: float) -> None:
    scale = upward(highest, count_told)
    assert scale.high >= highest
    assert scale.high == pytest.approx(top, abs=1e-6)
    assert 3 <= len(scale.ticks) <= 7
    assert scale(0) > scale(scale.high)


def test_equal_factors_are_equal_distances_on_a_logarithmic_scale() -> None:
    scale = upward_log([1, 1000], milliseconds_told)
    assert scale(1) - scale(10) == pytest.approx(scale(100) - scale(1000))
    assert scale.ticks == pytest.approx([1, 10, 100, 1000])


def test_values_are_told_as_people_say_them() -> None:
    assert [milliseconds_told(value) for value in (0.512, 3, 24.71, 1000, 12_345)] == [
        "0.512 ms",
        "3 ms",
        "24.7 ms",
        "1 s",
        "12.3 s",
    ]
    assert [seconds_told(value) for value in (5, 60, 90, 600)] == ["5 s", "1 min", "90 s", "10 min"]


def test_groups_without_streams_have_no_plots() -> None:
    assert Group.READS not in timeline(*drawn(Name.BURST)).courses
