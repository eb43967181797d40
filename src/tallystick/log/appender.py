"""One transaction that appends a batch: lock, look up retry keys, take seqs, finish the bodies, COPY, commit.

The rows of the batch's logs stay locked until the commit, so within a log the order of seqs is the order of commits.
"""

import asyncio
import io
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias

import orjson

from tallystick.database.pools import OwnConnection
from tallystick.errors import ConflictError, Flaw, TallystickError
from tallystick.log import copyrows
from tallystick.log.identity import RANDOM_BITS, make_id
from tallystick.log.lanes import Append, Outcome, Stored
from tallystick.log.model import PreparedEvent, form_head
from tallystick.log.retries import Digests, Scope
from tallystick.log.timestamps import format_milliseconds
from tallystick_tlog.leaf import leaf_hash

Result: TypeAlias = "Outcome | TallystickError"

SLICE: Final = 500
"""Events that are finished before the event loop gets its turn: about three milliseconds."""

_RANDOM_BYTES: Final = 5
_RANDOM_MASK: Final = (1 << RANDOM_BITS) - 1

_LOCK_ONE = "select id from tallystick.logs where id = any($1::int[]) for no key update"
_LOCK_MANY = "select id from tallystick.logs where id = any($1::int[]) order by id for no key update skip locked"
_GROW = """
update tallystick.logs as log
   set size = log.size + grown.events,
       last_at = greatest(log.last_at, date_trunc('milliseconds', clock_timestamp()))
  from unnest($1::int[], $2::bigint[]) as grown (id, events)
 where log.id = grown.id
returning log.id, log.size, (extract(epoch from log.last_at) * 1000)::bigint as last_ms"""
_LOCK_AND_GROW_MANY = f"""
with free as ({_LOCK_MANY})
update tallystick.logs as log
   set size = log.size + grown.events,
       last_at = greatest(log.last_at, date_trunc('milliseconds', clock_timestamp()))
  from unnest($1::int[], $2::bigint[]) as grown (id, events) join free using (id)
 where log.id = grown.id
returning log.id, log.size, (extract(epoch from log.last_at) * 1000)::bigint as last_ms"""  # noqa: S608  # constants
_KNOWN = """
select scope, log_id, key, digest, key_id, answer
  from unnest($1::text[], $2::int[], $3::text[]) as asked (scope, log_id, key)
  join tallystick.retry_keys using (scope, log_id, key)
 where day >= (clock_timestamp() at time zone 'UTC')::date - 1"""


class CommitLostError(Exception):
    """The connection was lost while it committed: whether the batch is stored is not known yet.

    Attributes:
        appended: What it did if it was committed.
    """

    def __init__(self, appended: "Appended") -> None:
        super().__init__("the connection was lost while it committed")
        self.appended = appended


@dataclass(frozen=True, slots=True)
class Probe:
    """One new event of a batch, to ask by whether the batch was committed."""

    log_id: int
    seq: int
    received_ms: int
    leaf_hash: bytes


@dataclass(slots=True)
class Appended:
    """What a transaction did.

    Attributes:
        results: By request; what is not here was set aside.
        set_aside: Requests whose log another process holds: to be tried in a transaction of their own.
        probe: None when nothing new was stored.
    """

    results: dict[Append, Result] = field(default_factory=dict[Append, Result])
    set_aside: list[Append] = field(default_factory=list[Append])
    probe: Probe | None = None


@dataclass(frozen=True, slots=True)
class _Known:
    digest: bytes
    key_id: str
    answer: str


@dataclass(eq=False, slots=True)
class _New:
    """A new event, and where it came to lie."""

    event: PreparedEvent
    stored: Stored | None = None


@dataclass(frozen=True, slots=True)
class _Again:
    """An event that comes twice in the batch: the answer is the first one's."""

    first: _New


@dataclass(slots=True)
class _Plan:
    """What of one request is new, event by event; None for a conflict."""

    append: Append
    slots: "Sequence[_Slot]"

    @property
    def new(self) -> list[_New]:
        return [slot for slot in self.slots if isinstance(slot, _New)]


_Slot: TypeAlias = _New | _Again | Stored | None
_Key: TypeAlias = tuple[Scope, int, str]


async def append_batch(connection: OwnConnection, batch: Sequence[Append], digests: Digests) -> Appended:
    """Append a batch in one transaction.

    Args:
        connection: Of the writer role, in no transaction.
        batch: Requests; those of one log in the order they are to be stored.
        digests: Of retry keys.

    Raises:
        CommitLostError: Ask for the outcome, by its probe, before anything else.
        asyncpg.PostgresError: Refused before the commit; nothing was stored.
    """
    appended = Appended()
    transaction = connection.transaction()
    await transaction.start()
    try:
        if any(append.has_keys for append in batch):
            await _append_with_keys(connection, batch, digests, appended)
        else:
            await _append_plain(connection, batch, appended)
    except BaseException:
        if not connection.is_closed():
            await transaction.rollback()
        raise
    try:
        await transaction.commit()
    except (Exception, asyncio.CancelledError) as error:
        # Even a time-out may come after the server committed: nobody may be told before it was asked.
        connection.terminate()
        raise CommitLostError(appended) from error
    return appended


