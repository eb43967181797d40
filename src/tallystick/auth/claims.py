"""From verified claims to a principal. The claims' names are settings.

Every configured issuer is trusted alike, also to name ``["*"]``: whoever configures an issuer lets it say who is who.
What an issuer may claim is therefore limited at the issuer, by the claims it is set up to mint for this audience.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, TypeGuard, cast

from tallystick.auth.model import Principal, Role
from tallystick.auth.refusals import challenge
from tallystick.auth.scopes import parse_scopes
from tallystick.settings import AuthSettings

EVERY_TENANT: Final = "*"
MAX_LENGTH: Final = 255
"""Longest subject, user, tenant or token id, in characters (as OpenID Connect Core §2 has it for ``sub``)."""

_NOT_PLAIN: Final = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")

Claims = Mapping[str, Any]


def principal_of(claims: Claims, settings: AuthSettings) -> Principal:
    """Read the principal out of claims whose signature, times, issuer and audience were checked.

    Raises:
        UnauthenticatedError: A claim that is used has another type or form.
    """
    default = _text(claims, settings.tenant_claim)
    named = _names(claims, settings.tenants_claim)
    everywhere = named == (EVERY_TENANT,)
    if not everywhere and EVERY_TENANT in (named or ()):
        raise challenge(f'the claim `{settings.tenants_claim}` holds "*" beside other tenants')
    tenants = _tenants(named, default, everywhere=everywhere)
    if default is not None and not (everywhere or default in tenants):
        raise challenge(f"the claim `{settings.tenant_claim}` names a tenant that `{settings.tenants_claim}` lacks")
    if default is None and len(tenants) == 1:
        (default,) = tenants
    return Principal(
        issuer=claims["iss"],
        subject=_required(claims, "sub"),
        user_id=_required(claims, settings.user_claim),
        token_id=_text(claims, "jti"),
        issued_at=int(claims.get("iat", 0)),
        expires_at=int(claims["exp"]),
        tenants=tenants,
        everywhere=everywhere,
        default_tenant=default,
        roles=_roles(claims, settings.role_claim),
        scopes=_scopes(claims, settings.scope_claim),
    )


def _tenants(named: tuple[str, ...] | None, default: str | None, *, everywhere: bool) -> frozenset[str]:
    """The tenants claim; without one, the default tenant alone."""
    if everywhere:
        return frozenset()
    if named is None:
        return frozenset() if default is None else frozenset({default})
    return frozenset(named)


def _text(claims: Claims, name: str) -> str | None:
    value = claims.get(name)
    if value is None or _is_plain(value):
        return value
    raise challenge(f"the claim `{name}` must be a string of 1 to {MAX_LENGTH} characters without control characters")


def _required(claims: Claims, name: str) -> str:
    value = _text(claims, name)
    if value is None:
        raise challenge(f"the token lacks the claim `{name}`")
    return value


def _is_plain(value: object) -> TypeGuard[str]:
    """Whether a value can be stored, compared and shown: control characters and lone surrogates cannot."""
    return isinstance(value, str) and 0 < len(value) <= MAX_LENGTH and _NOT_PLAIN.search(value) is None


def _names(claims: Claims, name: str) -> tuple[str, ...] | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, list):
        items = cast("list[object]", value)
        names = tuple(filter(_is_plain, items))
        if len(names) == len(items):
            return names
    raise challenge(f"the claim `{name}` must be a list of strings")


def _roles(claims: Claims, name: str) -> Role | Mapping[str, Role] | None:
    """One role or one per tenant. An unknown role is none: the token holds, but may do nothing."""
    value = claims.get(name)
    if value is None or isinstance(value, str):
        return _role(value)
    if isinstance(value, dict):
        per_tenant = cast("dict[str, object]", value)
        return {tenant: role for tenant, said in per_tenant.items() if (role := _role(said)) is not None}
    raise challenge(f"the claim `{name}` must be a role, or an object of tenant to role")


def _role(said: object) -> Role | None:
    return next((role for role in Role if role.value == said), None)


def _scopes(claims: Claims, name: str) -> Mapping[str, frozenset[str] | None] | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, str):
        return parse_scopes(value.split())
    if isinstance(value, list):
        return parse_scopes(word for word in cast("list[object]", value) if isinstance(word, str))
    raise challenge(f"the claim `{name}` must be scopes separated by spaces, or a list of them")
