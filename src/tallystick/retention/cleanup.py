"""Cleanup: what matches a question leaves the log, found in the log itself by the predicate and never by the index."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any, Final, cast

import orjson

from tallystick.database.pools import Connection, Database
from tallystick.errors import InvalidError
from tallystick.followers.model import LoggedEvent, Source
from tallystick.jobs.model import Job, JobFailedError, Progress
from tallystick.log.removal import Doomed, Remover, Step
from tallystick.log.removal_queries import Leaf, Orders
from tallystick.log.turns import give_way
from tallystick.query.ast import Everything, conjunction
from tallystick.query.predicate import Predicate, compile_predicate
from tallystick.query.timestamps import moment
from tallystick.retention.cutting import ANNOUNCED, announced
from tallystick.retention.guards import Guard, MinimumGuard
from tallystick.retention.model import MinimumRetention, Plan, RemovalRefusedError, Tracing
from tallystick.search.parameters import search_query
from tallystick.stats.removal import CountedOtherwiseError, count_anew, counted, uncount

CLEANUP: Final = "cleanup"
"""The kind of these jobs."""

_STRETCH_EVENTS: Final = 5_000
_STRETCH_BYTES: Final = 8 * 1024 * 1024
_SLICE: Final = 100
_PORTION_EVENTS: Final = 10_000
_PORTION_BYTES: Final = 16 * 1024 * 1024
_REPORTED: Final = 1.0


@dataclass(frozen=True, slots=True)
class Selection:
    """Which events go.

    Attributes:
        predicate: Over the parsed body; None lets all pass.
        before_us: They occurred before, in Unix microseconds.
        from_us: They occurred at or after, or None.
        received_before_us: They arrived before: what came later is protected.
        through: The last seq that is looked at.
    """

    predicate: Predicate | None
    before_us: int
    from_us: int | None
    received_before_us: int
    through: int

    @classmethod
    def of(cls, asked: Mapping[str, list[str]], received_before_us: int, through: int) -> "Selection":
        """Read what was asked for: `before` and the parameters of a listing that choose events.

        Raises:
            InvalidError: It is not valid.
        """
        values = {("to" if name == "before" else name): given for name, given in asked.items()}
        try:
            query = search_query(values)
        except InvalidError as error:
            flaws = [replace(flaw, parameter="before") if flaw.parameter == "to" else flaw for flaw in error.flaws]
            raise InvalidError(error.detail, flaws=flaws) from None
        wanted = conjunction(query.listing.filters, query.text)
        predicate = None if isinstance(wanted, Everything) else compile_predicate(wanted)
        if query.listing.to_us is None:
            raise InvalidError("a cleanup has an end")
        return cls(predicate, query.listing.to_us, query.listing.from_us, received_before_us, through)

    def passes(self, event: LoggedEvent) -> bool:
        """Whether an event goes."""
        if event.seq > self.through or event.received_us >= self.received_before_us:
            return False
        if event.occurred_us >= self.before_us or (self.from_us is not None and event.occurred_us < self.from_us):
            return False
        return self.predicate is None or self.predicate(cast("Mapping[str, object]", orjson.loads(event.body)))

    def ends_at(self, event: LoggedEvent) -> bool:
        """Whether nothing from an event on can go: arrivals only grow."""
        return event.seq > self.through or event.received_us >= self.received_before_us


@dataclass(frozen=True, slots=True)
class Chosen:
    """What was found of a log.

    Attributes:
        events: Those that go, in order.
        through: Up to which seq was looked.
        ended: Nothing after it goes.
    """

    events: list[LoggedEvent]
    through: int
    ended: bool


async def select(source: Source, log_id: int, selection: Selection, after: int = -1) -> AsyncGenerator[Chosen]:
    """Walk a log and choose, stretch by stretch.

    Raises:
        DatabaseDownError: PostgreSQL does not answer.
    """
    received_us: int | None = None
    while True:
        stretch = await source.read(log_id, after, received_us, limit=_STRETCH_EVENTS, max_bytes=_STRETCH_BYTES)
        ended = stretch.ended or stretch.through >= selection.through
        ended = ended or (bool(stretch.events) and selection.ends_at(stretch.events[-1]))
        chosen: list[LoggedEvent] = []
        for at in range(0, len(stretch.events), _SLICE):
            chosen += filter(selection.passes, stretch.events[at : at + _SLICE])
            await give_way()
        yield Chosen(chosen, min(stretch.through, selection.through), ended)
        if ended:
            return
        after, received_us = stretch.through, stretch.received_us


@dataclass(slots=True)
class _Portion:
    """Events that go together."""

    events: list[LoggedEvent] = field(default_factory=list[LoggedEvent])
    bytes: int = 0

    @property
    def full(self) -> bool:
        return len(self.events) >= _PORTION_EVENTS or self.bytes >= _PORTION_BYTES

    def add(self, events: Sequence[LoggedEvent]) -> None:
        self.events += events
        self.bytes += sum(len(event.body) for event in events)


class Cleanup:
    """Runs cleanups. After a crash one goes on where it last told that it was; what went since is not found again.

    Args:
        database: Where jobs and rollups are.
        source: Reads the log.
        remover: Takes events out.
        minimum: What is kept at least.
        guards: Are asked before each cleanup.
        tracing: Records each.
    """

    def __init__(
        self,
        database: Database,
        source: Source,
        remover: Remover,
        minimum: MinimumRetention,
        guards: Sequence[Guard],
        tracing: Tracing,
    ) -> None:
        self._database = database
        self._source = source
        self._remover = remover
        self._guards = (MinimumGuard(database, minimum), *guards)
        self._tracing = tracing

    async def run(self, job: Job, progress: Progress) -> None:
        """See `jobs.model.Handler`."""
        told = 0.0
        total = int(job.arguments["through_seq"]) + 1
        async with aclosing(self.steps(job)) as steps:
            async for step in steps:
                if step.name == "looked" and step.through is not None and monotonic() - told >= _REPORTED:
                    await progress.report(step.through + 1, total, {"through": step.through})
                    told = monotonic()
        await progress.report(total, total, {"through": total - 1})

    async def discard(self, job: Job) -> None:
        """See `jobs.model.Handler`. What is removed is removed, and what it stored besides is tidied up later."""

    async def steps(self, job: Job) -> AsyncGenerator[Step]:
        """All that is to be done, step by step.

        Raises:
            JobFailedError: Something forbids it, or this release does not understand what was asked for.
            UnavailableError: Something that is needed does not answer.
        """
        plan, selection = self._read(job)
        try:
            for guard in self._guards:
                await guard.check(plan)
        except RemovalRefusedError as error:
            raise JobFailedError(str(error)) from error
        portion = _Portion()
        after = int(job.checkpoint.get("through", -1))
        async with (
            announced(self._database, self._tracing, plan),
            aclosing(select(self._source, plan.log_id, selection, after)) as found,
        ):
            yield Step(ANNOUNCED)
            async for chosen in found:
                portion.add(chosen.events)
                if portion.full or chosen.ended:
                    async for step in self._remove(plan, portion.events):
                        yield step
                    portion = _Portion()
                    yield Step("looked", through=chosen.through)
        yield Step("removal told")

    def _read(self, job: Job) -> tuple[Plan, Selection]:
        if job.log_id is None or job.log is None:
            raise JobFailedError("names no log")
        asked: Mapping[str, Any] = job.arguments
        try:
            selection = Selection.of(asked["asked"], int(asked["received_before_us"]), int(asked["through_seq"]))
            reason = str(asked["reason"])
        except (InvalidError, KeyError, TypeError, ValueError) as error:
            raise JobFailedError("this release cannot read what was asked for: ask again") from error
        plan = Plan(
            kind="cleanup",
            tenant_id=job.tenant_id,
            log_id=job.log_id,
            log=job.log,
            arrived_before=moment(selection.received_before_us),
            reason=reason,
            job_id=job.id,
            asked_by=(job.created_by["issuer"], job.created_by["subject"]),
            asked=tuple((name, ", ".join(given)) for name, given in asked["asked"].items()),
        )
        return plan, selection

    async def _remove(self, plan: Plan, events: Sequence[LoggedEvent]) -> AsyncGenerator[Step]:
        if not events:
            return
        by_seq = {event.seq: event for event in events}

        async def beside(connection: Connection, batch: Sequence[Leaf]) -> None:
            increments = await counted([by_seq[leaf.seq] for leaf in batch])
            await uncount(connection, plan.log_id, batch[-1].seq, increments)

        leaves = [Leaf(event.seq, moment(event.received_us), event.leaf_hash) for event in events]
        log = Doomed(plan.tenant_id, plan.log_id)
        try:
            async for step in self._remover.remove(log, leaves, Orders(plan.job_id, plan.reason), beside):
                yield step
        except CountedOtherwiseError:
            await count_anew(self._database, plan.log_id)
            raise
