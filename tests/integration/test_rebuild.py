"""An index made anew on request, while a worker goes on indexing: finished, cancelled, and broken off by a crash."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import asyncpg
import pytest

from doors import Door
from factories import event
from stored_events import fill_log
from tallystick.adapters.tantivy.index import TantivyIndex
from tallystick.followers.embedded import EmbeddedQueue
from tallystick.followers.engine import FollowerEngine, Pace
from tallystick.followers.listening import WakeUpListener
from tallystick.jobs.runner import JobRunner
from tallystick.log.source import LogSource
from tallystick.ports import ForgettingIndex, Hits, IndexState, SearchIndex, SearchRequest
from tallystick.query.terms import Document
from tallystick.search.follower import NAME, IndexFollower, Turns
from tallystick.search.jobs import REBUILD_INDEX, IndexRebuild
from tallystick.search.verifying import Findings, verify

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

DEADLINE = 60.0
EVENTS = 2_400
BATCH = 1_000
PACE = Pace(stretch_events=2_500, batch_seconds=0.05, few_events=0, lease_seconds=1.0, sweep_seconds=0.2)


@dataclass
class Held:
    """An index that takes so many batches of a generation, and the next when it is told to go on."""

    index: ForgettingIndex
    batches: int
    begun: list[int] = field(default_factory=list[int])
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    goes_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def append(
        self,
        log_id: int,
        documents: Sequence[Document],
        *,
        through: int,
        after: int = -1,
        generation: str | None = None,
    ) -> int:
        if generation is not None:
            if len(self.begun) == self.batches:
                self.stopped.set()
                await self.goes_on.wait()
            self.begun.append(documents[0].seq)
        return await self.index.append(log_id, documents, through=through, after=after, generation=generation)

    async def search(self, log_id: int, request: SearchRequest) -> Hits:
        return await self.index.search(log_id, request)

    async def state(self, log_id: int, *, generation: str | None = None) -> IndexState:
        return await self.index.state(log_id, generation=generation)

    async def swap(self, log_id: int, generation: str) -> None:
        await self.index.swap(log_id, generation)

    async def drop(self, log_id: int, *, generation: str | None = None) -> None:
        await self.index.drop(log_id, generation=generation)

    async def forget(self, log_id: int, seqs: Sequence[tuple[int, int]], *, generation: str | None = None) -> None:
        await self.index.forget(log_id, seqs, generation=generation)

    async def purge(self, log_id: int) -> bool:
        return await self.index.purge(log_id)


@dataclass(frozen=True)
class Tenant:
    """The tenant acme over HTTP, and its log."""

    door: Door
    log_id: int

    @property
    def folder(self) -> Path:
        return self.door.services.settings.home / "search" / str(self.log_id)

    async def rebuild(self) -> str:
        answer = await self.door.client.post("/api/v1/jobs", json={"kind": REBUILD_INDEX}, headers=self.door.bearer())
        assert answer.status_code == 202, answer.text
        return answer.json()["id"]

    async def cancel(self, job_id: str) -> None:
        answer = await self.door.client.post(f"/api/v1/jobs/{job_id}/cancel", headers=self.door.bearer())
        assert answer.status_code == 202, answer.text

    async def until(self, job_id: str, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Look at a job until something holds of it."""
        headers = self.door.bearer()
        async with asyncio.timeout(DEADLINE):
            while True:
                job = (await self.door.client.get(f"/api/v1/jobs/{job_id}", headers=headers)).json()
                if condition(job):
                    return job
                await asyncio.sleep(0.05)

    async def append(self, action: str, events: int) -> None:
        answer = await self.door.client.post(
            "/api/v1/logs/bulk", json=[event(action=action) for _ in range(events)], headers=self.door.bearer()
        )
        assert answer.status_code == 201, answer.text

    async def found(self, q: str) -> int:
        answer = await self.door.client.get(
            "/api/v1/logs", params={"q": q, "limit": 1000}, headers=self.door.bearer("auditor")
        )
        assert answer.status_code == 200, answer.text
        assert answer.json()["complete"]
        return len(answer.json()["items"])

    async def compare(self, index: SearchIndex, through: int) -> Findings:
        """Compare log and index, once that is complete through a seq."""
        async with asyncio.timeout(DEADLINE):
            while (await index.state(self.log_id)).through < through:  # noqa: ASYNC110  # an index has no signal
                await asyncio.sleep(0.05)
        source = LogSource(self.door.services.database)
        return await verify(index, source, self.log_id, (), lambda _, __: None)


