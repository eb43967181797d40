"""The five scenarios, by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from tallystick.bench.scenarios.model import Ask, Group, Phase, Scenario, Stream

BULK_EVENTS: Final = 10
"""Of a small bulk request, as an application's buffer sends it."""

FLOOD_EVENTS: Final = 500
FLOOD_TIMES: Final = 250
"""How many times as many events as all others together a flooding tenant sends."""

BURST_TIMES: Final = 10
BUSIEST: Final = 10
"""How many of many tenants are told apart, as they get most of the requests."""

_WARM_UP: Final = 0.1
_LONGEST_WARM_UP: Final = 5.0
_PROBES_PER_SECOND: Final = 1.0
_READS_PER_EVENT: Final = 0.3

_READS: Final = (
    ("newest 50", Ask.NEWEST, 20),
    ("by id", Ask.BY_ID, 20),
    ("search by field", Ask.FIELD, 15),
    ("search for a word", Ask.WORD, 15),
    ("search for a phrase", Ask.PHRASE, 10),
    ("search by metadata", Ask.METADATA, 5),
    ("statistics of a day", Ask.STATS, 5),
    ("sync by seq", Ask.SYNC, 10),
)
"""Of a hundred reads so many."""


class Name(StrEnum):
    """What the command calls the scenarios."""

    SUSTAINED = "sustained"
    BURST = "burst"
    MIXED = "mixed"
    TENANTS = "tenants"
    NOISY = "noisy"


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a scenario takes where nothing else is said.

    Attributes:
        seconds: How long it lasts, its warm-up not counted.
        rate: Events a second.
        tenants: How many.
    """

    seconds: float
    rate: float
    tenants: int


DEFAULTS: Final[Mapping[Name, Defaults]] = {
    Name.SUSTAINED: Defaults(300, 1_000, 10),
    Name.BURST: Defaults(120, 300, 10),
    Name.MIXED: Defaults(120, 300, 10),
    Name.TENANTS: Defaults(120, 500, 200),
    Name.NOISY: Defaults(90, 200, 11),
}


def scenario(name: Name, wanted: Defaults) -> Scenario:
    """Form a scenario.

    Args:
        name: Which.
        wanted: How long, how fast, of how many tenants.
    """
    return _MAKERS[name](name, wanted)


def _sustained(name: Name, wanted: Defaults) -> Scenario:
    streams = (*_appends((0, wanted.tenants)), _probes((0, wanted.tenants)))
    rates = (*_append_rates(wanted.rate), _PROBES_PER_SECOND)
    phases = (_warm_up(wanted.seconds, rates), Phase("sustained", wanted.seconds, rates))
    return Scenario(name, streams, phases, wanted.tenants)


def _burst(name: Name, wanted: Defaults) -> Scenario:
    streams = (*_appends((0, wanted.tenants)), _probes((0, wanted.tenants)))
    calm = (*_append_rates(wanted.rate), _PROBES_PER_SECOND)
    steep = (*_append_rates(wanted.rate * BURST_TIMES), _PROBES_PER_SECOND)
    phases = (
        _warm_up(wanted.seconds, calm),
        Phase("before", wanted.seconds / 3, calm),
        Phase("burst", wanted.seconds / 6, steep),
        Phase("after", wanted.seconds / 2, calm),
    )
    return Scenario(name, streams, phases, wanted.tenants)


def _mixed(name: Name, wanted: Defaults) -> Scenario:
    tenants = (0, wanted.tenants)
    reads = tuple(Stream(kind, Group.READS, ask, tenants) for kind, ask, _ in _READS)
    streams = (*_appends(tenants), _probes(tenants), *reads)
    read_rates = (wanted.rate * _READS_PER_EVENT * share / 100 for _, _, share in _READS)
    rates = (*_append_rates(wanted.rate), _PROBES_PER_SECOND, *read_rates)
    phases = (_warm_up(wanted.seconds, rates), Phase("mixed", wanted.seconds, rates))
    return Scenario(name, streams, phases, wanted.tenants)


def _tenants(name: Name, wanted: Defaults) -> Scenario:
    """A stream for the busiest tenants, another for all others: Zipf's law says how much each of the two gets."""
    busiest = min(BUSIEST, max(wanted.tenants // 2, 1))
    harmonic = [sum(1 / rank for rank in range(1, count + 1)) for count in (busiest, wanted.tenants)]
    share = harmonic[0] / harmonic[1]
    streams = (
        Stream(f"event of the {busiest} busiest", Group.APPENDS, Ask.APPEND, (0, busiest), zipf=True),
        Stream(f"event of the other {wanted.tenants - busiest}", Group.APPENDS, Ask.APPEND, (busiest, wanted.tenants)),
        _probes((0, wanted.tenants)),
    )
    rates = (wanted.rate * share, wanted.rate * (1 - share), _PROBES_PER_SECOND)
    phases = (_warm_up(wanted.seconds, rates), Phase("all tenants", wanted.seconds, rates))
    return Scenario(name, streams, phases, wanted.tenants)


def _noisy(name: Name, wanted: Defaults) -> Scenario:
    """The last tenant floods; the others go on as before."""
    quiet = (0, wanted.tenants - 1)
    streams = (
        Stream("event of the others", Group.APPENDS, Ask.APPEND, quiet),
        _probes(quiet),
        Stream("bulk of the flood", Group.FLOOD, Ask.APPEND, (wanted.tenants - 1, wanted.tenants), FLOOD_EVENTS),
    )
    calm = (wanted.rate, _PROBES_PER_SECOND, 0.0)
    loud = (wanted.rate, _PROBES_PER_SECOND, wanted.rate * FLOOD_TIMES / FLOOD_EVENTS)
    third = wanted.seconds / 3
    phases = (
        _warm_up(wanted.seconds, calm),
        Phase("alone", third, calm),
        Phase("beside the flood", third, loud),
        Phase("after", third, calm),
    )
    return Scenario(name, streams, phases, wanted.tenants)


def _appends(tenants: tuple[int, int]) -> tuple[Stream, Stream]:
    """Half of the events one by one, half of them in small bulks."""
    return (
        Stream("single event", Group.APPENDS, Ask.APPEND, tenants, zipf=True),
        Stream(f"bulk of {BULK_EVENTS}", Group.APPENDS, Ask.APPEND, tenants, BULK_EVENTS, zipf=True),
    )


def _append_rates(events_per_second: float) -> tuple[float, float]:
    return events_per_second / 2, events_per_second / 2 / BULK_EVENTS


def _probes(tenants: tuple[int, int]) -> Stream:
    return Stream("probe", Group.PROBES, Ask.PROBE, tenants)


def _warm_up(seconds: float, rates: tuple[float, ...]) -> Phase:
    return Phase("warm-up", min(seconds * _WARM_UP, _LONGEST_WARM_UP), rates, measured=False)


_MAKERS: Final[Mapping[Name, Callable[[Name, Defaults], Scenario]]] = {
    Name.SUSTAINED: _sustained,
    Name.BURST: _burst,
    Name.MIXED: _mixed,
    Name.TENANTS: _tenants,
    Name.NOISY: _noisy,
}
