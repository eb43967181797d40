"""Figures of samples whose answer is known: phases, percentiles, recovery, and a generator that was too slow."""

from collections.abc import Iterator

import pytest

from tallystick.bench.report import Check
from tallystick.bench.scenarios.asking import INCOMPLETE
from tallystick.bench.scenarios.catalogue import Defaults, Name, scenario
from tallystick.bench.scenarios.figures import LATE_MS, insist_on_time, recovery, report, rows
from tallystick.bench.scenarios.generating import End, Outcome
from tallystick.bench.scenarios.ledger import Ledger
from tallystick.bench.scenarios.model import Ask, Group, Phase, Scenario, Stream
from tallystick.bench.scenarios.samples import Freshness, Refusal, Sample, Samples
from tallystick.bench.scenarios.timeline import timeline
from tallystick.errors import ConfigurationError

ONE = Scenario(
    "any",
    (Stream("bulk", Group.APPENDS, Ask.APPEND, (0, 1), events=10),),
    (Phase("warm-up", 1, (10.0,), measured=False), Phase("measured", 4, (10.0,))),
    1,
)
PROOF = (Check("stored", passed=True, detail="all of it"),)


def samples(*made: Sample) -> Samples:
    """Of these, and of an event that was looked for and found."""
    found = Samples(freshness=[Freshness(1.0, 0.01, None, missed=False)])
    for sample in made:
        found.add(sample)
    return found


def steady(seconds: float, begin: float, end: float, *, late: float = 0.0, stream: int = 0) -> Iterator[Sample]:
    """Ten requests a second, each answered after as long."""
    for number in range(round(10 * (end - begin))):
        yield Sample(stream, begin + number / 10, late, seconds, 201, answered=True)


def outcome(of: Samples) -> Outcome:
    return Outcome(of, [End(Ledger("run", 0), 0.5)])


def test_a_request_counts_in_the_phase_in_which_it_fell_due() -> None:
    found = rows(ONE, samples(*steady(0.5, 0, 1), *steady(0.01, 1, 5)))
    assert [(row.phase.name, row.due, row.milliseconds(99)) for row in found] == [
        ("warm-up", 10, 500),
        ("measured", 40, 10),
    ]
    assert found[1].per_second == 100, "ten requests of ten events"


def test_a_request_that_was_not_answered_well_has_no_time_and_is_told() -> None:
    failed = Sample(0, 2.0, 0.0, 60.0, 503, answered=False)
    of = samples(*steady(0.01, 1, 5), failed)
    of.refusals += [Refusal(2.1, 2.0, 0, 503), Refusal(3.0, 2.0, 0, 503), Refusal(3.0, 2.0, 0, 0)]
    (row,) = rows(ONE, of)
    assert (row.failed, row.milliseconds(100)) == (1, 10)
    figure = row.figure()
    assert figure.statuses == {"503": 2, "no answer": 1}
    assert figure.facts["given_up"] == 1


def test_figures_of_a_slow_generator_are_refused_unless_the_server_was_far_slower() -> None:
    late = 1.2 * LATE_MS / 1000
    mine = rows(ONE, samples(*steady(late + 0.001, 1, 5, late=late)))
    with pytest.raises(ConfigurationError, match="the load generator was the bottleneck"):
        insist_on_time(mine, LATE_MS)
    insist_on_time(mine, 2 * LATE_MS)
    insist_on_time(rows(ONE, samples(*steady(10 * late, 1, 5, late=late))), LATE_MS)


def test_a_burst_is_over_once_the_times_stay_short() -> None:
    burst = scenario(Name.BURST, Defaults(24, 10, 1))
    _, before, steep, after = burst.bounds
    calm = list(steady(0.01, *before[:2]))
    rough = list(steady(3.0, *steep[:2]))
    end = after[0]
    # Slow for two seconds, well for one, slow for another, and well from then on.
    back = [
        *steady(2.0, end, end + 2),
        *steady(0.015, end + 2, end + 3),
        *steady(2.0, end + 3, end + 4),
        *steady(0.015, end + 4, after[1]),
    ]
    assert recovery(burst, samples(*calm, *rough, *back)) == 4
    assert recovery(burst, samples(*calm, *rough, *steady(0.015, end, after[1]))) == 0
    assert recovery(burst, samples(*calm, *rough, *steady(2.0, end, after[1]))) is None
    unanswered = [Sample(0, end + 5.5, 0.0, 60.0, 503, answered=False)]
    assert recovery(burst, samples(*calm, *rough, *back, *unanswered)) == 6


