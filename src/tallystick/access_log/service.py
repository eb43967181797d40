"""Records who looks at or changes what: an intent before, an outcome after, each an event of the access log."""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from math import inf
from time import monotonic
from typing import Final, NamedTuple, cast

from tallystick.access_log.backlog import AccessMetrics, Backlog, nothing
from tallystick.access_log.model import Actor, Deed, Place, Result, access_event
from tallystick.access_log.refusals import Refusal, Refusals
from tallystick.auth.tenancy import PLATFORM_TENANT, Tenancy, TenantState
from tallystick.errors import TallystickError, UnavailableError
from tallystick.log.lanes import Append, Outcome
from tallystick.log.writer import Writer

_SWEEP: Final = 1.0


def place_of(tenant: TenantState) -> Place:
    """The access log of a tenant."""
    return Place(tenant.id, tenant.logs["access"], cast("Mapping[str, object] | None", tenant.settings.get("masking")))


class Intent:
    """What somebody is about to do, on its way into the access logs it concerns."""

    def __init__(self, backlog: Backlog, actor: Actor, deed: Deed, places: Sequence[Place]) -> None:
        self._backlog = backlog
        self._actor = actor
        self._deed = deed
        self._places = places
        self._appends: Sequence[asyncio.Task[Outcome]] = ()
        self._ids: dict[Place, str] = {}

    def start(self, writer: Writer) -> None:
        """Begin to store it."""
        self._appends = [asyncio.create_task(self._append(writer, place)) for place in self._places]

    async def _append(self, writer: Writer, place: Place) -> Outcome:
        event = access_event(place, self._actor, self._deed, "intent", {})
        outcome = await writer.append(Append(place.log_id, (event,), nothing, lane="access"))
        if (stored := outcome.stored[0]) is not None:
            self._ids[place] = stored.id
        return outcome

    async def durable(self) -> None:
        """Wait until it is stored, in every one of its logs.

        Raises:
            UnavailableError: It cannot be: nothing may be done or told.
        """
        if not self._appends:
            raise UnavailableError("there is no access log where it could be recorded, so it is not done")
        if waiting := [append for append in self._appends if not append.done()]:
            await asyncio.wait(waiting)
        for append in self._appends:
            append.result()

    def outcome(self, result: Result, told: Mapping[str, object], also: Sequence[Place] = ()) -> None:
        """Tell what came of it; nobody waits for that.

        Args:
            result: Whether it came to its end; `aborted` is what its client or a failure in the middle broke off.
            told: What else is to be said.
            also: Further access logs that are to know.
        """
        now_ms = time.time_ns() // 1_000_000
        for place in dict.fromkeys((*self._places, *also)):
            said = {"intent": self._ids.get(place), "result": result, **told}
            event = access_event(
                place,
                self._actor,
                self._deed,
                "outcome",
                said,
                occurred_ms=now_ms,
                severity="INFO" if result == "completed" else "WARNING",
            )
            self._backlog.put(place, event)


class Attempt(NamedTuple):
    """An attempt that was refused.

    Attributes:
        actor: Who tried.
        home: Their own tenant, whose access log tells of it beside the platform's; None where it has none.
        target: The tenant they tried it in; empty where none was named.
        operation: What they tried.
        problem: The slug of what they were answered.
    """

    actor: Actor
    home: str | None
    target: str
    operation: str
    problem: str


class AccessLog:
    """The recorder. One per process; it has no switch.

    Args:
        writer: Stores its events, in the share of the queue that is reserved for them.
        tenancy: Where tenants are looked up.
        metrics: Where it counts.
    """

    def __init__(self, writer: Writer, tenancy: Tenancy, metrics: AccessMetrics) -> None:
        self._writer = writer
        self._tenancy = tenancy
        self._backlog = Backlog(writer, metrics)
        self._metrics = metrics
        self._refusals = Refusals(self._backlog.put)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Store outcomes; all of them once the block has ended, so the writer must outlast it."""
        storing, sweeping = (asyncio.create_task(loop) for loop in (self._backlog.run(), self._sweep()))
        try:
            yield
        finally:
            sweeping.cancel()
            await asyncio.gather(sweeping, return_exceptions=True)
            self._refusals.sweep(inf)
            self._backlog.close()
            await storing

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP)
            self._refusals.sweep(monotonic())

    async def places(self, *tenant_ids: str) -> list[Place]:
        """The access logs of tenants, each once; of one that is not there, none.

        Raises:
            UnavailableError: What is known of tenants is too old.
        """
        found = [await self._tenancy.find(tenant_id) for tenant_id in tenant_ids]
        places = [place for tenant in found if tenant is not None for place in await self.places_of(tenant)]
        return list(dict.fromkeys(places))

    async def places_of(self, tenant: TenantState) -> list[Place]:
        """The access log of a tenant: the platform's where its own is being removed.

        Raises:
            UnavailableError: What is known of tenants is too old.
        """
        return await self.places(PLATFORM_TENANT) if tenant.removing else [place_of(tenant)]

    async def further_places(self, *tenant_ids: str) -> list[Place]:
        """The same for an outcome: what was done is done, and is told at least where its intent is."""
        try:
            return await self.places(*tenant_ids)
        except UnavailableError:
            return []

    def intend(self, actor: Actor, deed: Deed, places: Sequence[Place]) -> Intent:
        """Begin to record that somebody is about to do something.

        Raises:
            OverloadedError: Too many outcomes wait to be stored.
        """
        self._backlog.require_room()
        intent = Intent(self._backlog, actor, deed, places)
        intent.start(self._writer)
        return intent

    async def refuse(self, attempt: Attempt) -> None:
        """Record that somebody was refused, together with what else they try there within a minute.

        Nobody waits for it: who is refused learns nothing that would have to be recorded before.
        """
        self._metrics.refused.labels(attempt.problem).inc()
        homes = (PLATFORM_TENANT,) if attempt.home is None else (attempt.home, PLATFORM_TENANT)
        with suppress(UnavailableError):  # it is not known where their tenant's log is: then all are refused
            places = await self.places(*homes)
            refusal = Refusal(attempt.actor, attempt.target, attempt.operation, attempt.problem, places)
            self._refusals.add(refusal, monotonic())

    def tell(
        self, actor: Actor, deed: Deed, result: Result, told: Mapping[str, object], places: Sequence[Place]
    ) -> None:
        """Tell what came of something whose intent another process recorded."""
        Intent(self._backlog, actor, deed, places).outcome(result, told)

    @asynccontextmanager
    async def act(self, actor: Actor, deed: Deed, *tenant_ids: str) -> AsyncGenerator[dict[str, object]]:
        """Record an act of the command line or the worker around what it does.

        It is recorded in the platform's access log, and in those of the tenants it concerns. The block runs once the
        intent is durable; what it puts into the mapping is said by the outcome.

        Raises:
            UnavailableError: It cannot be recorded, so it may not be done.
        """
        intent = self.intend(actor, deed, await self.places(PLATFORM_TENANT, *tenant_ids))
        await intent.durable()
        told: dict[str, object] = {}
        try:
            yield told
        except BaseException as error:
            problem = error.slug if isinstance(error, TallystickError) else type(error).__name__
            intent.outcome("failed", {**told, "problem": problem})
            raise
        # Looked up anew: a tenant that was made meanwhile is to know who made it.
        intent.outcome("completed", told, await self.further_places(*tenant_ids))
