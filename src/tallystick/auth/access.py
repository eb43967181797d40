"""What an authorised request may do and see."""

from collections.abc import Mapping
from dataclasses import dataclass

from tallystick.auth.model import Principal
from tallystick.auth.operations import LogName
from tallystick.auth.permissions import Permission, Reach, in_scope
from tallystick.auth.tenancy import TenantState
from tallystick.query.ast import Equals, Everything, Node, OneOf, conjunction


@dataclass(frozen=True, slots=True)
class Access:
    """A principal, let into one tenant.

    Attributes:
        principal: Who.
        tenant: Where.
        grants: What the principal's role grants there, before scopes.
        narrowing: The filter that everything the principal reads must pass; `Everything()` when it is not narrowed.
        log: Which log of the tenant it is about.
    """

    principal: Principal
    tenant: TenantState
    grants: Mapping[Permission, Reach]
    narrowing: Node
    log: LogName = "events"

    @property
    def log_id(self) -> int:
        """The log that it is about."""
        return self.tenant.logs[self.log]

    @property
    def events_log(self) -> int:
        """The log of what the tenant's applications send."""
        return self.tenant.logs["events"]

    @property
    def elsewhere(self) -> str:
        """What names the tenant in a link; nothing where it is the token's default."""
        return "" if self.tenant.id == self.principal.default_tenant else f"?tenant_id={self.tenant.id}"

    def may(self, permission: Permission) -> bool:
        """Whether the role grants the permission here and the token's scopes keep it."""
        return permission in self.grants and in_scope(self.principal, permission)


def narrowing_of(principal: Principal, grants: Mapping[Permission, Reach], log: LogName = "events") -> Node:
    """The principal's own filter over events: its own ones for a user, and the resource types of its scopes.

    Nothing narrows an access log: who may read it sees all of it.
    """
    if log == "access":
        return Everything()
    own = grants.get(Permission.LOGS_READ) is Reach.OWN
    types = None if principal.scopes is None else principal.scopes.get(Permission.LOGS_READ)
    if not own and types is None:
        return Everything()
    return conjunction(
        Equals("user_id", principal.user_id) if own else None,
        None if types is None else OneOf("resource_type", types),
    )
