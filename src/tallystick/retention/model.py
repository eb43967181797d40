"""What is to be removed, by which rule, and what must stay."""

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, Literal, Protocol, TypeAlias

from tallystick.access_log.model import Result
from tallystick.auth.tenancy import PLATFORM_TENANT
from tallystick.log.removal_queries import Taken
from tallystick.settings import RetentionSettings

RETENTION: Final = "retention"
"""The reason that readers are told of what a tenant's policy removed."""

Kind: TypeAlias = Literal["retention", "cleanup", "offboarding"]


@dataclass(frozen=True, slots=True)
class Policy:
    """How long a log is kept.

    Attributes:
        log_id: The log.
        tenant_id: Whose it is.
        name: `events` or `access`.
        days: Days after which an event is removed; None is never.
    """

    log_id: int
    tenant_id: str
    name: str
    days: int | None


@dataclass(frozen=True, slots=True)
class Plan:
    """Something that is about to be removed.

    Attributes:
        kind: By which rule.
        tenant_id: Whose it is.
        log_id: The log.
        log: That log's name.
        arrived_before: Nothing that arrived later goes.
        reason: What readers are told.
        job_id: The job that removes it.
        asked_by: Issuer and subject of who wants it.
        asked: What else was asked for, as it was written.
    """

    kind: Kind
    tenant_id: str
    log_id: int
    log: str
    arrived_before: datetime
    reason: str
    job_id: str
    asked_by: tuple[str, str]
    asked: tuple[tuple[str, str], ...] = ()


class RemovalRefusedError(Exception):
    """Something that is about to be removed must stay; the message says why."""


@dataclass(frozen=True, slots=True)
class MinimumRetention:
    """For how many days each kind of log is kept at least, whatever a tenant's setting or a request says.

    Attributes:
        events: Days for what applications send.
        access: Days for access logs.
    """

    events: int
    access: int

    @classmethod
    def of(cls, settings: RetentionSettings) -> "MinimumRetention":
        """The one of an installation."""
        return cls(settings.min_days, settings.min_access_days)

    def days_of(self, log: str) -> int:
        """The least of a log, by its name."""
        return self.access if log == "access" else self.events

    def protected_from(self, log: str, today: date) -> datetime:
        """What arrived at this moment or later stays."""
        return midnight(today) - timedelta(days=self.days_of(log))


def effective(policies: Iterable[Policy], minimum: MinimumRetention, platform_days: int | None) -> list[Policy]:
    """The policies that hold: of each log its own, or the minimum where that is longer.

    Args:
        policies: As the tenants set them.
        minimum: What is kept at least.
        platform_days: The policy of the platform's own log.
    """
    held: list[Policy] = []
    for policy in policies:
        days = platform_days if policy.tenant_id == PLATFORM_TENANT else policy.days
        if days is not None:
            days = max(days, minimum.days_of(policy.name))
        held.append(replace(policy, days=days))
    return held


def midnight(day: date) -> datetime:
    """When a day of UTC begins."""
    return datetime.combine(day, time(), UTC)


def cutoff(today: date, days: int) -> datetime:
    """What arrived before this moment is no longer kept: so many whole days of UTC and the present one are."""
    return midnight(today) - timedelta(days=days)


class Trace(Protocol):
    """The record of one removal, begun before it."""

    async def told(self, result: Result, taken: Taken) -> None:
        """Record whether it came to its end, and all that its job has taken out of the log."""
        ...


@dataclass(frozen=True, slots=True)
class Milestone:
    """Something about a tenant that is being removed that cannot be undone.

    Attributes:
        name: ``removal begun``, ``keys erased`` or ``tenant removed``.
        tenant_id: Whose.
        job_id: The job that does it.
        reason: Why the tenant goes.
        asked_by: Issuer and subject of who wants it.
    """

    name: str
    tenant_id: str
    job_id: str
    reason: str
    asked_by: tuple[str, str]


class Tracing(Protocol):
    """Records removals in the access log of the tenant, or in the platform's where that one is being removed."""

    def around(self, milestone: Milestone) -> AbstractAsyncContextManager[object]:
        """Record what the block does, which begins when that is durable.

        Raises:
            UnavailableError: It cannot be recorded: it may not be done.
        """
        ...

    async def intend(self, plan: Plan) -> Trace:
        """Record that something is about to be removed; on return that is durable.

        Raises:
            UnavailableError: It cannot be recorded: nothing may be removed.
        """
        ...
