"""How much a principal and a tenant may use a minute, and how often an address may fail to authenticate.

Headers follow draft-ietf-httpapi-ratelimit-headers (two fields, ``RateLimit-Policy`` and ``RateLimit``). The
window is fixed: it starts with the first request after the last one ended, and its cost does not grow with the
size of a hit. (A moving window keeps an entry for each unit of cost.) The price: twice the limit can pass around a
window's end.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Final, Literal, NoReturn, TypeAlias

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram

from tallystick.auth.counters import ProcessCounters
from tallystick.auth.model import client_of
from tallystick.errors import RateLimitedError, UnavailableError
from tallystick.ports import Charge, RateCounters
from tallystick.settings import RateSettings

_log = structlog.get_logger(__name__)

WINDOW: Final = 60
"""Seconds of a window."""

_QUIET: Final = 10.0
"""Seconds between two warnings that the limiter fails."""

_Name: TypeAlias = Literal["principal", "tenant", "address"]


class RateMetrics:
    """What rate limits tell Prometheus. No label says whose."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.limited = Counter(
            "tallystick_rate_limited", "Requests refused as over a limit, by limit.", ["limit"], registry=registry
        )
        self.failures = Counter(
            "tallystick_rate_limiter_failures", "Requests whose rates could not be counted.", registry=registry
        )
        self.seconds = Histogram(
            "tallystick_rate_limiter_seconds",
            "Seconds in which the shared server counted a request.",
            buckets=(0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
            registry=registry,
        )


@dataclass(frozen=True, slots=True)
class _Limit:
    """One limit, by its name on the wire."""

    name: _Name
    quota: int

    @property
    def policy(self) -> str:
        return f'"{self.name}";q={self.quota};w={WINDOW}'

    def state(self, left: int, reset: int) -> str:
        return f'"{self.name}";r={left};t={reset}'

    def charge(self, payer: str, cost: int, paid: int = 0) -> Charge:
        """The rest of a cost; all of one that no window can bear, so that it is refused whatever was paid of it."""
        return Charge(f"{self.name}/{payer}", self.quota, cost if cost > self.quota else cost - paid)


class RateLimits:
    """The limits: two on what is used, and one on failures.

    A request is charged to both or to none, so a tenant at its limit does not eat up its principals' shares, nor one
    principal's refused bulk its tenant's.

    Args:
        settings: The limits.
        counters: What counts; this process alone when None.
        metrics: Where refusals and failures are counted; nowhere when None.
        clock: Seconds, for the pauses between warnings.
    """

    def __init__(
        self,
        settings: RateSettings,
        counters: RateCounters | None = None,
        metrics: RateMetrics | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._enabled = settings.enabled
        self._open = settings.on_failure == "open"
        self._counters = ProcessCounters() if counters is None else counters
        self._metrics = RateMetrics(CollectorRegistry()) if metrics is None else metrics
        self._clock = clock
        self._quiet_until = float("-inf")
        self._principal = _Limit("principal", settings.principal_per_minute)
        self._tenant = _Limit("tenant", settings.tenant_per_minute)
        self._failures = _Limit("address", settings.failures_per_minute)
        self._policy_of_principal = self._principal.policy
        self._policy_of_both = f"{self._principal.policy}, {self._tenant.policy}"

    async def take(
        self, issuer: str, subject: str, tenant: str | None, cost: int, *, paid: int = 0
    ) -> Mapping[str, str]:
        """Count a request, and return the headers that say what is left.

        Args:
            issuer: With the subject, the principal.
            subject: The principal's ``sub``.
            tenant: The tenant that shares the cost, or None.
            cost: In events.
            paid: How much of it the principal paid before its tenant was known.

        Raises:
            RateLimitedError: Over a limit; nothing was counted beyond what was paid. Without ``Retry-After`` when no
                wait would help.
            UnavailableError: The limiter failed and ``on_failure`` is ``closed``.
        """
        if not self._enabled:
            return {}
        limits = [self._principal]
        charges = [self._principal.charge(client_of(issuer, subject), cost, paid)]
        if tenant is not None:
            limits.append(self._tenant)
            charges.append(self._tenant.charge(tenant, cost))
        policy = self._policy_of_principal if tenant is None else self._policy_of_both
        try:
            windows = await self._counters.charge(charges, WINDOW)
        except Exception as error:  # noqa: BLE001  # whatever it is, `on_failure` says what follows
            self._fail(error)
            return {}
        states: list[str] = []
        for limit, charge, window in zip(limits, charges, windows, strict=True):
            left, reset = limit.quota - window.used, ceil(window.seconds)
            if charge.cost > left:
                self._metrics.limited.labels(limit.name).inc()
                _refuse(limit, cost, max(left, 0), reset, policy)
            states.append(limit.state(left - charge.cost, reset))
        return {"RateLimit-Policy": policy, "RateLimit": ", ".join(states)}

    async def failed(self, source: str) -> RateLimitedError | None:
        """Count a failed authentication; returns what to answer in place of the failure when there were too many.

        Whoever has a valid token never comes here, so nobody can lock out those who share an address. When the limiter
        itself fails the failure stands: it lets nobody in.

        Args:
            source: Whence; see `auth.addresses.source_of`.
        """
        if not self._enabled:
            return None
        limit = self._failures
        charge = limit.charge(source, 1)
        try:
            (window,) = await self._counters.charge([charge], WINDOW)
        except Exception as error:  # noqa: BLE001  # whatever it is
            self._note(error)
            return None
        if charge.cost <= limit.quota - window.used:
            return None
        self._metrics.limited.labels(limit.name).inc()
        wait = max(1, ceil(window.seconds))
        return RateLimitedError(
            f"{limit.quota} requests without a valid token came from your address within a minute: get a new token, "
            f"and try again in {wait} s",
            retry_after=wait,
            headers={"RateLimit-Policy": limit.policy, "RateLimit": limit.state(0, wait)},
        )

    async def check(self) -> str:
        """What counts, in words; with a warning when it fails."""
        if not self._enabled:
            return "not limited"
        try:
            return await self._counters.check()
        except UnavailableError as error:
            meanwhile = "requests pass uncounted" if self._open else "requests are refused"
            return f"warning: {error.detail}: {meanwhile}"

    def _fail(self, error: Exception) -> None:
        self._note(error)
        if not self._open:
            raise UnavailableError("rates cannot be checked now, so nothing is let in; try again") from error

    def _note(self, error: Exception) -> None:
        self._metrics.failures.inc()
        if self._clock() >= self._quiet_until:
            self._quiet_until = self._clock() + _QUIET
            cause = error.__cause__ or error
            _log.warning("rate_limiter_failed", error=type(cause).__name__, reason=str(cause), let_pass=self._open)


def _refuse(limit: _Limit, cost: int, left: int, reset: int, policy: str) -> NoReturn:
    headers = {"RateLimit-Policy": policy, "RateLimit": limit.state(left, reset)}
    if cost > limit.quota:
        raise RateLimitedError(
            f"this request costs {cost}, more than the {limit.quota} that a {limit.name} may use in a whole minute: "
            "split it",
            headers=headers,
        )
    wait = max(1, reset)
    raise RateLimitedError(
        f"this request costs {cost}, and of the {limit.quota} a minute that a {limit.name} may use {left} are left; "
        f"try again in {wait} s",
        retry_after=wait,
        headers=headers,
    )
