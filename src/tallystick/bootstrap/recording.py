"""An access log for whoever is no API process: the command line and the worker record what they do, too."""

import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry

from tallystick.access_log.backlog import AccessMetrics
from tallystick.access_log.service import AccessLog
from tallystick.auth.keys import SigningKeys
from tallystick.database.pools import Database
from tallystick.log.retries import Digests
from tallystick.log.writer import Writer, WriterMetrics
from tallystick.settings import Settings
from tallystick.tenants.directory import TenantDirectory


@asynccontextmanager
async def access_log(
    settings: Settings,
    database: Database,
    directory: TenantDirectory | None = None,
    registry: CollectorRegistry | None = None,
) -> AsyncGenerator[AccessLog]:
    """Record until the block ends, and store what waits then.

    Args:
        settings: Of the installation.
        database: Where access logs are.
        directory: Knows their tenants; one of its own when None, which follows nothing: for what is soon over.
        registry: Where metrics are kept; nobody looks at those of what is soon over.

    Raises:
        UnavailableError: The database does not answer.
    """
    registry = CollectorRegistry() if registry is None else registry
    # Its events have no retry keys, so no key of the installation's is needed.
    digests = Digests(SigningKeys("none", {"none": secrets.token_bytes(32)}))
    writer = Writer(database, settings.writer, digests, WriterMetrics(registry))
    if directory is None:
        directory = TenantDirectory(database, settings.auth.freshness)
        await directory.refresh()
    await writer.start()
    try:
        log = AccessLog(writer, directory, AccessMetrics(registry))
        async with log.running():
            yield log
    finally:
        await writer.close()
