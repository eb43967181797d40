"""The SQL of revocations."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from tallystick.database.pools import Connection


class Revoked(StrEnum):
    """What a revocation names."""

    TOKEN = "token"  # noqa: S105  (a kind, not a token)
    SUBJECT = "subject"


@dataclass(frozen=True, slots=True)
class Revocation:
    """One row of ``tallystick.revocations``.

    Attributes:
        kind: A single token, or all tokens of a subject that were issued until then.
        issuer: ``iss`` of the tokens.
        value: ``jti`` or ``sub``.
        revoked_at: Since when.
        expires_at: When nothing it refuses can be valid any more, in Unix seconds; infinite when that is not known.
        version: Grows with every change of any row.
    """

    kind: Revoked
    issuer: str
    value: str
    revoked_at: datetime
    expires_at: float
    version: int


async def newest_version(connection: Connection) -> int:
    """The version of the latest change that is still there; 0 when nothing is revoked."""
    return await connection.fetchval("select coalesce(max(version), 0) from tallystick.revocations")


async def changed_since(connection: Connection, version: int) -> list[Revocation]:
    """The revocations added or changed after a version, the oldest first."""
    rows = await connection.fetch(
        """
        select kind, issuer, value, revoked_at, extract(epoch from expires_at)::float8 as expires_at, version
          from tallystick.revocations
         where version > $1
         order by version
        """,
        version,
    )
    return [
        Revocation(
            Revoked(row["kind"]), row["issuer"], row["value"], row["revoked_at"], row["expires_at"], row["version"]
        )
        for row in rows
    ]


async def revoke(connection: Connection, kind: Revoked, issuer: str, value: str, expires_at: float) -> datetime:
    """Revoke from now on, by the database's clock; again on what was revoked before moves the moment forward.

    Args:
        connection: A control session's.
        kind: Token or subject.
        issuer: ``iss`` of the tokens.
        value: ``jti`` or ``sub``.
        expires_at: When the row may be forgotten, in Unix seconds; infinite for never.

    Returns:
        The moment of the revocation.
    """
    return await connection.fetchval(
        """
        insert into tallystick.revocations as held (kind, issuer, value, expires_at)
        values ($1, $2, $3, to_timestamp($4::float8))
        on conflict (kind, issuer, value) do update
           set revoked_at = greatest(held.revoked_at, excluded.revoked_at),
               expires_at = greatest(held.expires_at, excluded.expires_at)
        returning revoked_at
        """,
        kind.value,
        issuer,
        value,
        expires_at,
    )
