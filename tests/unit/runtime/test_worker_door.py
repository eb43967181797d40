"""The worker's own door, over a real socket."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter

from tallystick.errors import ConfigurationError, DatabaseDownError
from tallystick.runtime.listener import url_of
from tallystick.runtime.pulse import STALL_SECONDS, Pulse
from tallystick.runtime.worker_door import CHECK_TIMEOUT, WorkerDoor, open_worker_socket, serve_door
from tallystick.settings import WorkerSettings

ANY_PORT = WorkerSettings(metrics_port=0)


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def well() -> None:
    return


async def down() -> None:
    raise DatabaseDownError("the database does not answer")


async def hangs() -> None:
    await asyncio.Event().wait()


@asynccontextmanager
async def opened(door: WorkerDoor) -> AsyncGenerator[httpx.AsyncClient]:
    listener = open_worker_socket(ANY_PORT)
    assert listener is not None
    url = url_of(listener)
    serving = asyncio.create_task(serve_door(door, listener))
    try:
        async with httpx.AsyncClient(base_url=url, timeout=30) as client:
            yield client
    finally:
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving


def test_without_a_port_there_is_no_door() -> None:
    assert open_worker_socket(WorkerSettings()) is None


def test_a_port_that_is_taken_is_named_by_its_setting() -> None:
    taken = open_worker_socket(ANY_PORT)
    assert taken is not None
    with taken, pytest.raises(ConfigurationError, match="TALLYSTICK_WORKER__METRICS_PORT"):
        open_worker_socket(WorkerSettings(metrics_port=taken.getsockname()[1]))


async def test_it_shows_the_metrics_of_the_worker() -> None:
    registry = CollectorRegistry()
    Counter("handled", "Handled.", registry=registry).inc(3)
    async with opened(WorkerDoor(registry, Pulse(), well)) as client:
        shown = await client.get("/metrics")
        head = await client.head("/metrics")
        lost = await client.get("/api/v1/logs")
    assert "handled_total 3.0" in shown.text
    assert shown.headers["content-type"].startswith("text/plain")
    assert (head.status_code, head.content) == (200, b"")
    assert lost.status_code == 404


async def test_it_is_alive_while_its_loops_turn() -> None:
    clock = Clock()
    pulse = Pulse(clock)
    followers, jobs = pulse.of("followers"), pulse.of("jobs")
    async with opened(WorkerDoor(CollectorRegistry(), pulse, down)) as client:
        assert (await client.get("/healthz")).json() == {"status": "alive"}
        clock.now += STALL_SECONDS
        jobs()
        assert (await client.get("/healthz")).status_code == 200
        clock.now += 1
        stalled = await client.get("/healthz")
        assert (stalled.status_code, stalled.json()) == (503, {"status": "stalled", "loops": ["followers"]})
        followers()
        assert (await client.get("/healthz")).status_code == 200


@pytest.mark.parametrize(
    ("reach", "told"),
    [(down, "the database does not answer"), (hangs, f"no answer within {CHECK_TIMEOUT:g} s")],
)
async def test_it_is_ready_when_the_database_answers(reach: Callable[[], Awaitable[None]], told: str) -> None:
    async with opened(WorkerDoor(CollectorRegistry(), Pulse(), well)) as client:
        assert (await client.get("/readyz")).json() == {"status": "ready"}
    async with opened(WorkerDoor(CollectorRegistry(), Pulse(), reach)) as client:
        answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()["detail"]) == (503, told)
