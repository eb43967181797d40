"""Permissions, and which role holds which: the one table that every decision and the documentation come from."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from tallystick.auth.model import Principal, Role


class Permission(StrEnum):
    """What can be allowed. The value is also how a scope names it."""

    LOGS_WRITE = "logs:write"
    LOGS_READ = "logs:read"
    LOGS_IMPORT = "logs:import"
    LOGS_DELETE = "logs:delete"
    ACCESS_READ = "access:read"
    LOGS_REVEAL = "logs:reveal"
    TENANTS_READ = "tenants:read"
    TENANTS_UPDATE = "tenants:update"
    TENANTS_LIST = "tenants:list"
    TENANTS_CREATE = "tenants:create"
    TENANTS_SUSPEND = "tenants:suspend"
    TENANTS_REMOVE = "tenants:remove"
    JOBS_READ = "jobs:read"
    JOBS_RUN = "jobs:run"


class Reach(StrEnum):
    """How far a grant goes."""

    ALL = "all"
    OWN = "own"


MEANINGS: Final[Mapping[Permission, str]] = MappingProxyType(
    {
        Permission.LOGS_WRITE: "append events",
        Permission.LOGS_READ: "read events",
        Permission.LOGS_IMPORT: "append events of any age, beside `logs:write`",
        Permission.LOGS_DELETE: "remove events that are older than the minimum retention",
        Permission.ACCESS_READ: "read access logs: who looked at or changed what",
        Permission.LOGS_REVEAL: "see the plaintext of sealed fields of events that may be read, one event at a time",
        Permission.TENANTS_READ: "see a tenant and its settings",
        Permission.TENANTS_UPDATE: "change a tenant's name and settings",
        Permission.TENANTS_LIST: "list all tenants",
        Permission.TENANTS_CREATE: "make tenants",
        Permission.TENANTS_SUSPEND: "suspend and resume tenants",
        Permission.TENANTS_REMOVE: "remove tenants with all that they hold, and take that back in time",
        Permission.JOBS_READ: "see a tenant's jobs",
        Permission.JOBS_RUN: "start and cancel jobs",
    }
)

GRANTS: Final[Mapping[Role, Mapping[Permission, Reach]]] = MappingProxyType(
    {
        Role.USER: MappingProxyType({Permission.LOGS_WRITE: Reach.ALL, Permission.LOGS_READ: Reach.OWN}),
        Role.AUDITOR: MappingProxyType(
            {
                Permission.LOGS_READ: Reach.ALL,
                Permission.ACCESS_READ: Reach.ALL,
                Permission.TENANTS_READ: Reach.ALL,
                Permission.JOBS_READ: Reach.ALL,
            }
        ),
        Role.ADMIN: MappingProxyType(
            {
                Permission.LOGS_WRITE: Reach.ALL,
                Permission.LOGS_READ: Reach.ALL,
                Permission.LOGS_IMPORT: Reach.ALL,
                Permission.LOGS_DELETE: Reach.ALL,
                Permission.ACCESS_READ: Reach.ALL,
                Permission.LOGS_REVEAL: Reach.ALL,
                Permission.TENANTS_READ: Reach.ALL,
                Permission.TENANTS_UPDATE: Reach.ALL,
                Permission.JOBS_READ: Reach.ALL,
                Permission.JOBS_RUN: Reach.ALL,
            }
        ),
    }
)
"""What a role may do in a tenant it holds the role in."""

PLATFORM_GRANTS: Final[Mapping[Permission, Reach]] = MappingProxyType(dict.fromkeys(Permission, Reach.ALL))
"""What a platform admin may do, in every tenant and to the tenants themselves."""

_NOTHING: Final[Mapping[Permission, Reach]] = MappingProxyType({})


def grants_in(principal: Principal, tenant: str) -> Mapping[Permission, Reach]:
    """What the principal's role grants in a tenant, before its scopes narrow it."""
    if principal.platform:
        return PLATFORM_GRANTS
    role = principal.role_in(tenant)
    return _NOTHING if role is None else GRANTS[role]


def in_scope(principal: Principal, permission: Permission) -> bool:
    """Whether the token's scopes, if it has any, keep the permission."""
    return principal.scopes is None or permission in principal.scopes


def permission_table() -> str:
    """The table of permissions and roles, in Markdown."""
    columns: list[tuple[str, Mapping[Permission, Reach]]] = [
        *((f"`{role}`", GRANTS[role]) for role in (Role.USER, Role.AUDITOR, Role.ADMIN)),
        ("platform admin", PLATFORM_GRANTS),
    ]
    words = {None: "no", Reach.ALL: "yes", Reach.OWN: "own events"}
    lines = [
        "| Permission | Allows to | " + " | ".join(name for name, _ in columns) + " |",
        "| --- | --- |" + " --- |" * len(columns),
    ]
    for permission in Permission:
        cells = " | ".join(words[grants.get(permission)] for _, grants in columns)
        lines.append(f"| `{permission}` | {MEANINGS[permission]} | {cells} |")
    return "\n".join(lines) + "\n"
