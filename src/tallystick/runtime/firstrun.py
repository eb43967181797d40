"""What the first start makes: schema, first tenant, keys, and a token to begin with. Every start completes it."""

import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final, Protocol

import jwt

from tallystick.access_log.model import Deed
from tallystick.auth.keyring import open_keyring
from tallystick.auth.keys import Keyring
from tallystick.auth.model import Role
from tallystick.auth.service import TokenGrant, create_token, write_secret
from tallystick.database.migrate import migrate
from tallystick.database.outage import as_database_down
from tallystick.database.pools import Database
from tallystick.settings import Settings
from tallystick.tenants.directory import TenantDirectory
from tallystick.tenants.model import state_of
from tallystick.tenants.queries import get_tenant, insert_tenant

FIRST_TENANT = "default"
ADMIN = "admin"

_FIRST_NAME: Final = "Default"
_COMMAND: Final = "tallystick up"
_TOKEN_LIFE = 365 * 86_400
_RENEWED_BEFORE = 7 * 86_400


class Acting(Protocol):
    """Records an act around the block that does it; see `cli.acting`, which stands above this."""

    def __call__(
        self,
        settings: Settings,
        database: Database,
        deed: Deed,
        *tenant_ids: str,
        directory: TenantDirectory | None = None,
    ) -> AbstractAsyncContextManager[dict[str, object]]:
        """Record it."""
        ...


async def prepare_database(settings: Settings, acting: Acting, report: Callable[[str], None]) -> None:
    """Migrate, and make the first tenant where there is none by its name.

    Args:
        settings: With the database's URL.
        acting: Records that the tenant is made.
        report: Told of each step that did something.

    Raises:
        ConfigurationError: As `migrate` raises it.
        DatabaseDownError: An external database does not answer.
    """
    async with as_database_down():
        await migrate(settings.database, report)
    async with Database.from_settings(settings.database) as database:
        async with database.control_session() as connection:
            if await get_tenant(connection, FIRST_TENANT) is not None:
                return
        directory = TenantDirectory(database, settings.auth.freshness)
        await directory.refresh()
        deed = Deed(_COMMAND, "tenants.create", "tenant", FIRST_TENANT, {"name": _FIRST_NAME})
        async with acting(settings, database, deed, FIRST_TENANT, directory=directory) as told:
            async with database.control_session() as connection:
                tenant = await insert_tenant(connection, FIRST_TENANT, _FIRST_NAME, {})
            if tenant is not None:
                told["after"] = state_of(tenant)
            await directory.refresh()
        report(f"tenant {FIRST_TENANT} made")


async def ensure_admin_token(settings: Settings, acting: Acting, file: Path, report: Callable[[str], None]) -> None:
    """Make the keys and a platform admin's token; an old one is replaced when it expires soon or lost its key.

    Args:
        settings: With the database's URL.
        acting: Records that the token is made.
        file: Where it is written, for its owner alone to read.
        report: Told of it.
    """
    keyring = open_keyring(settings)
    if _holds(file, keyring):
        return
    grant = TokenGrant(subject=ADMIN, role=Role.ADMIN, platform=True, default_tenant=FIRST_TENANT, ttl=_TOKEN_LIFE)
    created = create_token(settings.auth, keyring, grant)
    asked = {"subject": grant.subject, "role": grant.role.value, "platform": True, "ttl": f"{_TOKEN_LIFE}s"}
    deed = Deed(_COMMAND, "tokens.create", "token", created.token_id, asked)
    async with Database.from_settings(settings.database) as database, acting(settings, database, deed):
        write_secret(file, created.token + "\n")
    report("token of a platform admin made")


def _holds(file: Path, keyring: Keyring) -> bool:
    try:
        token = file.read_text().strip()
        key_id = jwt.get_unverified_header(token).get("kid")
        expires_at = jwt.decode(token, options={"verify_signature": False}).get("exp", 0)
    except (OSError, jwt.InvalidTokenError):
        return False
    return key_id in keyring.token_signing.keys and expires_at > time.time() + _RENEWED_BEFORE
