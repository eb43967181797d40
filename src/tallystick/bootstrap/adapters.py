"""Which engine searches and which queue tells of work, as the settings say."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

from tallystick.adapters.tantivy.index import TantivyIndex
from tallystick.database.pools import Database
from tallystick.errors import ConfigurationError
from tallystick.followers.embedded import EmbeddedQueue
from tallystick.ports import Queue, SearchIndex
from tallystick.search import follower as search_follower
from tallystick.settings import Settings

FOLLOWERS: Final = (search_follower.NAME,)
"""Names of all followers."""


@asynccontextmanager
async def search_index(settings: Settings) -> AsyncGenerator[SearchIndex]:
    """Open the search index.

    Raises:
        ConfigurationError: The settings name an engine that is not there.
    """
    if settings.search.engine != "tantivy":
        raise ConfigurationError(f"this release has no search engine {settings.search.engine}")
    async with TantivyIndex(settings.home / "search", settings.search) as index:
        yield index


@asynccontextmanager
async def work_queue(settings: Settings, database: Database) -> AsyncGenerator[Queue]:
    """Open the queue.

    Raises:
        ConfigurationError: The settings name a queue that is not there.
    """
    if settings.queue.kind != "embedded":
        raise ConfigurationError(f"this release has no queue {settings.queue.kind}")
    yield EmbeddedQueue(database, FOLLOWERS)
