"""How fast events are found: questions of each kind by four clients that wait for their answers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Final
from urllib.parse import urlencode

import orjson

from tallystick.bench.arriving import arriving
from tallystick.bench.closedloop import measure_answers
from tallystick.bench.instance import Instance
from tallystick.bench.loading import HOT, tenants
from tallystick.bench.plain_searching import plain
from tallystick.bench.questions import KINDS, PAGE, Question, ask
from tallystick.bench.reading import loaded
from tallystick.bench.report import Check, Figure, Report, Say, at_least, under
from tallystick.bench.requests import Request, get, post
from tallystick.bench.usage import Groups

Questions = Mapping[str, Sequence[Question]]

BESIDE_ARRIVALS: Final = " while events arrive"
_WARM_UP_SECONDS: Final = 1.0
_WITH_ITEMS: Final = b'{"items":[{'
_AFTER_ITEMS: Final = b'],"next":'


@dataclass(frozen=True, slots=True)
class Searched:
    """What is asked.

    Attributes:
        title: Begins the names of its figures.
        url: Where it answers.
        form: Makes the request of a question.
        groups: Finds its processes.
    """

    title: str
    url: str
    form: Callable[[Question], Request]
    groups: Callable[[], Groups]


async def search(
    instance: Instance, seconds: float, say: Say, *, engine: str, rate: float, together: int = 1, baseline: bool = False
) -> Report:
    """Measure every kind of question, alone and while events arrive.

    Raises:
        ConfigurationError: An answer is missing, incomplete or empty.
    """
    filled = await loaded(instance)
    say("making questions of what is stored")
    questions = ask(instance, filled)
    tallystick = Searched(engine, instance.url, lambda question: form(instance, question), instance.groups)
    quiet = await _every_kind(tallystick, questions, seconds, say)
    whole = len(questions) * (seconds + _WARM_UP_SECONDS)
    others = tenants()[1:]
    in_turn = [name for other in others for name in (HOT, other)]
    async with arriving(instance, in_turn, rate=rate, seconds=whole, together=together) as arrivals:
        busy = await _every_kind(tallystick, questions, seconds, say, beside=BESIDE_ARRIVALS)
    theirs: list[Figure] = []
    if baseline:
        async with plain(instance, say) as application:
            searched = Searched("baseline", application.url, application.form, application.groups)
            theirs = await _every_kind(searched, questions, seconds, say)
    checks = [check for figure in (*quiet, *busy) for check in _targets(figure)]
    checks.append(at_least("events that arrive a second", arrivals.figure.events_per_second, 0.99 * rate))
    return Report("search", (*quiet, *busy, arrivals.figure, *theirs), tuple(checks), _ratios(quiet, theirs))


def _ratios(ours: Sequence[Figure], theirs: Sequence[Figure]) -> dict[str, float]:
    return {
        f"{one.name}, p50 of the baseline to ours": other.latency.p50 / one.latency.p50
        for one, other in zip(ours, theirs, strict=False)
        if one.latency is not None and other.latency is not None
    }


def form(instance: Instance, question: Question) -> Request:
    """Ask Tallystick: what has words by `POST /logs/search`, all else by `GET /logs`."""
    parameters = question.parameters()
    if "q" in parameters:
        body = orjson.dumps({**parameters, "limit": PAGE})
        return post(instance.url, "/api/v1/logs/search", instance.token, body, question.kind, expect=200)
    target = f"/api/v1/logs?{urlencode({**parameters, 'limit': PAGE})}"
    return get(instance.url, target, instance.token, question.kind)


async def _every_kind(
    searched: Searched, questions: Questions, seconds: float, say: Say, *, beside: str = ""
) -> list[Figure]:
    figures: list[Figure] = []
    for kind in KINDS:
        name = f"{searched.title}: {kind}{beside}"
        say(name)
        requests = cycle([searched.form(question) for question in questions[kind]])
        figures.append(
            await measure_answers(
                name,
                searched.url,
                searched.groups(),
                requests,
                seconds=seconds,
                warm_up=_WARM_UP_SECONDS,
                judge=flaw_of,
            )
        )
    return figures


def flaw_of(_request: Request, body: bytes) -> str | None:
    """What is wrong with a page: it must have items, and be complete.

    Told by its two ends. To parse it takes the generator, which shares the cores, as long as everything else.
    """
    if not body.startswith(_WITH_ITEMS):
        return "empty"
    return "incomplete" if b'"complete":false' in body[body.rfind(_AFTER_ITEMS) :] else None


def _targets(figure: Figure) -> list[Check]:
    if figure.latency is None:
        return []
    return [
        under(f"{figure.name}, p50 ms", figure.latency.p50, 10),
        under(f"{figure.name}, p99 ms", figure.latency.p99, 50),
    ]
