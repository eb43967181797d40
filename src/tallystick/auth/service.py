"""What the operator does with tokens and keys: create, revoke, rotate, list."""

import math
import os
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tallystick.auth.claims import EVERY_TENANT
from tallystick.auth.keys import KeyKind, Keyring
from tallystick.auth.model import Role
from tallystick.auth.queries import Revoked, revoke
from tallystick.auth.scopes import is_scope
from tallystick.database.pools import Database
from tallystick.errors import ConfigurationError
from tallystick.settings import AuthSettings

MAX_TTL: Final = 3650 * 86_400
"""Longest life of a token, in seconds."""

_UNITS: Final = (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1))
_DURATION: Final = re.compile(r"([1-9][0-9]{0,9})([dhms])", re.ASCII)
_LATEST_LEEWAY: Final = 300  # the most that auth.leeway can be


@dataclass(frozen=True, slots=True)
class TokenGrant:
    """What a new token says.

    Attributes:
        subject: ``sub``; also the ``user_id`` of the holder's own events.
        role: The role in each of its tenants.
        tenants: The tenants it may use; empty for a token of the platform.
        platform: It may use every tenant, as what `role` says; with the role admin it is a platform admin's.
        default_tenant: The tenant of requests that name none.
        scopes: What it keeps of the role's permissions; empty for all.
        ttl: Seconds until it expires.
    """

    subject: str
    role: Role
    tenants: Sequence[str] = ()
    platform: bool = False
    default_tenant: str | None = None
    scopes: Sequence[str] = ()
    ttl: int = 90 * 86_400


@dataclass(frozen=True, slots=True)
class CreatedToken:
    """A new token.

    Attributes:
        token: The token itself: a secret.
        token_id: Its ``jti``, by which it can be revoked.
        subject: Its ``sub``.
        key_id: The key it was signed with.
        expires_at: When it expires, in Unix seconds.
    """

    token: str
    token_id: str
    subject: str
    key_id: str
    expires_at: int


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """A key as it may be shown: never its secret."""

    kind: KeyKind
    key_id: str
    active: bool
    created_at: str


def parse_ttl(text: str) -> int:
    """Read ``90d``, ``12h``, ``30m`` or ``45s`` into seconds.

    Raises:
        ConfigurationError: It is of another form, or longer than `MAX_TTL`.
    """
    match = _DURATION.fullmatch(text)
    seconds = int(match[1]) * dict(_UNITS)[match[2]] if match else MAX_TTL + 1
    if seconds > MAX_TTL:
        raise ConfigurationError(f"a token's life is like 90d, 12h, 30m or 45s and at most 3650d; not `{text}`")
    return seconds


def create_token(settings: AuthSettings, keyring: Keyring, grant: TokenGrant) -> CreatedToken:
    """Make and sign a token of the local issuer. Needs no database.

    Raises:
        ConfigurationError: What the token would say does not hold together.
    """
    _check(settings, grant)
    now = int(time.time())
    keys = keyring.token_signing.current
    token_id = secrets.token_urlsafe(16)
    claims: dict[str, Any] = {
        "iss": settings.issuer,
        "aud": settings.audience,
        "sub": grant.subject,
        "jti": token_id,
        "iat": now,
        "nbf": now,
        "exp": now + grant.ttl,
        settings.user_claim: grant.subject,
        settings.tenants_claim: [EVERY_TENANT] if grant.platform else list(grant.tenants),
        settings.role_claim: grant.role.value,
    }
    if grant.default_tenant is not None:
        claims[settings.tenant_claim] = grant.default_tenant
    if grant.scopes:
        claims[settings.scope_claim] = " ".join(grant.scopes)
    key = Ed25519PrivateKey.from_private_bytes(keys.secrets[keys.active_id])
    token = jwt.encode(claims, key, algorithm="EdDSA", headers={"kid": keys.active_id})
    if len(token) > settings.max_token_bytes:
        raise ConfigurationError(
            f"the token would be {len(token)} bytes, over auth.max_token_bytes ({settings.max_token_bytes}): "
            "name fewer tenants or scopes"
        )
    return CreatedToken(token, token_id, grant.subject, keys.active_id, now + grant.ttl)


