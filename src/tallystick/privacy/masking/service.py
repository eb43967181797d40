"""The maskers of all tenants: compiled once for the same settings, with keys where a rule needs them."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, cast

import structlog

from tallystick.auth.tenancy import TenantState
from tallystick.errors import UnavailableError
from tallystick.privacy.masking.masker import Masker
from tallystick.privacy.masking.metrics import MaskingMetrics
from tallystick.privacy.masking.policy import Policy, policy_of
from tallystick.privacy.masking.rules import Finding, Sealer

_log = structlog.get_logger("tallystick.masking")


class Sealers(Protocol):
    """Gives the keys of tenants; see `privacy.service.TenantKeys`."""

    async def of(self, tenant_id: str) -> Sealer:
        """The keys of a tenant that there is.

        Raises:
            UnavailableError: Whoever holds them does not answer.
        """
        ...


class Masking:
    """Gives each tenant's masker.

    Args:
        sealers: Asked for a tenant's keys when a rule of its own needs them, and not before.
        metrics: Where it counts what is stored masked.
    """

    def __init__(self, sealers: Sealers, metrics: MaskingMetrics) -> None:
        self._sealers = sealers
        self._metrics = metrics

    async def of(self, tenant: TenantState) -> Masker:
        """The masker of what a tenant stores.

        Raises:
            UnavailableError: Its settings cannot be read by this release, or its keys are not to be had. Nothing is
                stored unmasked then.
        """
        settings = cast("Mapping[str, object] | None", tenant.settings.get("masking"))
        return await self._masker(tenant.id, _policy(tenant.id, settings), self._metrics.count)

    async def trial(self, tenant: TenantState, settings: Mapping[str, object] | None) -> Masker:
        """A masker that counts nothing, for a look at what it would do.

        Args:
            tenant: Whose keys it uses.
            settings: Valid `masking` settings to try; None for those that the tenant has.

        Raises:
            UnavailableError: As `of` does.
        """
        tried = settings if settings is not None else cast("Mapping[str, Any] | None", tenant.settings.get("masking"))
        return await self._masker(tenant.id, _policy(tenant.id, tried), _uncounted)

    async def _masker(self, tenant_id: str, policy: Policy, count: "_Count") -> Masker:
        return Masker(policy, await self._sealers.of(tenant_id) if policy.keyed else None, count)


def redactor(settings: Mapping[str, object] | None) -> Masker:
    """A masker for what is recorded of requests: it finds what a tenant's own finds, and redacts all of it.

    It needs no keys, since nobody looks such things up by their digests, or reveals them, and it counts nothing.

    Args:
        settings: The tenant's `masking` settings; None where it chose none. Those that this release cannot read count
            as none: setting them anew must not fail for want of a record.
    """
    try:
        policy = policy_of(settings)
    except ValueError:
        policy = policy_of(None)
    return Masker(policy.redacting(), None, _uncounted)


class _Count(Protocol):
    def __call__(self, findings: Iterable[Finding], /) -> None: ...


def _uncounted(_: Iterable[Finding], /) -> None:
    """What is only tried is not counted."""


def _policy(tenant_id: str, settings: Mapping[str, object] | None) -> Policy:
    try:
        return policy_of(settings)
    except ValueError:
        _log.exception("a tenant's masking settings cannot be read", tenant=tenant_id)
        raise UnavailableError(
            "the tenant's masking settings cannot be read by this release, and nothing is stored unmasked: "
            "set them anew, or upgrade this server"
        ) from None
