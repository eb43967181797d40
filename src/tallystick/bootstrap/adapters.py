"""Which engine searches, which queue tells of work, which ring holds the master key, what counts rates: by settings."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry

from tallystick.adapters.tantivy.index import TantivyIndex
from tallystick.auth.counters import ProcessCounters
from tallystick.auth.keys import Keyring
from tallystick.bootstrap.measuring import KeyRingMetrics, MeasuredKeyRing
from tallystick.bootstrap.telemetry import TracedIndex, TracedQueue
from tallystick.database.pools import Database
from tallystick.followers.embedded import EmbeddedQueue
from tallystick.ports import EventIndex, KeyRing, Queue, RateCounters
from tallystick.privacy.local import LocalKeyRing
from tallystick.privacy.service import TenantKeys
from tallystick.privacy.store import DataKeyStore
from tallystick.search import follower as search_follower
from tallystick.settings import Settings
from tallystick.stats import follower as stats_follower
from tallystick.tracing import UNTRACED, Tracing

if TYPE_CHECKING:
    from tallystick.adapters.sqs.queue import SqsQueue as DeadLetterQueues

FOLLOWERS: Final = (search_follower.NAME, stats_follower.NAME)
"""Names of all followers."""


@asynccontextmanager
async def search_index(settings: Settings, tracing: Tracing = UNTRACED) -> AsyncGenerator[EventIndex]:
    """Open the search index.

    Raises:
        ConfigurationError: Settings of the engine need a person.
    """
    async with _engine(settings) as index:
        yield TracedIndex(index, tracing) if tracing.on else index


@asynccontextmanager
async def _engine(settings: Settings) -> AsyncGenerator[EventIndex]:
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
async def work_queue(settings: Settings, database: Database, tracing: Tracing = UNTRACED) -> AsyncGenerator[Queue]:
    """Open the queue. The embedded one carries nothing, so there is nothing of it to trace.

    Raises:
        ConfigurationError: Settings of the queue need a person.
    """
    async with dead_letters(settings) as queue:
        if queue is None:
            yield EmbeddedQueue(database, FOLLOWERS)
        else:
            yield TracedQueue(queue, tracing) if tracing.on else queue


@asynccontextmanager
async def key_ring(settings: Settings, keyring: Keyring) -> AsyncGenerator[KeyRing]:
    """Open the ring of master keys.

    Raises:
        ConfigurationError: Settings of the keys need a person.
    """
    if settings.keys.kind == "kms":
        # Loaded where it is used alone: it takes a second.
        from tallystick.adapters.kms import KmsKeyRing  # noqa: PLC0415

        async with KmsKeyRing(settings.keys) as ring:
            yield ring
    else:
        yield LocalKeyRing(keyring.master)


@asynccontextmanager
async def tenant_keys(
    settings: Settings, database: Database, keyring: Keyring, metrics: KeyRingMetrics | None = None
) -> AsyncGenerator[TenantKeys]:
    """The keys of tenants for one process.

    Raises:
        ConfigurationError: Settings of the keys need a person.
    """
    async with key_ring(settings, keyring) as ring:
        measured = MeasuredKeyRing(ring, metrics or KeyRingMetrics(CollectorRegistry()))
        yield TenantKeys(DataKeyStore(database, measured, settings.keys.cache).load, settings.auth.freshness)


@asynccontextmanager
async def rate_counters(
    settings: Settings, keyring: Keyring, observe: Callable[[float], None]
) -> AsyncGenerator[RateCounters]:
    """Open what counts rates.

    Args:
        settings: Of the installation.
        keyring: The payers' names are hashed with its key for retries.
        observe: Told the seconds in which a shared server counted.

    Raises:
        ConfigurationError: Settings of the shared server need a person.
    """
    if settings.rates.url is None:
        yield ProcessCounters()
        return

    # Loaded where it is used alone: it takes a fifth of a second.
    from tallystick.adapters.valkey import ValkeyCounters  # noqa: PLC0415

    def payer_key() -> bytes:
        held = keyring.retry_digest.current
        return held.secrets[held.active_id]

    async with ValkeyCounters(settings.rates, payer_key, observe) as counters:
        yield counters
