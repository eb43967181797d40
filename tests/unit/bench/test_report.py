"""The arithmetic of reports: percentiles, medians, ratios, checks."""

import pytest

from tallystick.bench.report import (
    Check,
    Figure,
    Latency,
    Report,
    at_least,
    joined,
    median_of,
    percentile,
    ratio,
    under,
)
from tallystick.bench.usage import MemorySamples


def figure(rate: float, *, name: str = "x", p99: float = 1.0, largest: float = 1.0, requests: int = 1) -> Figure:
    return Figure(name, rate, 2.0, requests, Latency(p50=0.5, p99=p99, max=largest), {"201": requests}, {"api": rate})


@pytest.mark.parametrize(
    ("percent", "value"),
    [(1, 1.0), (50, 50.0), (99, 99.0), (99.5, 100.0), (100, 100.0)],
)
def test_percentile_is_a_measured_value_at_the_nearest_rank(percent: float, value: float) -> None:
    assert percentile([float(number) for number in range(1, 101)], percent) == value


def test_percentile_of_one_value_is_that_value() -> None:
    assert percentile([7.0], 0) == percentile([7.0], 50) == percentile([7.0], 99) == 7.0


def test_latency_orders_its_samples_and_counts_in_milliseconds() -> None:
    assert Latency.of([0.003, 0.001, 0.002]) == Latency(p50=2.0, p99=3.0, max=3.0)


def test_latency_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no response"):
        Latency.of([])


def test_repetitions_join_to_medians_and_the_worst_maximum() -> None:
    joined_figure = median_of(
        [figure(10, p99=5, largest=9), figure(30, p99=1, largest=99), figure(20, p99=3, largest=4)]
    )
    assert joined_figure.events_per_second == 20
    assert joined_figure.latency == Latency(p50=0.5, p99=3, max=99)
    assert joined_figure.runs == (10, 30, 20)
    assert joined_figure.requests == 3
    assert joined_figure.seconds == 6.0
    assert joined_figure.statuses == {"201": 3}
    assert joined_figure.cpu == {"api": 20}


def test_figures_of_different_things_are_not_joined() -> None:
    with pytest.raises(ValueError, match="repetitions"):
        median_of([figure(1, name="a"), figure(1, name="b")])


def test_ratio_compares_round_by_round_so_that_a_slow_minute_hits_both() -> None:
    ours = median_of([figure(100), figure(400), figure(40)])
    theirs = median_of([figure(50, name="y"), figure(100, name="y"), figure(10, name="y")])
    assert ratio(ours, theirs) == 4.0


def test_ratio_of_single_runs_divides_their_rates() -> None:
    assert ratio(figure(9), figure(3, name="y")) == 3.0


@pytest.mark.parametrize(("value", "passed"), [(3_999.9, False), (4_000, True)])
def test_at_least_holds_at_its_bound(value: float, passed: bool) -> None:
    assert at_least("rate", value, 4_000).passed is passed


@pytest.mark.parametrize(("value", "passed"), [(49.9, True), (50, False)])
def test_under_fails_at_its_bound(value: float, passed: bool) -> None:
    assert under("p99", value, 50).passed is passed


def test_a_missed_target_leaves_the_figures_standing_and_a_failed_proof_does_not() -> None:
    missed = Check("target", passed=False, detail="", target=True)
    failed = Check("proof", passed=False, detail="")
    assert Report("x", (), (missed,)).passed
    assert not joined("all", [Report("x", (), (missed,)), Report("y", (), (failed,))]).passed


def test_memory_growth_leaves_the_warm_up_out() -> None:
    warm_up = [(float(second), second * 1_000_000) for second in range(10)]
    steady = [(float(second), 10_000_000 + (second - 10) * 1_000) for second in range(10, 30)]
    samples = MemorySamples([*warm_up, *steady])
    assert samples.growth() == pytest.approx(1_000)
    assert samples.largest == 10_019_000


def test_memory_growth_needs_samples() -> None:
    with pytest.raises(ValueError, match="too few"):
        MemorySamples([(0.0, 1), (1.0, 1)]).growth()
