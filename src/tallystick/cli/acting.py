"""What a person does at the command line is recorded in the access logs, as the API's requests are."""

import getpass
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from tallystick.access_log.model import Actor, Deed
from tallystick.bootstrap.recording import access_log
from tallystick.database.pools import Database
from tallystick.settings import Settings
from tallystick.tenants.directory import TenantDirectory


def account() -> str:
    """The account that runs the command: its name, or its number where it has none, as in some containers."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return str(os.getuid())


def operator() -> Actor:
    """Who sits at the command line, as the system names them."""
    return Actor(issuer="tallystick:cli", subject=account())


@asynccontextmanager
async def acting(
    settings: Settings,
    database: Database,
    deed: Deed,
    *tenant_ids: str,
    directory: TenantDirectory | None = None,
) -> AsyncGenerator[dict[str, object]]:
    """Record an act around the block that does it; see `AccessLog.act`.

    Raises:
        UnavailableError: The database does not answer: nothing is done.
    """
    async with access_log(settings, database, directory) as log, log.act(operator(), deed, *tenant_ids) as told:
        yield told