async def was_committed(connection: OwnConnection, probe: Probe) -> bool:
    """Ask by one of its events whether a batch was committed; waits for the lost transaction to end."""
    return await connection.fetchval(
        "select tallystick.was_appended($1, $2, to_timestamp($3::numeric / 1000), $4)",
        probe.log_id,
        probe.seq,
        probe.received_ms,
        probe.leaf_hash,
    )


async def _append_plain(connection: OwnConnection, batch: Sequence[Append], appended: Appended) -> None:
    counts: dict[int, int] = {}
    for append in batch:
        counts[append.log_id] = counts.get(append.log_id, 0) + len(append.events)
    query = _GROW if len(counts) == 1 else _LOCK_AND_GROW_MANY
    heads = await connection.fetch(query, list(counts), list(counts.values()))
    free = {head["id"] for head in heads}
    appended.set_aside = [append for append in batch if append.log_id not in free]
    plans = [_Plan(append, [_New(event) for event in append.events]) for append in batch if append.log_id in free]
    await _store(connection, plans, heads, appended)
    for plan in plans:
        appended.results[plan.append] = _outcome(plan)


async def _append_with_keys(
    connection: OwnConnection, batch: Sequence[Append], digests: Digests, appended: Appended
) -> None:
    log_ids = list({append.log_id for append in batch})
    locked = await connection.fetch(_LOCK_ONE if len(log_ids) == 1 else _LOCK_MANY, log_ids)
    free = {row["id"] for row in locked}
    appended.set_aside = [append for append in batch if append.log_id not in free]
    kept = [append for append in batch if append.log_id in free]
    # A statement of its own: a snapshot taken before the lock wait would miss the key that was just committed.
    known = await _look_up(connection, kept)
    book = _Book(digests, known)
    plans: list[_Plan] = []
    repeats: list[tuple[Append, Append]] = []
    for append in kept:
        verdict = book.plan(append)
        if isinstance(verdict, _Plan):
            plans.append(verdict)
        elif isinstance(verdict, Append):
            repeats.append((append, verdict))
        else:
            appended.results[append] = verdict
    counts: dict[int, int] = {}
    for plan in plans:
        if new := len(plan.new):
            counts[plan.append.log_id] = counts.get(plan.append.log_id, 0) + new
    heads = await connection.fetch(_GROW, list(counts), list(counts.values())) if counts else []
    await _store(connection, plans, heads, appended)
    for plan in plans:
        appended.results[plan.append] = _outcome(plan)
    for append, original in repeats:
        result = appended.results[original]
        appended.results[append] = Outcome((), result.answer) if isinstance(result, Outcome) else result
    await _keep_keys(connection, plans, digests, appended)


async def _look_up(connection: OwnConnection, appends: Sequence[Append]) -> dict[_Key, _Known]:
    keys: list[_Key] = []
    for append in appends:
        if append.key is not None:
            keys.append(("request", append.log_id, append.key.key))
        keys.extend(("event", append.log_id, event.event_id) for event in append.events if event.event_id is not None)
    rows = await connection.fetch(
        _KNOWN, [scope for scope, _, _ in keys], [log_id for _, log_id, _ in keys], [key for _, _, key in keys]
    )
    return {
        (row["scope"], row["log_id"], row["key"]): _Known(row["digest"], row["key_id"], row["answer"]) for row in rows
    }


class _Book:
    """The retry keys of a batch: those of the database, and those that earlier requests of the batch bring."""

    def __init__(self, digests: Digests, known: Mapping[_Key, _Known]) -> None:
        self._digests = digests
        self._known = known
        self._requests: dict[_Key, Append] = {}
        self._events: dict[_Key, _New] = {}

    def plan(self, append: Append) -> "_Plan | Append | Result":
        """Decide what of a request is new.

        Returns:
            A plan; or the earlier request of the batch whose answer is also this one's; or the answer.
        """
        if append.key is not None:
            request_key: _Key = ("request", append.log_id, append.key.key)
            if (known := self._known.get(request_key)) is not None:
                if self._same("request", append.key.content, known):
                    return Outcome((), known.answer.encode())
                return _request_conflict(append.key.key)
            if (original := self._requests.get(request_key)) is not None:
                same = original.key is not None and original.key.content == append.key.content
                return original if same else _request_conflict(append.key.key)
        brought: dict[_Key, _New] = {}
        slots = [self._slot(append.log_id, event, brought) for event in append.events]
        if None in slots and not append.skip_conflicts:
            return _event_conflict(append, [index for index, slot in enumerate(slots) if slot is None])
        self._events |= brought
        if append.key is not None:
            self._requests["request", append.log_id, append.key.key] = append
        return _Plan(append, slots)

    def _slot(self, log_id: int, event: PreparedEvent, brought: dict[_Key, _New]) -> _Slot:
        if event.event_id is None or event.canonical is None:
            return _New(event)
        key: _Key = ("event", log_id, event.event_id)
        if (known := self._known.get(key)) is not None:
            if not self._same("event", event.canonical, known):
                return None
            return Stored(**orjson.loads(known.answer), known=True)
        if (earlier := self._events.get(key) or brought.get(key)) is not None:
            return _Again(earlier) if earlier.event.canonical == event.canonical else None
        new = brought[key] = _New(event)
        return new

    def _same(self, scope: Scope, content: bytes, known: _Known) -> bool:
        return self._digests.match(scope, content, digest=known.digest, key_id=known.key_id)


