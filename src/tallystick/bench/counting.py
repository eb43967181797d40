"""How fast statistics are: questions of each kind by one client that waits for its answers, and by several."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import cycle, islice
from typing import Any, Final
from urllib.parse import urlencode

import orjson

from tallystick.bench.closedloop import CONNECTIONS, measure_answers
from tallystick.bench.instance import Instance
from tallystick.bench.loading import HOT, Loaded
from tallystick.bench.reading import loaded
from tallystick.bench.report import Check, Figure, Report, Say, under
from tallystick.bench.requests import Connection, Request, get
from tallystick.errors import ConfigurationError

MOST_MATCHES: Final = 500_000
"""For so many the index is to answer in time."""

_QUESTIONS: Final = 100
_SAMPLES: Final = 10
_WARM_UP_SECONDS: Final = 2.0
_EVERYTHING: Final = ("action", "resource_type", "severity", "user_id", "resource")
_ZONES: Final = ("Europe/Berlin", "America/New_York", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Adelaide")
_QUARTER: Final = timedelta(minutes=15)

Parameters = Mapping[str, object]


def kinds(filled: Loaded) -> dict[str, Iterator[Parameters]]:
    """Questions by kind, each without end."""
    draw = random.Random(7)  # noqa: S311  # what to ask, not a secret
    days = filled.partitions

    def span(begin: datetime, end: datetime) -> dict[str, str]:
        return {"from": _wire(begin), "to": _wire(end)}

    def whole_days(number: int) -> dict[str, str]:
        begin = filled.start + timedelta(days=draw.randint(0, max(0, days - number)))
        return span(begin, begin + timedelta(days=number))

    def any_quarters(fewest_days: float) -> dict[str, str]:
        least = int(fewest_days * 96)
        begin = draw.randint(0, days * 96 - least)
        end = draw.randint(begin + least, days * 96)
        return span(filled.start + begin * _QUARTER, filled.start + end * _QUARTER)

    def always(make: Callable[[], Parameters]) -> Iterator[Parameters]:
        while True:
            yield make()

    def zone() -> str:
        return draw.choice(_ZONES)

    month = min(30, days)
    return {
        "a month by day": always(lambda: {**whole_days(month), "interval": "day"}),
        "a week by hour, and the one before": always(
            lambda: {**whole_days(min(7, days)), "interval": "hour", "compare": "previous"}
        ),
        "all days by day, in a time zone": always(lambda: {**whole_days(days), "interval": "day", "time_zone": zone()}),
        "all days by week, of one action": always(
            lambda: {**whole_days(days), "interval": "week", "action": draw.choice(("user.login", "invoice.view"))}
        ),
        "top users of a month": always(lambda: {**whole_days(month), "by": "user_id"}),
        "top users of any quarters": always(lambda: {**any_quarters(days / 3), "by": "user_id"}),
        "top resources of a month": always(lambda: {**whole_days(month), "by": "resource"}),
        "top resources of any quarters": always(lambda: {**any_quarters(days / 3), "by": "resource"}),
        "everything of any quarters, by day": always(
            lambda: {**any_quarters(days / 3), "by": _EVERYTHING, "interval": "day", "time_zone": zone()}
        ),
        "index: a user": always(
            lambda: {**whole_days(days), "user_id": f"user-{draw.randint(1, 200):05d}", "interval": "week"}
        ),
        "index: words": always(lambda: {**whole_days(days), "q": draw.choice(("sanctions", "relaxed", "Backup"))}),
        "index: users of an action": always(
            lambda: {
                **whole_days(month),
                "action": draw.choice(("role.grant", "key.create", "policy.change")),
                "by": ("severity", "user_id"),
                "interval": "day",
            }
        ),
    }


async def stats(instance: Instance, seconds: float, say: Say) -> Report:
    """Measure every kind of question.

    Raises:
        ConfigurationError: An answer is missing, or rollups are behind.
    """
    filled = await loaded(instance)
    figures: list[Figure] = []
    checks: list[Check] = []
    for kind, questions in kinds(filled).items():
        say(kind)
        requests = [_form(instance, kind, parameters) for parameters in islice(questions, _QUESTIONS)]
        facts = await _facts(instance, filled, requests[:_SAMPLES])
        for connections, name in ((1, kind), (CONNECTIONS, f"{kind}, by {CONNECTIONS} clients at once")):
            figure = await measure_answers(
                name,
                instance.url,
                instance.groups(),
                cycle(requests),
                seconds=seconds,
                warm_up=_WARM_UP_SECONDS,
                connections=connections,
            )
            figures.append(replace(figure, facts={**facts, **figure.facts}))
            # None is set for several at once: how long one waits for the others, nobody bounds.
            if connections == 1:
                checks += _targets(figures[-1])
    return Report("stats", tuple(figures), tuple(checks))


def _form(instance: Instance, kind: str, parameters: Parameters) -> Request:
    target = f"/api/v1/logs/stats?{urlencode({'tenant_id': HOT, **parameters}, doseq=True)}"
    return get(instance.url, target, instance.token, kind)


async def _facts(
    instance: Instance, filled: Loaded, requests: Sequence[Request]
) -> dict[str, float | int | str | bool]:
    """How many events the answers are about, and what they were counted by."""
    connection = Connection(instance.url)
    found: list[Mapping[str, Any]] = []
    for request in requests:
        answer = await connection.exchange(request)
        if answer.status != request.expect:
            raise ConfigurationError(f"GET /logs/stats is refused: {answer.status} {answer.body.decode()}")
        found.append(orjson.loads(answer.body))
    connection.close()
    for answer in found:
        if answer["through_seq"] < filled.events - 1:
            raise ConfigurationError(
                f"{answer['source']} tell seq {answer['through_seq']:,} and not all; wait until"
                " `tallystick followers status` says that nothing is behind"
            )
    totals = sorted(answer["total"] for answer in found)
    return {"events": totals[len(totals) // 2], "source": found[0]["source"]}


def _targets(figure: Figure) -> list[Check]:
    too_many = figure.facts["source"] == "index" and int(figure.facts["events"]) > MOST_MATCHES
    if figure.latency is None or too_many:
        return []
    return [under(f"{figure.name}, p99 ms", figure.latency.p99, 50)]


def _wire(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
