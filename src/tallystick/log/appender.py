"""One transaction that appends a batch: lock, look up retry keys, take seqs, finish the bodies, COPY, commit.

The rows of the batch's logs stay locked until the commit, so within a log the order of seqs is the order of commits.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import asyncpg

from tallystick.database.outage import as_lost_connection
from tallystick.database.pools import OwnConnection
from tallystick.log import copyrows
from tallystick.log.commit import Appended, CommitLostError, Probe
from tallystick.log.few import append_few, are_few
from tallystick.log.identity import draw_random
from tallystick.log.lanes import Append, Outcome
from tallystick.log.plan import New, Plan
from tallystick.log.retries import DigestKeys
from tallystick.log.retry_book import RetryBook, keep, look_up
from tallystick.log.turns import give_way
from tallystick.query.timestamps import format_milliseconds

SLICE: Final = 100
"""Events that are finished before the event loop gets its turn: less than a millisecond."""

_TODAY = "(clock_timestamp() at time zone 'UTC')::date - date '1970-01-01' as day"
_LOCK_ONE = f"select id, {_TODAY} from tallystick.logs where id = any($1::int[]) for no key update"  # noqa: S608
_LOCK_MANY = f"""
select id, {_TODAY} from tallystick.logs where id = any($1::int[]) order by id
   for no key update skip locked"""  # noqa: S608  # constants
_GROW_WHERE = """
update tallystick.logs as log
   set size = log.size + grown.events,
       last_at = greatest(log.last_at, date_trunc('milliseconds', clock_timestamp()))
  from unnest($1::int[], $2::bigint[]) as grown (id, events){join}
 where log.id = grown.id
