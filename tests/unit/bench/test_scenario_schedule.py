"""When the requests of a scenario are due, and how processes share them."""

from itertools import pairwise

import pytest

from tallystick.bench.scenarios.catalogue import BURST_TIMES, DEFAULTS, FLOOD_TIMES, Defaults, Name, scenario
from tallystick.bench.scenarios.model import Ask, Due, Group, Phase, Scenario, Share, Stream, schedule, zipf_weights

STREAMS = (
    Stream("single", Group.APPENDS, Ask.APPEND, (0, 1)),
    Stream("bulk", Group.APPENDS, Ask.APPEND, (0, 1), events=10),
    Stream("flood", Group.FLOOD, Ask.APPEND, (0, 1), events=500),
)
TWO_PHASES = Scenario(
    "any", STREAMS, (Phase("calm", 2, (10, 1, 0), measured=False), Phase("steep", 4, (100, 5, 20))), 1
)


def test_each_phase_has_its_rate_and_all_is_in_order() -> None:
    due = list(schedule(TWO_PHASES, Share(0, 1)))
    moments = [each.moment for each in due]
    assert moments == sorted(moments)
    assert len(set(moments)) == len(moments), "two streams of one rate would send at the same moments"
    counts = {
        (stream, early): sum(each.stream == stream and (each.moment < 2) is early for each in due)
        for stream in (0, 1)
        for early in (True, False)
    }
    assert counts == {(0, True): 20, (0, False): 400, (1, True): 2, (1, False): 20}
    assert max(moments) < TWO_PHASES.seconds


def test_requests_of_a_stream_are_equally_far_apart() -> None:
    moments = [each.moment for each in schedule(TWO_PHASES, Share(0, 1)) if each.stream == 0 and each.moment > 2]
    assert {round(later - earlier, 9) for earlier, later in pairwise(moments)} == {0.01}


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_processes_share_all_requests_and_each_is_sent_once(processes: int) -> None:
    whole = list(schedule(TWO_PHASES, Share(0, 1)))
    parts = [list(schedule(TWO_PHASES, Share(number, processes))) for number in range(processes)]
    assert sorted(due for part in parts for due in part) == whole
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= len(STREAMS) * len(TWO_PHASES.phases)


def test_a_flood_is_sent_apart_from_all_others() -> None:
    flood: list[Due] = list(schedule(TWO_PHASES, Share(0, 1, apart=True)))
    assert len(flood) == 80
    assert {due.stream for due in flood} == {2}


def test_rates_count_events_where_events_are_sent() -> None:
    calm, steep = TWO_PHASES.phases
    assert TWO_PHASES.rate(calm, Group.APPENDS) == 10 + 10 * 1
    assert TWO_PHASES.rate(steep, Group.FLOOD) == 20 * 500


def test_an_ended_scenario_has_no_phase_that_did_not_begin() -> None:
    ended = TWO_PHASES.shortened(1.5)
    assert [(phase.name, phase.seconds) for phase in ended.phases] == [("calm", 1.5)]
    assert [phase.seconds for phase in TWO_PHASES.shortened(3).phases] == [2, 1]
    assert TWO_PHASES.shortened(100) == TWO_PHASES


def test_of_many_tenants_few_are_busy() -> None:
    weights = zipf_weights(200)
    assert weights[0] / weights[-1] > 0.15
    assert weights[9] / weights[-1] == pytest.approx(0.498, abs=0.001)


@pytest.mark.parametrize("name", list(Name))
def test_every_scenario_is_as_fast_and_as_long_as_is_asked_for(name: Name) -> None:
    wanted = Defaults(seconds=30, rate=200, tenants=DEFAULTS[name].tenants)
    made = scenario(name, wanted)
    warm_up, first, *_ = made.phases
    assert not warm_up.measured
    assert made.seconds - warm_up.seconds == pytest.approx(30)
    assert made.rate(first, Group.APPENDS) == pytest.approx(200)
    assert all(0 <= first < last <= wanted.tenants for first, last in (stream.tenants for stream in made.streams))
    assert any(stream.ask is Ask.PROBE for stream in made.streams), "freshness is sampled in each"


def test_a_burst_goes_up_and_comes_back() -> None:
    made = scenario(Name.BURST, Defaults(30, 200, 10))
    assert [made.rate(phase, Group.APPENDS) for phase in made.phases[1:]] == pytest.approx(
        [200, 200 * BURST_TIMES, 200]
    )


def test_a_noisy_tenant_is_alone_with_its_flood_and_the_others_never_change() -> None:
    made = scenario(Name.NOISY, Defaults(30, 200, 11))
    assert [made.rate(phase, Group.FLOOD) for phase in made.phases] == [0, 0, 200 * FLOOD_TIMES, 0]
    assert {made.rate(phase, Group.APPENDS) for phase in made.phases} == {200}
    tenants = {stream.group: range(*stream.tenants) for stream in made.streams}
    assert list(tenants[Group.FLOOD]) == [10]
    assert not set(tenants[Group.FLOOD]) & set(tenants[Group.APPENDS])
