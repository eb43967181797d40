"""Forms the requests of a scenario as they fall due, and judges what they were answered."""

import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import cycle, islice
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlencode

import orjson

from tallystick.bench.payloads import Payload, Payloads
from tallystick.bench.requests import Request, get, post
from tallystick.bench.scenarios.ledger import Ledger
from tallystick.bench.scenarios.model import Ask, Scenario, Stream, zipf_weights
from tallystick.bench.scenarios.target import Seed, Target

_KEPT: Final = 2_000
"""Events that reads ask for: the last ones."""

_FLOOD_BANK: Final = 5_000
"""Different events of a flood, which begins again with the first: to make all anew would take half a core."""

INCOMPLETE: Final = "not complete"
"""What is wrong with a search that says so: the index is far behind, and something may be missing."""

_SYNC_EVENTS: Final = 100
_LOGS: Final = "/api/v1/logs"

Judge = Callable[[bytes], str | None]
"""Looks at the body of a successful answer: None, or what is wrong with it."""


class Question(NamedTuple):
    """A request and what its answer must be."""

    request: Request
    judge: Judge


@dataclass(slots=True)
class Questions:
    """Where the requests of one process come from.

    Attributes:
        target: Where to.
        scenario: Of what.
        ledger: Where events are noted.
        known: Events that reads ask for; the last ones that were acknowledged.
        seed: The same gives the same requests, but for what depends on answers.
    """

    target: Target
    scenario: Scenario
    ledger: Ledger
    known: deque[Seed]
    seed: int
    _random: random.Random = field(init=False)
    _payloads: Payloads = field(init=False)
    _synced: dict[str, int] = field(init=False, default_factory=dict[str, int])
    _spans: Mapping[tuple[int, int], tuple[Sequence[str], Sequence[float]]] = field(init=False)
    _bank: "cycle[Payload]" = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311 - made-up traffic, not secrets
        self._payloads = Payloads(self.seed)
        self.known = deque(self.known, _KEPT)
        spans = {stream.tenants for stream in self.scenario.streams}
        tenants = self.target.tenants
        self._spans = {(first, last): (tenants[first:last], zipf_weights(last - first)) for first, last in spans}
        flood = any(stream.apart for stream in self.scenario.streams)
        self._bank = cycle(list(self._payloads.many("", _FLOOD_BANK if flood else 1)))

    def form(self, stream: Stream) -> Question:
        """Form the next request of a stream."""
        if stream.ask is Ask.APPEND:
            return self._append(stream) if stream.events == 1 else self._bulk(stream)
        return _READS[stream.ask](self, stream, self._random.choice(self.known))

    def probe(self, stream: Stream, word: str) -> tuple[Question, Request]:
        """Form an event with a word of its own, and the search for it."""
        tenant_id = self._tenant(stream)
        stored = self._append(stream, tenant_id, message=f"Looked for at once: {word}")
        return stored, self._search(tenant_id, word, stream.kind)

    def _tenant(self, stream: Stream) -> str:
        span, weights = self._spans[stream.tenants]
        return self._random.choices(span, cum_weights=weights if stream.zipf else None)[0]

    def _append(self, stream: Stream, tenant_id: str | None = None, **changes: object) -> Question:
        tenant_id = tenant_id or self._tenant(stream)
        number = self.ledger.issue(1)
        event = {**self._payloads.one(tenant_id), "event_id": self.ledger.event_id(number), **changes}

        def judge(body: bytes) -> None:
            answer = orjson.loads(body)
            self.ledger.acknowledge(number, answer["id"])
            self.known.append(Seed(tenant_id, answer["id"], event))

        return Question(self._post(tenant_id, _LOGS, event, stream.kind, 201), judge)

    def _bulk(self, stream: Stream) -> Question:
        tenant_id = self._tenant(stream)
        first = self.ledger.issue(stream.events)
        made = islice(self._bank, stream.events) if stream.apart else self._payloads.many(tenant_id, stream.events)
        events = [
            {**event, "tenant_id": tenant_id, "event_id": self.ledger.event_id(number)}
            for number, event in enumerate(made, first)
        ]

        def judge(body: bytes) -> None:
            for number, event in enumerate(orjson.loads(body)["ids"], first):
                self.ledger.acknowledge(number, event)

        return Question(self._post(tenant_id, f"{_LOGS}/bulk", events, stream.kind, 201), judge)

    def newest(self, stream: Stream, known: Seed) -> Question:
        """The newest events of the tenant."""
        return Question(self._list(known.tenant_id, stream.kind), _some)

    def by_id(self, stream: Stream, known: Seed) -> Question:
        """One event."""
        path = f"{_LOGS}/{quote(known.id)}?{urlencode({'tenant_id': known.tenant_id})}"

        def judge(body: bytes) -> str | None:
            return None if orjson.loads(body)["id"] == known.id else "another event"

        return Question(get(self.target.url, path, self.target.tokens[known.tenant_id], stream.kind), judge)

    def by_field(self, stream: Stream, known: Seed) -> Question:
        """What its actor did."""
        return Question(self._list(known.tenant_id, stream.kind, user_id=known.event["user_id"]), _some)

    def word(self, stream: Stream, known: Seed) -> Question:
        """A word of its note, a rare one as often as not."""
        word = _note(known.event).split()[0]
        return Question(self._search(known.tenant_id, word, stream.kind), _some)

    def phrase(self, stream: Stream, known: Seed) -> Question:
        """Its note as a phrase."""
        return Question(self._search(known.tenant_id, f'"{_note(known.event)}"', stream.kind), _some)

    def metadata(self, stream: Stream, known: Seed) -> Question:
        """Its region, and whatever took about as long."""
        region, took = known.event["metadata"]["region"], known.event["metadata"]["took_ms"]
        asked = f'metadata.region:"{region}" AND metadata.took_ms:[{took} TO {took + 100}]'
        return Question(self._search(known.tenant_id, asked, stream.kind), _some)

    def stats(self, stream: Stream, known: Seed) -> Question:
        """What happened within a day, by the hour."""
        # Periods end where a quarter of an hour does, so that they are counted by rollups; this one is still to come.
        end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
        period = {"from": (end - timedelta(days=1)).isoformat(), "to": end.isoformat()}
        asked = urlencode({"tenant_id": known.tenant_id, "interval": "hour", **period})
        token = self.target.tokens[known.tenant_id]
        return Question(get(self.target.url, f"{_LOGS}/stats?{asked}", token, stream.kind), _counted)

    def sync(self, stream: Stream, known: Seed) -> Question:
        """What came since the last sync of the tenant."""
        tenant_id = known.tenant_id
        after = self._synced.get(tenant_id, -1)

        def judge(body: bytes) -> str | None:
            items = orjson.loads(body)["items"]
            if not items:
                return None
            self._synced[tenant_id] = max(items[-1]["seq"], self._synced.get(tenant_id, -1))
            return None if items[0]["seq"] == after + 1 else "a gap"

        return Question(self._list(tenant_id, stream.kind, order="seq", after_seq=after, limit=_SYNC_EVENTS), judge)

    def start_sync(self, starts: Mapping[str, int]) -> None:
        """Begin to sync after these seqs."""
        self._synced.update(starts)

    def _list(self, tenant_id: str, kind: str, **parameters: object) -> Request:
        query = urlencode({"tenant_id": tenant_id, **parameters})
        return get(self.target.url, f"{_LOGS}?{query}", self.target.tokens[tenant_id], kind)

    def _search(self, tenant_id: str, asked: str, kind: str) -> Request:
        return self._post(tenant_id, f"{_LOGS}/search", {"tenant_id": tenant_id, "q": asked}, kind, 200)

    def _post(self, tenant_id: str, path: str, body: object, kind: str, expect: int) -> Request:
        token = self.target.tokens[tenant_id]
        return post(self.target.url, path, token, orjson.dumps(body), kind, expect=expect)


def _note(event: Mapping[str, Any]) -> str:
    return str(event["message"]).partition(": ")[2]


def _some(body: bytes) -> str | None:
    """What was acknowledged was asked for: it must be found, or the answer must say that it is not complete."""
    page = orjson.loads(body)
    if page["items"]:
        return None
    return "nothing found" if page.get("complete", True) else INCOMPLETE


def _counted(body: bytes) -> str | None:
    """Rollups follow: what they have not looked at yet is in no count."""
    counts = orjson.loads(body)
    return None if counts["total"] > 0 or counts["through_seq"] < 0 else "nothing counted"


_READS: Final[Mapping[Ask, Callable[[Questions, Stream, Seed], Question]]] = {
    Ask.NEWEST: Questions.newest,
    Ask.BY_ID: Questions.by_id,
    Ask.FIELD: Questions.by_field,
    Ask.WORD: Questions.word,
    Ask.PHRASE: Questions.phrase,
    Ask.METADATA: Questions.metadata,
    Ask.STATS: Questions.stats,
    Ask.SYNC: Questions.sync,
}