async def _store(connection: OwnConnection, plans: Sequence[_Plan], heads: Sequence[Any], appended: Appended) -> None:
    """Give the new events of all plans their seqs, and copy them."""
    new: dict[int, list[_New]] = {}
    for plan in plans:
        new.setdefault(plan.append.log_id, []).extend(plan.new)
    if not any(new.values()):
        return

    async def rows() -> AsyncIterator[bytes]:
        yield copyrows.HEADER
        for head in heads:
            events = new[head["id"]]
            first = head["size"] - len(events)
            for start in range(0, len(events), SLICE):
                if start:
                    await asyncio.sleep(0)
                part = events[start : start + SLICE]
                yield b"".join(_finish(part, head["id"], first + start, head["last_ms"], appended))
        yield copyrows.TRAILER

    await connection.copy_to_table(
        "events", schema_name="tallystick", columns=copyrows.COLUMNS, source=rows(), format="binary"
    )


def _finish(part: Sequence[_New], log_id: int, first_seq: int, received_ms: int, appended: Appended) -> list[bytes]:
    """Finish the bodies of consecutive events; returns their rows."""
    received_at = format_milliseconds(received_ms)
    received_us = received_ms * 1000
    rows: list[bytes] = []
    randomness = io.BytesIO(os.urandom(_RANDOM_BYTES * len(part)))
    for seq, new in enumerate(part, first_seq):
        event = new.event
        event_id = make_id(received_ms, seq, int.from_bytes(randomness.read(_RANDOM_BYTES), "big") & _RANDOM_MASK)
        body = form_head(event_id, received_at, with_timestamp=event.occurred_us is None) + event.rest
        leaf = leaf_hash(body)
        occurred_us = received_us if event.occurred_us is None else event.occurred_us
        rows.append(copyrows.event_row(log_id, seq, received_us, occurred_us, leaf, body))
        new.stored = Stored(event_id, seq, leaf.hex(), received_at)
        if appended.probe is None:
            appended.probe = Probe(log_id, seq, received_ms, leaf)
    return rows


def _outcome(plan: _Plan) -> Outcome:
    stored = [_stored(slot) for slot in plan.slots]
    return Outcome(stored, plan.append.render(stored))


def _stored(slot: _Slot) -> Stored | None:
    if isinstance(slot, _New):
        return slot.stored
    if isinstance(slot, _Again):
        first = slot.first.stored
        return first and replace(first, known=True)
    return slot


async def _keep_keys(connection: OwnConnection, plans: Sequence[_Plan], digests: Digests, appended: Appended) -> None:
    rows: dict[_Key, tuple[str, bytes, str]] = {}
    for plan in plans:
        log_id = plan.append.log_id
        for new in plan.new:
            event = new.event
            if event.event_id is not None and event.canonical is not None and new.stored is not None:
                answer = event_answer(new.stored).decode()
                rows["event", log_id, event.event_id] = (*digests.make("event", event.canonical), answer)
        result = appended.results[plan.append]
        if plan.append.key is not None and isinstance(result, Outcome):
            kept = digests.make("request", plan.append.key.content)
            rows["request", log_id, plan.append.key.key] = (*kept, result.answer.decode())
    if rows:
        await connection.execute(
            """insert into tallystick.retry_keys (day, scope, log_id, key, digest, key_id, answer)
               select (clock_timestamp() at time zone 'UTC')::date, scope, log_id, key, digest, key_id, answer
                 from unnest($1::text[], $2::int[], $3::text[], $4::text[], $5::bytea[], $6::text[])
                      as kept (scope, log_id, key, key_id, digest, answer)""",
            [scope for scope, _, _ in rows],
            [log_id for _, log_id, _ in rows],
            [key for _, _, key in rows],
            [key_id for key_id, _, _ in rows.values()],
            [digest for _, digest, _ in rows.values()],
            [answer for _, _, answer in rows.values()],
        )


def event_answer(stored: Stored) -> bytes:
    """The 201's body: what a retry is answered again."""
    return orjson.dumps(
        {"id": stored.id, "seq": stored.seq, "leaf_hash": stored.leaf_hash, "received_at": stored.received_at}
    )


def _request_conflict(key: str) -> ConflictError:
    return ConflictError(
        f"the Idempotency-Key {key!r} came before with another request: use a new key for new content",
        flaws=[Flaw("was used for another request", parameter="Idempotency-Key")],
    )


def _event_conflict(append: Append, indexes: Sequence[int]) -> ConflictError:
    return ConflictError(
        "an event with the same event_id but other content is stored: a new event needs a new event_id",
        flaws=[
            Flaw("was used for an event with other content", pointer="/event_id", index=index if append.bulk else None)
            for index in indexes
        ],
    )