returning log.id, log.size, (extract(epoch from log.last_at) * 1000)::bigint as last_ms"""
_GROW = _GROW_WHERE.format(join="")
_LOCK_AND_GROW_MANY = f"with free as ({_LOCK_MANY})" + _GROW_WHERE.format(join=" join free using (id)")

_ORDERLY_REFUSALS = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, asyncpg.LockNotAvailableError)


async def append_batch(
    connection: OwnConnection,
    batch: Sequence[Append],
    digests: DigestKeys,
    *,
    lock_timeout: float | None = None,
    chain: bool = False,
) -> Appended:
    """Append a batch in one transaction.

    On anything but an orderly refusal the connection is terminated, not rolled back: what the server still does with
    it is not known, and nothing later may become part of an old transaction.

    Args:
        connection: Of the writer role, in no transaction, or one that nothing was done in.
        batch: Requests; those of one log in the order they are to be stored.
        digests: Of retry keys.
        lock_timeout: Seconds to wait for a log that another transaction holds; None leaves it to the connection.
        chain: Begin the next transaction with the commit: the next batch is spared a trip. `leave` ends it again.

    Raises:
        CommitLostError: Ask for the outcome before anything else.
        asyncpg.PostgresError: Refused before the commit; nothing was stored.
    """
    appended = Appended()
    try:
        with as_lost_connection():
            if not is_inside(connection):
                limit = "" if lock_timeout is None else f"set local lock_timeout = {lock_timeout * 1000:.0f}"
                await connection.execute(f"begin; {limit}")
            if are_few(batch):
                await append_few(connection, batch, appended)
            elif any(append.has_keys for append in batch):
                await _append_with_keys(connection, batch, digests, appended)
            else:
                await _append_plain(connection, batch, appended)
    except _ORDERLY_REFUSALS:
        await _roll_back(connection)
        raise
    except BaseException:
        connection.terminate()
        raise
    try:
        tag = await connection.execute("commit and chain" if chain else "commit")
    except (Exception, asyncio.CancelledError) as error:
        # Even a time-out may come after the server committed: nobody may be told before it was asked.
        connection.terminate()
        raise CommitLostError(appended) from error
    if tag != "COMMIT":  # a transaction that had failed answers ROLLBACK
        connection.terminate()
        raise asyncpg.InterfaceError(f"the server answered {tag} to COMMIT")
    return appended


def is_inside(connection: OwnConnection) -> bool:
    """Whether a connection is in a transaction."""
    return not connection.is_closed() and connection.is_in_transaction()


async def leave(connection: OwnConnection) -> None:
    """End the transaction that the last commit began, if there is one.

    Raises:
        OSError, asyncpg.PostgresError, asyncpg.InterfaceError: See `database.outage`; the connection is terminated.
    """
    if is_inside(connection):
        with as_lost_connection():
            await _roll_back(connection)


async def _roll_back(connection: OwnConnection) -> None:
    try:
        await connection.execute("rollback")
    except BaseException:
        connection.terminate()
        raise


async def _append_plain(connection: OwnConnection, batch: Sequence[Append], appended: Appended) -> None:
    counts: dict[int, int] = {}
    for append in batch:
        counts[append.log_id] = counts.get(append.log_id, 0) + len(append.events)
    query = _GROW if len(counts) == 1 else _LOCK_AND_GROW_MANY
    heads = await connection.fetch(query, list(counts), list(counts.values()))
    free = {head["id"] for head in heads}
    appended.set_aside = [append for append in batch if append.log_id not in free]
    plans = [Plan(append, [New(event) for event in append.events]) for append in batch if append.log_id in free]
    await _store(connection, plans, heads, appended)
    for plan in plans:
        appended.results[plan.append] = plan.outcome()


async def _append_with_keys(
    connection: OwnConnection, batch: Sequence[Append], digests: DigestKeys, appended: Appended
) -> None:
    log_ids = list({append.log_id for append in batch})
    locked = await connection.fetch(_LOCK_ONE if len(log_ids) == 1 else _LOCK_MANY, log_ids)
    free = {row["id"] for row in locked}
    appended.set_aside = [append for append in batch if append.log_id not in free]
    kept = [append for append in batch if append.log_id in free]
    book = RetryBook(digests, await look_up(connection, kept))
    plans: list[Plan] = []
    repeats: list[tuple[Append, Append]] = []
    for append in kept:
        verdict = book.plan(append)
        if isinstance(verdict, Plan):
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
        appended.results[plan.append] = plan.outcome()
    for append, original in repeats:
        result = appended.results[original]
        appended.results[append] = Outcome((), result.answer) if isinstance(result, Outcome) else result
    await keep(connection, plans, appended.results, digests, day=locked[0]["day"] if locked else 0)


async def _store(connection: OwnConnection, plans: Sequence[Plan], heads: Sequence[Any], appended: Appended) -> None:
    """Give the new events of all plans their seqs, and copy them."""
    new: dict[int, list[New]] = {}
    for plan in plans:
        new.setdefault(plan.append.log_id, []).extend(plan.new)
    if not any(new.values()):
        return
    appended.sizes = {head["id"]: head["size"] for head in heads}

    async def rows() -> AsyncIterator[bytes]:
        yield copyrows.HEADER
        for head in heads:
            events = new[head["id"]]
            first = head["size"] - len(events)
            for start in range(0, len(events), SLICE):
                if start:
                    await give_way()
                part = events[start : start + SLICE]
                yield b"".join(_finish(part, head["id"], first + start, head["last_ms"], appended))
        yield copyrows.TRAILER

    await connection.copy_to_table(
        "events", schema_name="tallystick", columns=copyrows.COLUMNS, source=rows(), format="binary"
    )


def _finish(part: Sequence[New], log_id: int, first_seq: int, received_ms: int, appended: Appended) -> list[bytes]:
    """Finish the bodies of consecutive events; returns their rows."""
    received_at = format_milliseconds(received_ms)
    received_us = received_ms * 1000
    rows: list[bytes] = []
    for seq, (new, random) in enumerate(zip(part, draw_random(len(part)), strict=True), first_seq):
        body, leaf = new.place(seq, received_ms, received_at, random)
        occurred_us = received_us if new.event.occurred_us is None else new.event.occurred_us
        rows.append(copyrows.event_row(log_id, seq, received_us, occurred_us, leaf, body))
        if appended.probe is None:
            appended.probe = Probe(log_id, seq, received_ms, leaf)
    return rows
