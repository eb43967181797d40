"""The reference page of permissions, made from the code: `docs/reference/permissions.md`."""

from tallystick.auth.operations import OPERATIONS, Realm
from tallystick.auth.permissions import permission_table

_INTRODUCTION = """\
# Permissions

This page is generated from `tallystick.auth`; a test compares the two.

A token names its tenants and a role, one for all of them or one for each. The role grants permissions in these tenants
and nowhere else. A token with `["*"]` for its tenants may use every tenant; with the role `admin` it is a **platform
admin's**. Every configured issuer is trusted to say so: limit at the issuer what it may claim. A role that this page
does not list grants nothing.

"""

_SCOPES = """\

"Own events" are those whose `user_id` equals the claim named by `TALLYSTICK_AUTH__USER_CLAIM` (default `sub`), byte for
byte. The filter is part of every query, and of reading by id: another user's event is not found.

## Scopes

A token may carry a scope claim (`TALLYSTICK_AUTH__SCOPE_CLAIM`, default `scope`): words separated by spaces, or a list
of them. It then keeps only what it names of its role's permissions; it never gains any.

| Word | Keeps |
| --- | --- |
| a permission, like `logs:write` | that permission |
| `logs:read:resource_type=invoice,order` | `logs:read`, for events of these resource types alone |
| anything else | nothing |

Words of one permission add up. A resource type with a space, comma or percent sign is percent-encoded (`%20`, `%2C`,
`%25`). A token without the claim is not narrowed; one with an empty claim may do nothing.

## Operations

What each operation of the API needs. Within a tenant, the request's `tenant_id` or the token's default says which.
Nobody but a platform admin may do anything in a suspended tenant, and a platform admin only what the last column says.

"""


def render() -> str:
    """The whole page, in Markdown."""
    return _INTRODUCTION + permission_table() + _SCOPES + operation_table()


def operation_table() -> str:
    """The table of operations and the permissions they need, in Markdown."""
    lines = ["| Operation | Permission | Where | When suspended |", "| --- | --- | --- | --- |"]
    for operation in OPERATIONS.values():
        where = "the platform" if operation.realm is Realm.PLATFORM else "a tenant"
        suspended = "platform admin" if operation.on_suspended or operation.realm is Realm.PLATFORM else "nobody"
        lines.append(f"| `{operation.name}` | `{operation.permission}` | {where} | {suspended} |")
    return "\n".join(lines) + "\n"
