"""What the gate must know of a tenant, and the port through which it asks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

PLATFORM_TENANT: Final = "_platform"
"""The reserved tenant whose access log records what platform admins do. It takes no events of its own."""


@dataclass(frozen=True, slots=True)
class TenantState:
    """A tenant as every process sees it, at most ``auth.freshness`` seconds old.

    Attributes:
        id: The tenant's slug.
        logs: Its logs by name (``events``, ``access``) as database ids.
        suspended: Nobody but a platform admin may do anything in it.
        settings: The tenant's settings as stored.
        removing: Its removal has begun, so that nothing is written into its logs any more, and cannot be undone.
        gone: It was removed: what is said to whoever asks for it and may know; None while it is there.
    """

    id: str
    logs: Mapping[str, int]
    suspended: bool
    settings: Mapping[str, object]
    removing: bool = False
    gone: str | None = None


class Tenancy(Protocol):
    """Looks tenants up. Implementations answer from memory on the hot path and never from a state that may be stale."""

    async def find(self, tenant_id: str) -> TenantState | None:
        """The tenant, or None when there is none by that id.

        Raises:
            UnavailableError: What is known is older than ``auth.freshness`` and cannot be renewed.
        """
        ...
