"""What the first start makes: schema, first tenant, keys, and a token to begin with. Every start completes it."""

import time
from collections.abc import Callable
from pathlib import Path

import jwt

from tallystick.auth.keys import Keyring, load_or_create
from tallystick.auth.model import Role
from tallystick.auth.service import TokenGrant, create_token, write_secret
from tallystick.database.migrate import migrate
from tallystick.database.outage import as_database_down
from tallystick.database.pools import Database
from tallystick.settings import Settings
from tallystick.tenants.queries import get_tenant, insert_tenant

FIRST_TENANT = "default"
ADMIN = "admin"

_TOKEN_LIFE = 365 * 86_400
_RENEWED_BEFORE = 7 * 86_400


async def prepare_database(settings: Settings, report: Callable[[str], None]) -> None:
    """Migrate, and make the first tenant where there is none by its name.

    Args:
        settings: With the database's URL.
        report: Told of each step that did something.

    Raises:
        ConfigurationError: As `migrate` raises it.
        DatabaseDownError: An external database does not answer.
    """
    async with as_database_down():
        await migrate(settings.database, report)
    async with Database.from_settings(settings.database) as database, database.control_session() as connection:
        if await get_tenant(connection, FIRST_TENANT) is None:
            await insert_tenant(connection, FIRST_TENANT, "Default", {})
            report(f"tenant {FIRST_TENANT} made")


def ensure_admin_token(settings: Settings, file: Path, report: Callable[[str], None]) -> None:
    """Make the keys and a platform admin's token; an old one is replaced when it expires soon or lost its key."""
    keyring = load_or_create(settings.key_folder)
    if _holds(file, keyring):
        return
    grant = TokenGrant(subject=ADMIN, role=Role.ADMIN, platform=True, default_tenant=FIRST_TENANT, ttl=_TOKEN_LIFE)
    write_secret(file, create_token(settings.auth, keyring, grant).token + "\n")
    report("token of a platform admin made")


def _holds(file: Path, keyring: Keyring) -> bool:
    try:
        token = file.read_text().strip()
        key_id = jwt.get_unverified_header(token).get("kid")
        expires_at = jwt.decode(token, options={"verify_signature": False}).get("exp", 0)
    except (OSError, jwt.InvalidTokenError):
        return False
    return key_id in keyring.token_signing.keys and expires_at > time.time() + _RENEWED_BEFORE
