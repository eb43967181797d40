"""Principals and roles: plain data, no web and no SQL."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What a principal is within a tenant. `permissions.GRANTS` says what each may do."""

    ADMIN = "admin"
    AUDITOR = "auditor"
    USER = "user"


@dataclass(frozen=True, slots=True)
class Principal:
    """Whom a verified token speaks for.

    Attributes:
        issuer: ``iss``: who vouches for the subject.
        subject: ``sub``. Issuer and subject together are the identity.
        user_id: The ``user_id`` of the principal's own events (claim named by ``auth.user_claim``).
        token_id: ``jti``, or None: such a token can only be revoked by its subject.
        issued_at: ``iat`` in Unix seconds; 0 when absent, so that revoking the subject always reaches the token.
        expires_at: ``exp`` in Unix seconds, without leeway.
        tenants: The tenants the token names; empty when `everywhere`.
        everywhere: The token names every tenant (``["*"]``).
        default_tenant: The tenant of a request that names none, or None.
        roles: One role for all tenants, or a role for each; a tenant that is missing here has no role.
        scopes: None when the token is not narrowed; else the permissions it keeps, each with the resource types it is
            narrowed to, or None for all of them.
    """

    issuer: str
    subject: str
    user_id: str
    token_id: str | None
    issued_at: int
    expires_at: int
    tenants: frozenset[str]
    everywhere: bool
    default_tenant: str | None
    roles: Role | Mapping[str, Role] | None
    scopes: Mapping[str, frozenset[str] | None] | None = None

    @property
    def platform(self) -> bool:
        """Whether this is a platform admin: admin of every tenant, and of the tenants themselves."""
        return self.everywhere and self.roles is Role.ADMIN

    @property
    def client(self) -> str:
        """What bounds for each client count it by; see `client_of`."""
        return client_of(self.issuer, self.subject)

    def role_in(self, tenant: str) -> Role | None:
        """The principal's role in a tenant, or None when it has no business there."""
        if not (self.everywhere or tenant in self.tenants):
            return None
        if self.roles is None or isinstance(self.roles, Role):
            return self.roles
        return self.roles.get(tenant)


def client_of(issuer: str, subject: str) -> str:
    """One name for a pair of issuer and subject; the length keeps two pairs from looking alike."""
    return f"{len(issuer)}:{issuer}:{subject}"
