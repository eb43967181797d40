"""Which engine searches and which queue tells of work, as the settings say."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from tallystick.adapters.tantivy.index import TantivyIndex
from tallystick.database.pools import Database
from tallystick.followers.embedded import EmbeddedQueue
from tallystick.ports import Queue, SearchIndex
from tallystick.search import follower as search_follower
from tallystick.settings import Settings

if TYPE_CHECKING:
    from tallystick.adapters.sqs.queue import SqsQueue as DeadLetterQueues

FOLLOWERS: Final = (search_follower.NAME,)
"""Names of all followers."""


@asynccontextmanager
async def search_index(settings: Settings) -> AsyncGenerator[SearchIndex]:
    """Open the search index.

    Raises:
        ConfigurationError: Settings of the engine need a person.
    """
    if settings.search.engine == "opensearch":
        # Loaded where it is used alone: it takes a second.
        from tallystick.adapters.opensearch.index import OpenSearchIndex  # noqa: PLC0415

        async with OpenSearchIndex(settings.search) as index:
            yield index
    else:
        async with TantivyIndex(settings.home / "search", settings.search) as index:
            yield index


@asynccontextmanager
async def dead_letters(settings: Settings) -> AsyncGenerator["DeadLetterQueues | None"]:
    """Open the queue that has dead-letter queues; None where the settings name one that has none.

    Raises:
        ConfigurationError: Settings of the queue need a person.
    """
    if settings.queue.kind == "sqs":
        # Loaded where it is used alone: it takes a second.
        from tallystick.adapters.sqs.queue import SqsQueue  # noqa: PLC0415

        async with SqsQueue(settings.queue) as queue:
            yield queue
    else:
        yield None


@asynccontextmanager
async def work_queue(settings: Settings, database: Database) -> AsyncGenerator[Queue]:
    """Open the queue.

    Raises:
        ConfigurationError: Settings of the queue need a person.
    """
    async with dead_letters(settings) as queue:
        yield EmbeddedQueue(database, FOLLOWERS) if queue is None else queue
