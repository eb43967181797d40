"""The retry keys of a batch: looked up while its logs are locked, matched, and kept with the answers."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, TypeAlias

import orjson

from tallystick.database.pools import OwnConnection
from tallystick.errors import ConflictError, Flaw
from tallystick.log import copyrows
from tallystick.log.lanes import Append, Outcome, Stored
from tallystick.log.model import PreparedEvent
from tallystick.log.plan import Again, New, Plan, Result, Slot
from tallystick.log.retries import DigestKeys, Scope
from tallystick.log.turns import give_way

SLICE: Final = 200
"""Keys that are encoded before the event loop gets its turn: less than a millisecond."""

_KNOWN = """
select scope, log_id, key, digest, key_id, answer
  from unnest($1::text[], $2::int[], $3::text[]) as asked (scope, log_id, key)
  join tallystick.retry_keys using (scope, log_id, key)
 where day >= (clock_timestamp() at time zone 'UTC')::date - 1"""

Key: TypeAlias = tuple[Scope, int, str]


@dataclass(frozen=True, slots=True)
class Known:
    """A key that came before: a digest of its content, the digest's key, and the answer."""

    digest: bytes
    key_id: str
    answer: str


async def look_up(connection: OwnConnection, appends: Sequence[Append]) -> dict[Key, Known]:
    """Look up the keys of requests and of their events, in the last two days.

    To be called as a statement of its own once the logs are locked: a snapshot taken before the wait for the lock would
    miss the key that was just committed.
    """
    keys = [key for append in appends for key in _keys(append)]
    rows = await connection.fetch(
        _KNOWN, [scope for scope, _, _ in keys], [log_id for _, log_id, _ in keys], [key for _, _, key in keys]
    )
    return {
        (row["scope"], row["log_id"], row["key"]): Known(row["digest"], row["key_id"], row["answer"]) for row in rows
    }


def _keys(append: Append) -> Iterator[Key]:
    if append.key is not None:
        yield "request", append.log_id, append.key.stored
    for event in append.events:
        if event.event_id is not None:
            yield "event", append.log_id, event.event_id


class RetryBook:
    """The keys of the database, and those that earlier requests of the batch bring."""

    def __init__(self, digests: DigestKeys, known: Mapping[Key, Known]) -> None:
        self._digests = digests
        self._known = known
        self._requests: dict[Key, Append] = {}
        self._events: dict[Key, New] = {}

    def plan(self, append: Append) -> "Plan | Append | Result":
        """Decide what of a request is new.

        Returns:
            A plan; or the earlier request of the batch whose answer is also this one's; or the answer.
        """
        if append.key is not None:
            request_key: Key = ("request", append.log_id, append.key.stored)
            if (known := self._known.get(request_key)) is not None:
                if self._same("request", append.key.content, known):
                    return Outcome((), known.answer.encode())
                return _request_conflict(append.key.sent)
            if (original := self._requests.get(request_key)) is not None:
                same = original.key is not None and original.key.content == append.key.content
                return original if same else _request_conflict(append.key.sent)
        brought: dict[Key, New] = {}
        slots = [self._slot(append.log_id, event, brought) for event in append.events]
        if None in slots and not append.skip_conflicts:
            return _event_conflicts(append, [index for index, slot in enumerate(slots) if slot is None])
        self._events |= brought
        if append.key is not None:
            self._requests["request", append.log_id, append.key.stored] = append
        return Plan(append, slots)

    def _slot(self, log_id: int, event: PreparedEvent, brought: dict[Key, New]) -> Slot:
        if event.event_id is None or event.canonical is None:
            return New(event)
        key: Key = ("event", log_id, event.event_id)
        if (known := self._known.get(key)) is not None:
            if not self._same("event", event.canonical, known):
                return None
            return Stored(**orjson.loads(known.answer), known=True)
        if (earlier := self._events.get(key) or brought.get(key)) is not None:
            return Again(earlier) if earlier.event.canonical == event.canonical else None
        new = brought[key] = New(event)
        return new

    def _same(self, scope: Scope, content: bytes, known: Known) -> bool:
        return self._digests.match(scope, content, digest=known.digest, key_id=known.key_id)


async def keep(
    connection: OwnConnection, plans: Sequence[Plan], results: Mapping[Append, Result], digests: DigestKeys, day: int
) -> None:
    """Keep the new keys with their answers.

    Args:
        connection: In the transaction that stored the events.
        plans: With places for all new events.
        results: The answers of the plans' requests.
        digests: Of this batch.
        day: Days since 1970-01-01 in UTC, by the database's clock.
    """
    rows = _rows(plans, results, digests, day)
    if (first := next(rows, None)) is None:
        return

    async def encoded() -> AsyncIterator[bytes]:
        yield copyrows.HEADER + first
        while part := b"".join(islice(rows, SLICE)):
            yield part
            await give_way()
        yield copyrows.TRAILER

    await connection.copy_to_table(
        "retry_keys", schema_name="tallystick", columns=copyrows.RETRY_KEY_COLUMNS, source=encoded(), format="binary"
    )


def _rows(plans: Sequence[Plan], results: Mapping[Append, Result], digests: DigestKeys, day: int) -> Iterator[bytes]:
    for plan in plans:
        log_id = plan.append.log_id
        for new in plan.new:
            event = new.event
            if event.event_id is not None and event.canonical is not None and new.stored is not None:
                digest = digests.make("event", event.canonical)
                yield copyrows.retry_key_row(
                    day, "event", log_id, event.event_id, digest, digests.active_id, new.stored.answer()
                )
        result = results[plan.append]
        if plan.append.key is not None and isinstance(result, Outcome):
            digest = digests.make("request", plan.append.key.content)
            yield copyrows.retry_key_row(
                day, "request", log_id, plan.append.key.stored, digest, digests.active_id, result.answer
            )


def _request_conflict(key: str) -> ConflictError:
    return ConflictError(
        f"the Idempotency-Key {key!r} came before with another request: use a new key for new content",
        flaws=[Flaw("was used for another request", parameter="Idempotency-Key")],
    )


def event_conflict(index: int | None) -> Flaw:
    """The flaw of an event whose `event_id` came before with other content; its index where it is one of many."""
    return Flaw("was used for an event with other content", pointer="/event_id", index=index)


def _event_conflicts(append: Append, indexes: Sequence[int]) -> ConflictError:
    return ConflictError(
        "an event with the same event_id but other content is stored: a new event needs a new event_id",
        flaws=[event_conflict(index if append.bulk else None) for index in indexes],
    )
