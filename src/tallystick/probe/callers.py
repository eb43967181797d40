"""Who tries: every role of a tenant, with tokens signed here by the local keys or given from elsewhere."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import jwt

from tallystick.auth.keys import Keyring
from tallystick.auth.model import Role
from tallystick.auth.permissions import Permission
from tallystick.auth.service import TokenGrant, create_token
from tallystick.errors import ConfigurationError
from tallystick.probe.model import Caller, Canary, new_word
from tallystick.settings import AuthSettings

_LIFE: Final = 3600
"""Seconds after which the tokens made here expire."""

NOBODY: Final = Caller("", "nobody", None)


@dataclass(frozen=True, slots=True)
class Signed:
    """Makes the tokens of any tenant with the keys of the local issuer.

    Attributes:
        settings: Of the deployment.
        keyring: Its key files.
    """

    settings: AuthSettings
    keyring: Keyring

    def canary(self, tenant_id: str) -> Canary:
        """What is to be planted in a tenant; its owner is nobody that there was before."""
        return Canary(tenant_id, new_word())

    def owner(self, canary: Canary) -> str:
        """A token of an admin of the canary's tenant."""
        return self._token(canary.tenant_id, Role.ADMIN, canary.subject)

    def attackers(self, tenant_id: str, victim: Canary) -> list[Caller]:
        """Every role of a tenant, and tokens narrowed to what the victim has; each has the subject of its owner."""
        types = f"{Permission.LOGS_READ}:resource_type={victim.words['resource_type']},{victim.decoys['resource_type']}"
        narrowed = [
            ("admin for one type", Role.ADMIN, (types,)),
            ("user who only writes", Role.USER, (Permission.LOGS_WRITE.value,)),
        ]
        return [
            Caller(tenant_id, name, self._token(tenant_id, role, victim.subject, scopes))
            for name, role, scopes in [*((role.value, role, ()) for role in Role), *narrowed]
        ]

    def _token(self, tenant_id: str, role: Role, subject: str, scopes: Sequence[str] = ()) -> str:
        grant = TokenGrant(subject, role, tenants=(tenant_id,), scopes=scopes, ttl=_LIFE)
        return create_token(self.settings, self.keyring, grant).token


@dataclass(frozen=True, slots=True)
class Given:
    """Tokens that another issuer made.

    Attributes:
        tokens: By tenant, and in it by role; each tenant has one of an admin.

    Raises:
        ConfigurationError: There are too few.
    """

    tokens: Mapping[str, Mapping[str, str]]

    def __post_init__(self) -> None:
        lacking = [tenant for tenant, roles in self.tokens.items() if Role.ADMIN not in roles]
        if len(self.tokens) < 2 or lacking:
            raise ConfigurationError(
                "tokens of two tenants at least are needed, an admin's of each"
                + (f"; {', '.join(lacking)} has none" if lacking else "")
            )

    def canary(self, tenant_id: str) -> Canary:
        """What is to be planted in a tenant."""
        return Canary(tenant_id, _subject_of(self.tokens[tenant_id][Role.ADMIN]))

    def owner(self, canary: Canary) -> str:
        """The token of the tenant's admin."""
        return self.tokens[canary.tenant_id][Role.ADMIN]

    def attackers(self, tenant_id: str, victim: Canary) -> list[Caller]:
        """The tokens of a tenant. A user's shows the user's own events alone, so nothing can be told by its streams."""
        del victim
        return [Caller(tenant_id, role, token, role != Role.USER) for role, token in self.tokens[tenant_id].items()]


Tokens = Signed | Given


def _subject_of(token: str) -> str:
    try:
        return str(jwt.decode(token, options={"verify_signature": False})["sub"])
    except (jwt.InvalidTokenError, KeyError) as error:
        raise ConfigurationError("a token that was given is no signed JWT with a `sub`") from error
