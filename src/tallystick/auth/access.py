"""What an authorised request may do and see."""

from collections.abc import Mapping
from dataclasses import dataclass

from tallystick.auth.model import Principal
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
    """

    principal: Principal
    tenant: TenantState
    grants: Mapping[Permission, Reach]
    narrowing: Node

    @property
    def events_log(self) -> int:
        """The log of what the tenant's applications send."""
        return self.tenant.logs["events"]

    def may(self, permission: Permission) -> bool:
        """Whether the role grants the permission here and the token's scopes keep it."""
        return permission in self.grants and in_scope(self.principal, permission)


def narrowing_of(principal: Principal, grants: Mapping[Permission, Reach]) -> Node:
    """The principal's own filter over events: its own ones for a user, and the resource types of its scopes."""
    own = grants.get(Permission.LOGS_READ) is Reach.OWN
    types = None if principal.scopes is None else principal.scopes.get(Permission.LOGS_READ)
    if not own and types is None:
        return Everything()
    return conjunction(
        Equals("user_id", principal.user_id) if own else None,
        None if types is None else OneOf("resource_type", types),
    )