def _check(settings: AuthSettings, grant: TokenGrant) -> None:
    if "EdDSA" not in settings.algorithms:
        raise ConfigurationError("tokens are signed with EdDSA, which auth.algorithms leaves out")
    if not grant.subject:
        raise ConfigurationError("a token needs a subject")
    if grant.platform == bool(grant.tenants):
        raise ConfigurationError("name the token's tenants, or make it one of the platform: one of the two")
    if not all(grant.tenants) or EVERY_TENANT in grant.tenants:
        raise ConfigurationError("a tenant is named by its id; every tenant is what --platform is for")
    if grant.default_tenant is not None and not grant.platform and grant.default_tenant not in grant.tenants:
        raise ConfigurationError(f"the default tenant `{grant.default_tenant}` is not among the token's tenants")
    for scope in grant.scopes:
        if not is_scope(scope):
            raise ConfigurationError(f"`{scope}` is no scope: name a permission, or `logs:read:resource_type=a,b`")
    if not 0 < grant.ttl <= MAX_TTL:
        raise ConfigurationError("a token lives for at least a second and at most 3650 days")


def write_secret(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all, replacing one that is there.

    Raises:
        ConfigurationError: It cannot be written.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(text)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {error.strerror}") from error


async def revoke_token(
    database: Database,
    settings: AuthSettings,
    token_id: str,
    *,
    issuer: str | None = None,
    expires_at: float = math.inf,
) -> datetime:
    """Refuse one token from now on. Every process does so within ``auth.freshness`` seconds.

    Args:
        database: Where revocations are kept.
        settings: Names the local issuer.
        token_id: The token's ``jti``.
        issuer: The token's ``iss``; the local issuer when None.
        expires_at: The token's ``exp``, after which the revocation may be forgotten; never when it is not known.

    Raises:
        DatabaseDownError: The database does not answer; nothing was revoked.
    """
    async with database.control_session() as connection:
        return await revoke(connection, Revoked.TOKEN, issuer or settings.issuer, token_id, expires_at + _LATEST_LEEWAY)


async def revoke_subject(
    database: Database, settings: AuthSettings, subject: str, *, issuer: str | None = None
) -> datetime:
    """Refuse all tokens of a subject that were issued until now; later ones hold. It is never forgotten.

    Raises:
        DatabaseDownError: The database does not answer; nothing was revoked.
    """
    async with database.control_session() as connection:
        return await revoke(connection, Revoked.SUBJECT, issuer or settings.issuer, subject, math.inf)


def identify(token: str) -> tuple[str, str, float]:
    """Issuer, id and expiry of a token that is to be revoked, without asking whether it holds.

    Raises:
        ConfigurationError: It is no token, or has no ``jti``.
    """
    try:
        claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
        expires_at = float(claims.get("exp", math.inf))
    except (jwt.InvalidTokenError, TypeError, ValueError, OverflowError) as error:
        raise ConfigurationError("this is no token; to revoke by its id use --jti") from error
    issuer, token_id = claims.get("iss"), claims.get("jti")
    if not (isinstance(issuer, str) and isinstance(token_id, str) and math.isfinite(expires_at)):
        raise ConfigurationError("the token has no `iss`, `jti` or `exp`: revoke its subject instead (--subject)")
    return issuer, token_id, expires_at


def list_keys(keyring: Keyring) -> list[KeyEntry]:
    """All keys of all kinds, the newest of each kind last."""
    files = [keyring.token_signing, keyring.cursor_signing, keyring.retry_digest, keyring.master, keyring.hs256]
    entries: list[KeyEntry] = []
    for file in filter(None, files):
        held = file.current
        made = held.created_at
        entries += [
            KeyEntry(file.kind, kid, kid == held.active_id, made[kid])
            for kid in sorted(held.secrets, key=made.__getitem__)
        ]
    return entries