@pytest.fixture
async def tenant(door: Door, owner: Connection) -> Tenant:
    state = await door.services.directory.find("acme")
    assert state is not None
    await fill_log(owner, state.logs["events"], EVENTS, action="login", metadata={"order": "needle 7"})
    return Tenant(door, state.logs["events"])


@asynccontextmanager
async def working(tenant: Tenant, batches: int = EVENTS) -> AsyncGenerator[Held]:
    """A worker that follows the logs and runs jobs, until it is killed at the end of the block."""
    services = tenant.door.services
    database, source = services.database, LogSource(services.database)
    async with TantivyIndex(services.settings.home / "search", services.settings.search) as tantivy:
        index = Held(tantivy, batches)
        queue = EmbeddedQueue(database, [NAME])
        handlers = {REBUILD_INDEX: IndexRebuild(index, source, database, Turns(), batch_events=BATCH)}
        loops = (
            WakeUpListener(
                queue, [FollowerEngine(IndexFollower(index, database, Turns()), source, database, PACE)], rest=0.02
            ).run,
            JobRunner(database, queue, handlers, lease_seconds=1.0, sweep_seconds=0.2, pause_seconds=0.1).run,
        )
        tasks = [asyncio.create_task(loop()) for loop in loops]
        try:
            yield index
        finally:
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(end, asyncio.CancelledError) for end in ends), ends


async def test_what_arrives_meanwhile_is_in_the_new_index_too(tenant: Tenant) -> None:
    async with working(tenant, batches=1) as index:
        assert (await tenant.compare(index, EVENTS - 1)).agree
        job_id = await tenant.rebuild()
        await asyncio.wait_for(index.stopped.wait(), DEADLINE)
        job = await tenant.until(job_id, lambda job: job["progress"]["done"] > 0)
        assert (job["state"], job["progress"]["done"], job["progress"]["total"]) == ("running", BATCH, EVENTS)
        assert job["progress"]["fraction"] == pytest.approx(BATCH / EVENTS, abs=0.0001)
        await tenant.append("meanwhile", 300)
        assert await tenant.found("meanwhile") == 300
        assert (await tenant.compare(index, EVENTS + 299)).agree
        assert await tenant.rebuild() == job_id
        index.goes_on.set()
        ended = await tenant.until(job_id, lambda job: job["finished_at"] is not None)
        assert (ended["state"], ended["attempts"], ended["error"]) == ("succeeded", 1, None)
        assert ended["progress"] == {"done": EVENTS + 300, "total": EVENTS + 300, "fraction": 1.0}
        await tenant.append("afterwards", 20)
        findings = await tenant.compare(index, EVENTS + 319)
        assert findings.agree, findings
        assert findings.events == (await index.state(tenant.log_id)).documents == EVENTS + 320
    assert (tenant.folder / "live").read_text() == f"job-{job_id}"
    assert await tenant.found("meanwhile") == 300
    assert await tenant.found("afterwards") == 20


async def test_a_cancelled_rebuild_leaves_the_index_as_it_was(tenant: Tenant) -> None:
    async with working(tenant, batches=1) as index:
        await tenant.compare(index, EVENTS - 1)
        live = (tenant.folder / "live").read_text()
        job_id = await tenant.rebuild()
        await asyncio.wait_for(index.stopped.wait(), DEADLINE)
        assert (tenant.folder / f"job-{job_id}").exists()
        await tenant.cancel(job_id)
        ended = await tenant.until(job_id, lambda job: job["finished_at"] is not None)
        assert (ended["state"], ended["cancel_requested"]) == ("cancelled", True)
        assert not (tenant.folder / f"job-{job_id}").exists()
        await tenant.append("afterwards", 20)
        assert (await tenant.compare(index, EVENTS + 19)).agree
        assert (tenant.folder / "live").read_text() == live
        assert await tenant.rebuild() != job_id


async def test_a_rebuild_goes_on_where_its_worker_stopped(tenant: Tenant) -> None:
    job_id = await tenant.rebuild()
    async with working(tenant, batches=2) as index:
        await asyncio.wait_for(index.stopped.wait(), DEADLINE)
        await tenant.until(job_id, lambda job: job["progress"]["done"] == 2 * BATCH)
    assert index.begun == [0, BATCH]
    async with working(tenant) as index:
        ended = await tenant.until(job_id, lambda job: job["finished_at"] is not None)
        assert (ended["state"], ended["attempts"]) == ("succeeded", 1)
        assert index.begun == [2 * BATCH]
        findings = await tenant.compare(index, EVENTS - 1)
        assert findings.agree, findings
        assert findings.events == EVENTS