def test_what_the_others_feel_of_a_flood_is_a_ratio_of_their_p99() -> None:
    noisy = scenario(Name.NOISY, Defaults(12, 10, 2))
    _, alone, beside, after = noisy.bounds
    of = samples(*steady(0.01, *alone[:2]), *steady(0.03, *beside[:2]), *steady(0.011, *after[:2]))
    made = report(noisy, rows(noisy, of), outcome(of), PROOF)
    assert made.ratios == {
        "p99 of the others beside the flood to alone": pytest.approx(3),
        "p99 of the others after to alone": pytest.approx(1.1),
    }
    missed = [check.name for check in made.checks if not check.passed]
    assert missed == ["p99 of the others beside the flood to alone, times under 2"]
    assert made.passed, "a target says something of a machine, and nothing of the proof"


@pytest.mark.parametrize(
    ("flaw", "passed"), [(("search for a word", "nothing found"), False), (("search for a word", INCOMPLETE), True)]
)
def test_an_answer_without_what_was_stored_fails_the_proof_unless_it_says_so(
    flaw: tuple[str, str], passed: bool
) -> None:
    of = samples(*steady(0.01, 1, 5))
    of.flaw(*flaw)
    made = report(ONE, rows(ONE, of), outcome(of), PROOF)
    assert made.passed is passed
    assert not all(check.passed for check in made.checks)


def test_an_event_that_a_complete_search_did_not_find_fails_the_proof() -> None:
    of = samples(*steady(0.01, 1, 5))
    of.freshness += [Freshness(1.0, 0.01, 0.5, missed=False), Freshness(2.0, 0.8, None, missed=True)]
    made = report(ONE, rows(ONE, of), outcome(of), PROOF)
    assert not made.passed
    figures = {figure.name: figure for figure in made.figures}
    assert figures["an event is found after"].requests == 3
    assert figures["an event is in the index after"].requests == 1


def test_a_run_that_looked_for_no_event_proves_nothing_of_search() -> None:
    of = samples(*steady(0.01, 1, 5))
    assert report(ONE, rows(ONE, of), outcome(of), PROOF).passed
    of.freshness.clear()
    made = report(ONE, rows(ONE, of), outcome(of), PROOF)
    assert [check.name for check in made.checks if not check.passed] == ["an event is found by the next search"]


def test_over_time_acknowledgements_count_when_they_came_and_times_when_they_were_due() -> None:
    of = samples(*steady(2.0, 1, 2), *steady(0.01, 2, 5))
    of.refusals.append(Refusal(4.9, 3.0, 0, 429))
    made = timeline(ONE, of)
    course = made.courses[Group.APPENDS]
    per_stretch = round(1 / made.width)
    second = [sum(course.acknowledged[at : at + per_stretch]) / per_stretch for at in range(0, made.count, per_stretch)]
    assert second == [0, 0, 100, 200, 100]
    assert course.milliseconds[0] is None
    assert course.milliseconds[per_stretch] == (2000, 2000, 2000)
    assert sum(course.refusals[429]) == 1
    assert course.refusals[429][-1] == 1


@pytest.mark.parametrize("seconds", [2.0, 60.0, 300.0, 3600.0, 36_000.0])
def test_a_timeline_has_as_many_stretches_as_one_can_see(seconds: float) -> None:
    long = Scenario("any", ONE.streams, (Phase("measured", seconds, (1.0,)),), 1)
    made = timeline(long, samples(Sample(0, seconds - 0.5, 0.0, 0.1, 201, answered=True)))
    assert 8 <= made.count <= 100
    assert made.count * made.width >= seconds
