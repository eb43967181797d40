"""How much a principal and a tenant may use: `limits` counts, the headers are those of the IETF draft.

Headers follow draft-ietf-httpapi-ratelimit-headers (two fields, ``RateLimit-Policy`` and ``RateLimit``). The
window is fixed: it starts with the first request after the last one ended, and its cost does not grow with the
size of a hit. (The library's moving window keeps an entry for each unit of cost.) The price: twice the limit
can pass around a window's end.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final, Literal, NoReturn

import structlog
from limits import RateLimitItemPerMinute
from limits.aio.storage import Storage
from limits.aio.strategies import FixedWindowRateLimiter

from tallystick.auth.counters import MemoryCounters
from tallystick.auth.model import client_of
from tallystick.errors import RateLimitedError, UnavailableError
from tallystick.settings import RateSettings

_log = structlog.get_logger(__name__)

WINDOW: Final = 60
"""Seconds of a window."""


class _Quota(RateLimitItemPerMinute):
    """So much a minute, for one payer: the key is made by one concatenation, four times a request."""

    def key_for(self, *identifiers: bytes | str | float) -> str:
        return f"{self.namespace}/{identifiers[0]}"


@dataclass(frozen=True, slots=True)
class _Limit:
    """One limit: its name on the wire, and what `limits` knows of it."""

    name: Literal["principal", "tenant"]
    item: _Quota

    @classmethod
    def per_minute(cls, name: Literal["principal", "tenant"], quota: int) -> "_Limit":
        return cls(name, _Quota(quota, namespace=f"rates/{quota}/{name}"))

    @property
    def policy(self) -> str:
        return f'"{self.name}";q={self.item.amount};w={WINDOW}'

    def state(self, left: int, reset: int) -> str:
        return f'"{self.name}";r={left};t={reset}'


class RateLimits:
    """The two limits of one process.

    A request is charged to both or to none: both are looked at before either is hit, so a tenant at its limit
    does not eat up its principals' shares, nor one principal's refused bulk its tenant's. With the counters in
    this process nothing can come between the look and the hit; over a shared store a race may count a refused
    request, but never lets one too many pass.

    Args:
        settings: The limits.
        storage: Where counts are kept; memory of this process when None.
    """

    def __init__(self, settings: RateSettings, storage: Storage | None = None) -> None:
        self._enabled = settings.enabled
        self._open = settings.on_failure == "open"
        self._limiter = FixedWindowRateLimiter(MemoryCounters() if storage is None else storage)
        self._principal = _Limit.per_minute("principal", settings.principal_per_minute)
        self._tenant = _Limit.per_minute("tenant", settings.tenant_per_minute)
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
        charged = [(self._principal, client_of(issuer, subject), paid)]
        if tenant is not None:
            charged.append((self._tenant, tenant, 0))
        policy = self._policy_of_principal if tenant is None else self._policy_of_both
        try:
            return {"RateLimit-Policy": policy, "RateLimit": await self._charge(charged, cost, policy)}
        except RateLimitedError:
            raise
        except Exception as error:
            if self._open:
                _log.warning("rate_limiter_failed", error=type(error).__name__, let_pass=True)
                return {}
            raise UnavailableError("rates cannot be checked now, so nothing is let in; try again") from error

    async def _charge(self, charged: Sequence[tuple[_Limit, str, int]], cost: int, policy: str) -> str:
        now = time.time()
        states: list[str] = []
        for limit, payer, paid in charged:
            ends, left = await self._limiter.get_window_stats(limit.item, payer)
            reset = WINDOW if left == limit.item.amount else max(0, ceil(ends - now))
            if cost > limit.item.amount or left < cost - paid:
                _refuse(limit, cost, left, reset, policy)
            states.append(limit.state(left - cost + paid, reset))
        for limit, payer, paid in charged:
            if not await self._limiter.hit(limit.item, payer, cost=cost - paid):
                _refuse(limit, cost, 0, WINDOW, policy)
        return ", ".join(states)


def _refuse(limit: _Limit, cost: int, left: int, reset: int, policy: str) -> NoReturn:
    headers = {"RateLimit-Policy": policy, "RateLimit": limit.state(left, reset)}
    quota = limit.item.amount
    if cost > quota:
        raise RateLimitedError(
            f"this request costs {cost}, more than the {quota} that a {limit.name} may use in a whole minute: split it",
            headers=headers,
        )
    wait = max(1, reset)
    raise RateLimitedError(
        f"this request costs {cost}, and of the {quota} a minute that a {limit.name} may use {left} are left; "
        f"try again in {wait} s",
        retry_after=wait,
        headers=headers,
    )
