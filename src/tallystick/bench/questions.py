"""What a search is asked: questions of eight kinds, made of events that are stored, so that each has an answer."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx

from tallystick.bench.instance import Instance
from tallystick.bench.loading import HOT, Loaded, tenants
from tallystick.bench.payloads import WORDS
from tallystick.errors import ConfigurationError

USER: Final = "user in two days"
RESOURCE: Final = "resource"
ACTION: Final = "action and severity"
RARE: Final = "rare word"
COMMON: Final = "common word"
PHRASE: Final = "phrase"
METADATA: Final = "metadata paths"
DEEP: Final = "page 200"
BESIDE: Final = "smaller tenants"

KINDS: Final = (USER, RESOURCE, ACTION, RARE, COMMON, PHRASE, METADATA, DEEP, BESIDE)
"""In the order of the report."""

PAGE: Final = 50
DEEPEST: Final = 200

_SAMPLES: Final = 100
_COMMON_WORDS: Final = ("mozilla", "opened", "browser", "document")
_LISTINGS: Final = ({"severity": "INFO"}, {"q": "opened"}, {"action": "user.login"})
_RARE_FROM: Final = 20_000
_DAY: Final = timedelta(days=1)

Event = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Question:
    """One question.

    Attributes:
        kind: One of `KINDS`.
        tenant_id: Whose events.
        filters: Parameters of `GET /logs` that are fields, and its time range.
        words: What a value holds, as it stands there; quoted where it is a phrase.
        metadata: A region and a range of `took_ms`, or None.
        page: Which page, from 1.
        cursor: Of that page, in Tallystick.
    """

    kind: str
    tenant_id: str
    filters: Mapping[str, str]
    words: str | None = None
    metadata: tuple[str, int, int] | None = None
    page: int = 1
    cursor: str | None = None

    def parameters(self) -> dict[str, str]:
        """As Tallystick is asked."""
        asked = {"tenant_id": self.tenant_id, **self.filters}
        if self.words is not None:
            asked["q"] = f'"{self.words}"' if " " in self.words else self.words
        if self.metadata is not None:
            region, low, high = self.metadata
            asked["q"] = f'metadata.region:"{region}" AND metadata.took_ms:[{low} TO {high}]'
        if self.cursor is not None:
            asked["cursor"] = self.cursor
        return asked

    def plain_parameters(self) -> dict[str, str]:
        """As the application of `bench/baseline` is asked."""
        asked = {"tenant_id": self.tenant_id, **self.filters}
        if self.words is not None:
            asked["contains"] = self.words
        if self.metadata is not None:
            region, low, high = self.metadata
            asked |= {"metadata": f"region:{region}", "at_least": f"took_ms:{low}", "at_most": f"took_ms:{high}"}
        if self.page > 1:
            asked["offset"] = str((self.page - 1) * PAGE)
        return asked


def ask(instance: Instance, filled: Loaded) -> dict[str, list[Question]]:
    """Make questions by kind, each with several.

    Raises:
        ConfigurationError: The API refuses, or the log is too small.
    """
    draw = random.Random(5)  # noqa: S311 - what to ask, not a secret
    with instance.client() as client:
        events = list(_sample(client, filled, draw))
        deep = [_deepest(client, listing) for listing in _LISTINGS]
        small = [event for name in tenants()[1:] for event in _page(client, tenant_id=name, limit="20")["items"]]
    made = {
        USER: [_user(event) for event in events],
        RESOURCE: [_of(RESOURCE, event, "resource_type", "resource_id") for event in events],
        ACTION: [_of(ACTION, event, "action", "severity") for event in events],
        RARE: [Question(RARE, HOT, {}, word) for event in events for word in _note(event) if _is_rare(word)],
        COMMON: [Question(COMMON, HOT, {}, word) for word in _COMMON_WORDS],
        PHRASE: [Question(PHRASE, HOT, {}, phrase) for event in events for phrase in _phrases(event)],
        METADATA: [_metadata(event) for event in events],
        DEEP: [question for question in deep if question is not None],
        BESIDE: [_of(BESIDE, event, "user_id") for event in small],
    }
    if missing := [kind for kind in KINDS if not made[kind]]:
        raise ConfigurationError(f"too few events to ask for: {', '.join(missing)}")
    for questions in made.values():
        draw.shuffle(questions)
    return made


def _sample(client: httpx.Client, filled: Loaded, draw: random.Random) -> Iterator[Event]:
    for _ in range(_SAMPLES):
        end = filled.start + draw.uniform(0.01, 1) * filled.partitions * _DAY
        yield from _page(client, tenant_id=HOT, limit="20", to=_wire(end))["items"]


def _page(client: httpx.Client, **parameters: str) -> dict[str, Any]:
    answer = client.get("/logs", params=parameters)
    if not answer.is_success:
        raise ConfigurationError(f"GET /logs is refused: {answer.status_code} {answer.text}")
    return answer.json()


def _deepest(client: httpx.Client, listing: Mapping[str, str]) -> Question | None:
    """The two-hundredth page of a listing, or the last where it has fewer; None where it has but one."""
    cursor: str | None = None
    number = 1
    while number < DEEPEST:
        page = _page(client, tenant_id=HOT, limit=str(PAGE), **listing, **({"cursor": cursor} if cursor else {}))
        if page["next"] is None:
            break
        cursor, number = page["next"], number + 1
    if cursor is None:
        return None
    filters = {name: value for name, value in listing.items() if name != "q"}
    return Question(DEEP, HOT, filters, listing.get("q"), page=number, cursor=cursor)


def _of(kind: str, event: Event, *fields: str) -> Question:
    return Question(kind, event["tenant_id"], {field: event[field] for field in fields})


def _user(event: Event) -> Question:
    moment = datetime.fromisoformat(event["timestamp"])
    around = {"from": _wire(moment - _DAY), "to": _wire(moment + _DAY)}
    return Question(USER, HOT, {"user_id": event["user_id"], **around})


def _metadata(event: Event) -> Question:
    took_ms: int = event["metadata"]["took_ms"]
    return Question(METADATA, HOT, {}, metadata=(event["metadata"]["region"], took_ms, took_ms + took_ms // 10))


def _note(event: Event) -> list[str]:
    return event["message"].partition(": ")[2].split()


def _phrases(event: Event) -> Sequence[str]:
    """Two words of the note, seldom together, and two of what stands before it, often so."""
    text, _, note = event["message"].partition(": ")
    return note, " ".join(text.split()[-2:])


_RARE_WORDS: Final = frozenset(WORDS[_RARE_FROM:])


def _is_rare(word: str) -> bool:
    return word in _RARE_WORDS


def _wire(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
