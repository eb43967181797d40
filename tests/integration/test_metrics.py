"""What `/metrics` shows: of the API and of the worker, each stage counted, and every name documented."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from doors import open_door
from factories import event
from sqs_queues import kill_messages, queue_settings
from tallystick.adapters.sqs.queue import SqsQueue
from tallystick.database.metrics import PoolMetrics
from tallystick.database.pools import Database
from tallystick.errors import DatabaseDownError
from tallystick.followers.metrics import QueueMetrics
from tallystick.runtime.servers.local import free_port
from tallystick.settings import DatabaseSettings, Settings, WorkerSettings
from working import hurried, working

DEADLINE = 30.0
REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"

Look = Callable[[], Awaitable[str]]


def value(text: str, name: str, **labels: str) -> float | None:
    """A sample; None where there is none."""
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return sample.value
    return None


async def until(look: Look, wanted: Callable[[str], bool]) -> str:
    """What is shown, once it is as wanted."""
    async with asyncio.timeout(DEADLINE):
        while not wanted(text := await look()):  # noqa: ASYNC110  # metrics tell nobody that they changed
            await asyncio.sleep(0.05)
    return text


def shown(text: str) -> set[str]:
    """The names as the page has them."""
    names = {family.name for family in text_string_to_metric_families(text)}
    return {name for name in names if name.startswith("tallystick_") and not name.endswith("_created")}


def documented() -> set[str]:
    page = REFERENCE.read_text().partition("## Of the isolation probe")[0]
    return set(re.findall(r"^\| `(tallystick_[a-z_]+)`", page, re.MULTILINE))


async def test_each_stage_is_counted_and_every_name_is_documented(settings: Settings) -> None:
    port = free_port()
    settings = hurried(settings).model_copy(update={"worker": WorkerSettings(metrics_port=port)})
    async with (
        working(settings),
        open_door(settings) as door,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=DEADLINE) as watcher,
    ):
        await door.make_tenant("acme")
        for _ in range(3):
            await door.client.post("/api/v1/logs", json=event(message="lorem"), headers=door.bearer())

        await door.services.keys.of("acme")

        async def look_at_worker() -> str:
            return (await watcher.get("/metrics")).text

        def all_indexed(text: str) -> bool:
            return (value(text, "tallystick_follower_events_total", follower="search") or 0) >= 3

        worker = await until(look_at_worker, all_indexed)
        assert (await door.client.get("/api/v1/logs?q=lorem", headers=door.bearer())).status_code == 200
        api = (await door.client.get("/metrics")).text
        assert (await watcher.get("/healthz")).status_code == 200
        assert (await watcher.get("/readyz")).status_code == 200

    accepted, stored = value(api, "tallystick_accepted_events_total"), value(api, "tallystick_appended_events_total")
    assert accepted is not None
    assert stored is not None
    assert accepted >= stored >= 3
    assert value(api, "tallystick_searches_total", complete="true") == 1
    assert value(api, "tallystick_pool_most_connections", pool="reader") == settings.database.reader_connections
    assert value(api, "tallystick_pool_used_connections", pool="reader") == 0
    assert (value(api, "tallystick_pool_wait_seconds_count", pool="control") or 0) > 0
    assert (value(api, "tallystick_key_ring_seconds_count", operation="wrap") or 0) > 0
    assert (value(worker, "tallystick_follower_delay_seconds_count", follower="search") or 0) >= 1
    assert value(worker, "tallystick_queue_messages", queue="jobs", state="waiting") == 0
    assert "process_resident_memory_bytes" in worker
    assert shown(api) | shown(worker) == documented()


async def test_a_pool_that_is_used_up_shows_it(database_settings: DatabaseSettings) -> None:
    registry = CollectorRegistry()
    narrow = database_settings.model_copy(update={"reader_connections": 1, "acquire_timeout": 1.0})
    async with Database.from_settings(narrow, PoolMetrics(registry)) as pools, pools.log_session(1):
        assert registry.get_sample_value("tallystick_pool_used_connections", {"pool": "reader"}) == 1
        with pytest.raises(DatabaseDownError):
            await pools.log_fetch("read_places", 1, [], [])
        assert registry.get_sample_value("tallystick_pool_failures_total", {"pool": "reader"}) == 1
    assert registry.get_sample_value("tallystick_pool_used_connections", {"pool": "reader"}) == 0


async def test_what_fails_inside_a_session_is_no_failure_of_the_pool(database_settings: DatabaseSettings) -> None:
    registry = CollectorRegistry()
    async with Database.from_settings(database_settings, PoolMetrics(registry)) as pools:
        with pytest.raises(DatabaseDownError):
            async with pools.control_session():
                raise TimeoutError
        assert registry.get_sample_value("tallystick_pool_failures_total", {"pool": "control"}) == 0
        assert registry.get_sample_value("tallystick_pool_used_connections", {"pool": "control"}) == 0


async def test_a_database_that_is_away_is_a_failure_of_the_pool() -> None:
    registry = CollectorRegistry()
    nowhere = DatabaseSettings(url=SecretStr("postgresql://nobody@127.0.0.1:1/nothing"))
    async with Database.from_settings(nowhere, PoolMetrics(registry)) as pools:
        with pytest.raises(DatabaseDownError):
            await pools.control_fetch("select 1")
    assert registry.get_sample_value("tallystick_pool_failures_total", {"pool": "control"}) == 1


async def test_the_depth_of_the_queue_is_shown_dead_letters_too(elasticmq_url: str) -> None:
    settings = queue_settings(elasticmq_url)
    registry = CollectorRegistry()

    def depth(state: str) -> float | None:
        return registry.get_sample_value("tallystick_queue_messages", {"queue": "jobs", "state": state})

    async with SqsQueue(settings) as queue:
        await queue.submit("dies")
        await kill_messages(settings, queue, "jobs", 1)
        await queue.submit("waits")
        await queue.submit("taken")
        await queue.receive("jobs", limit=1, wait=1)
        await QueueMetrics(registry).look(queue)
    assert (depth("waiting"), depth("taken"), depth("dead")) == (1, 1, 1)
