"""The removal of a tenant, broken off after any step and gone on with: nothing of it is left, and all of the others."""

import random
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from access_events import outcomes
from appending import append
from conftest import Connection
from doors import Door, open_door
from factories import event
from passing import pass_days
from removals import Traces, left, make_remover, pass_all, removed_seqs, roll_up, stored_leaves
from sealed_events import append_sealed
from stored_events import partitions_back
from tallystick.errors import ConflictError, GoneError
from tallystick.export.jobs import ExportJob
from tallystick.export.whole import WholeExports
from tallystick.jobs.model import Job, JobCancelledError, JobFailedError, JobPostponedError
from tallystick.jobs.queries import find_jobs
from tallystick.objects.store import Objects
from tallystick.privacy.queries import find_keys
from tallystick.retention.cutting import Cutter
from tallystick.retention.guards import Guard, MinimumGuard
from tallystick.retention.model import MinimumRetention, Plan, RemovalRefusedError
from tallystick.retention.offboarding import Offboarding, Terms
from tallystick.settings import RetentionSettings, Settings

BY = {"issuer": "tallystick", "subject": "ada"}
TENANTS = ("acme", "other")
MINIMUM = MinimumRetention(3, 40)


@dataclass
class Installation:
    """Two tenants, of which one is to go, and what removes it."""

    door: Door
    owner: Connection
    logs: Mapping[str, Mapping[str, int]]
    leaves: dict[int, dict[int, bytes]] = field(default_factory=dict[int, dict[int, bytes]])
    traces: Traces = field(default_factory=Traces)
    waits: list[str] = field(default_factory=list[str])

    @property
    def objects(self) -> Objects:
        settings = self.door.services.settings
        return Objects.from_settings(settings.objects, settings.home)

    def offboarding(self, *guards: Guard) -> Offboarding:
        made = self.door.services
        cutter = Cutter(
            made.database,
            make_remover(made.database, made.settings.home, 9),
            (MinimumGuard(made.database, MINIMUM), *guards),
            self.traces,
        )
        exports = WholeExports(made.database, made.jobs, self.objects)
        terms = Terms(timedelta(seconds=10), timedelta(days=20))
        return Offboarding(made.database, exports, cutter, MINIMUM, self.traces, terms)

    async def order(self) -> Job:
        made = self.door.services.offboardings
        job = await made.ask("acme", "the contract ended", None, BY, ("tallystick", "ada"))
        await self.owner.execute("update tallystick.jobs set state = 'running' where id = $1::text::uuid", job.id)
        return await self.job(job.id)

    async def job(self, job_id: str) -> Job:
        async with self.door.services.database.control_session() as connection:
            (job,) = await find_jobs(connection, [job_id])
        return job

    async def follow(self) -> None:
        for logs in self.logs.values():
            for log_id in logs.values():
                await roll_up(self.door.services.database, log_id)
                await pass_all(self.owner, log_id, followers=("search",))

    async def meet(self, wait: JobPostponedError) -> None:
        """Do what a removal waits for."""
        self.waits.append(wait.reason)
        await self.follow()
        made = self.door.services
        exports = ExportJob(made.database, made.exports, self.objects, made.keys, made.settings.exports)
        waiting = await self.owner.fetch(
            "select id::text from tallystick.jobs where kind = 'export' and state = 'queued' order by created_at"
        )
        for row in waiting:
            await self.owner.execute("update tallystick.jobs set state = 'running' where id = $1::text::uuid", row[0])
            await exports.run(await self.job(row[0]), Unheard())
            await self.owner.execute("update tallystick.jobs set state = 'succeeded' where id = $1::text::uuid", row[0])
        ended = await self.owner.execute(
            "update tallystick.jobs set state = 'cancelled' where cancel_requested and state in ('queued', 'running')"
        )
        if not waiting and ended == "UPDATE 0":
            await pass_days(self.owner, 5)

    async def go_on(self, job: Job, most: int | None = None, *guards: Guard) -> int:
        """Go on with a removal, to its end or for so many steps; returns how many there were."""
        done = 0
        while True:
            try:
                async with aclosing(self.offboarding(*guards).steps(await self.job(job.id))) as steps:
                    async for _ in steps:
                        done += 1
                        if done == most:
                            return done
                    return done
            except JobPostponedError as wait:
                await self.meet(wait)

    async def keep_leaves(self) -> None:
        """Remember what the logs of the tenant hold."""
        for log_id in self.logs["acme"].values():
            rows = await self.owner.fetch("select seq, leaf_hash from tallystick.events where log_id = $1", log_id)
            self.leaves.setdefault(log_id, {}).update({row[0]: row[1] for row in rows})

    async def assert_gone(self) -> None:
        for log_id in self.logs["acme"].values():
            size = await self.owner.fetchval("select size from tallystick.logs where id = $1", log_id)
            assert await left(self.owner, log_id) == []
            assert await removed_seqs(self.owner, log_id) == list(range(size))
            stored = await stored_leaves(self.owner, self.door.services.settings.home, log_id)
            assert {seq: stored[seq] for seq in self.leaves[log_id]} == self.leaves[log_id]
            for table in ("rollups", "facet_parts", "facet_spans", "rolled_spans", "retry_keys"):
                statement = f"select count(*) from tallystick.{table} where log_id = $1"  # noqa: S608  # our names
                assert await self.owner.fetchval(statement, log_id) == 0
        assert await find_keys(self.door.services.database, "acme") == []
        assert {key.split("/")[2] async for key in self.objects.keys("tenants/acme")} == {"leaves"}
        await self.door.services.directory.refresh()
        with pytest.raises(GoneError, match="the contract ended"):
            await self.door.services.tenants.get("acme")
        with pytest.raises(ConflictError, match="choose another id"):
            await self.door.services.tenants.create("acme", "Another", {})
        self.door.services.keys.forget("acme")
        with pytest.raises(GoneError, match="erased"):
            await self.door.services.keys.of("acme")
        assert self.traces.milestones[-1] == "tenant removed"

    async def fingerprint(self) -> list[Any]:
        """All that the other tenant has."""
        tables: list[Any] = []
        for log_id in self.logs["other"].values():
            tables.append(await left(self.owner, log_id))
            tables.append(
                await self.owner.fetchval("select count(*) from tallystick.retry_keys where log_id = $1", log_id)
            )
        tables.append(await find_keys(self.door.services.database, "other"))
        home = self.door.services.settings.home / "objects" / "tenants" / "other"
        tables.append({str(path): path.read_bytes() for path in home.rglob("*") if path.is_file()})
        return tables


class Unheard:
    """Progress that nobody looks at."""

    async def report(self, done: int, total: int | None, checkpoint: Mapping[str, Any]) -> None: ...


@asynccontextmanager
async def installed(settings: Settings, owner: Connection) -> AsyncGenerator[Installation]:
    await partitions_back(owner, 140, width=10)
    async with open_door(settings) as door:
        logs: dict[str, Mapping[str, int]] = {}
        for tenant in TENANTS:
            await door.make_tenant(tenant)
            found = await door.services.directory.find(tenant)
            assert found is not None
            logs[tenant] = found.logs
            headers = {**door.bearer("admin", tenant), "idempotency-key": "once"}
            draw = random.Random(tenant)  # noqa: S311  # test data
            for _ in range(3):
                events = [event(action=draw.choice(["login", "view"]), message=tenant) for _ in range(5)]
                answer = await door.client.post("/api/v1/logs/bulk", json=events, headers=headers)
                assert answer.status_code == 201, answer.text
                headers["idempotency-key"] += "-more"
            await append(door, event(), token=door.bearer("admin", tenant))
            await export(door, tenant)
        await append_sealed(door)
        made = Installation(door, owner, logs)
        await made.follow()
        yield made


async def export(door: Door, tenant: str) -> None:
    """An export of the tenant's own."""
    answer = await door.client.post("/api/v1/exports", json={}, headers=door.bearer("admin", tenant))
    assert answer.status_code == 202, answer.text


@pytest.fixture
def settings(settings: Settings) -> Settings:
    retention = RetentionSettings(min_days=3, min_access_days=40, offboarding_keep_days=20)
    return settings.model_copy(update={"retention": retention})


@pytest.mark.parametrize("killed_after", range(31))
async def test_a_removal_killed_after_any_step_comes_to_the_same_end(
    settings: Settings, owner: Connection, killed_after: int
) -> None:
    async with installed(settings, owner) as world:
        job = await world.order()
        await world.keep_leaves()
        await world.meet(JobPostponedError(job.created_at, "the first exports"))
        await outcomes(owner, 1, "other")  # of its export, which no answer waits for
        others = await world.fingerprint()
        if killed_after:
            await world.go_on(job, killed_after)
        await world.keep_leaves()
        assert await world.go_on(job) >= 1
        await world.assert_gone()
        assert await world.fingerprint() == others
        waits = " ".join(dict.fromkeys(world.waits))
        for reason in ("can be restored", "kept for its minimum", "have expired"):
            assert reason in waits


@dataclass(frozen=True)
class Hold:
    """A guard that lets nothing of a log pass."""

    log: str

    async def check(self, plan: Plan) -> None:
        if plan.log == self.log:
            raise RemovalRefusedError("it is held")


async def test_what_a_guard_holds_is_waited_for(settings: Settings, owner: Connection) -> None:
    async with installed(settings, owner) as world:
        job = await world.order()
        for _ in range(24):
            try:
                await all_steps(world, job, Hold("events"))
            except JobPostponedError as wait:
                await world.meet(wait)
        assert world.waits[-1] == "the log events must stay: it is held"
        assert len(await left(owner, world.logs["acme"]["events"])) == 17
        assert await find_keys(world.door.services.database, "acme")
        await world.keep_leaves()
        await world.go_on(job)
        await world.assert_gone()


async def all_steps(world: Installation, job: Job, *guards: Guard) -> None:
    async with aclosing(world.offboarding(*guards).steps(await world.job(job.id))) as steps:
        async for _ in steps:
            pass


async def test_an_export_that_fails_stops_it_until_it_is_ordered_again(settings: Settings, owner: Connection) -> None:
    async with installed(settings, owner) as world:
        job = await world.order()
        await pass_days(owner, 1)
        with pytest.raises(JobPostponedError, match="export of events and access"):
            await all_steps(world, job)
        await owner.execute(
            "update tallystick.jobs set state = 'failed', error = 'it is too large'"
            " where id in (select job_id from tallystick.exports where kept_until is not null)"
        )
        with pytest.raises(JobFailedError, match="events was failed: it is too large"):
            await all_steps(world, job)
        assert (await world.order()).id == job.id
        await owner.execute("update tallystick.jobs set state = 'failed' where id = $1::text::uuid", job.id)
        again = await world.order()
        assert again.id != job.id
        with pytest.raises(JobCancelledError):
            await all_steps(world, job)
        await world.keep_leaves()
        await world.go_on(again)
        await world.assert_gone()


async def test_the_database_itself_lets_nothing_go_too_early(settings: Settings, owner: Connection) -> None:
    async with installed(settings, owner) as world:
        job = await world.order()
        database = world.door.services.database

        async def refused(statement: str, error: type[Exception], match: str) -> None:
            with pytest.raises(error, match=match):
                async with database.worker_session() as connection:
                    await connection.execute(statement)

        call = f"select tallystick.{{}}('{job.id}')"
        early = asyncpg.ObjectNotInPrerequisiteStateError
        await refused(call.format("begin_tenant_removal"), early, "can still be restored")
        await refused(call.format("erase_tenant_keys"), early, "still needed")
        await refused(call.format("finish_tenant_removal"), early, "not erased")
        await owner.execute(
            "update tallystick.offboardings set begun_at = asked_at, exports_until = asked_at where tenant_id = 'acme'"
        )
        await refused(call.format("erase_tenant_keys"), early, "exports of the tenant")
        await owner.execute("update tallystick.exports set removed_at = now() where tenant_id = 'acme'")
        await refused(call.format("erase_tenant_keys"), early, "events of the tenant")
        denied = asyncpg.InsufficientPrivilegeError
        await refused("delete from tallystick.data_keys", denied, "permission denied")
        await refused("delete from tallystick.offboardings", denied, "permission denied")
        await refused("update tallystick.offboardings set begun_at = now()", denied, "permission denied")
        with pytest.raises(early, match="is being removed"):  # as the release before would
            await owner.execute("update tallystick.tenants set suspended_at = null where id = 'acme'")


async def test_restored_at_the_last_moment_nothing_goes(settings: Settings, owner: Connection) -> None:
    async with installed(settings, owner) as world:
        job = await world.order()
        for _ in range(5):
            with pytest.raises(JobPostponedError) as waits:
                await all_steps(world, job)
            await world.meet(waits.value)
        assert "can be restored" in world.waits[-1]
        await owner.execute("update tallystick.offboardings set removal_at = asked_at")
        restored = await world.door.services.offboardings.restore("acme")
        assert (restored.suspended, restored.offboarding) == (False, None)
        with pytest.raises(JobCancelledError):
            await all_steps(world, job)
        kept = await owner.fetch("select deleted_at from tallystick.exports where kept_until is not null")
        assert len(kept) == 2
        assert all(row["deleted_at"] is not None for row in kept)
        assert len(await left(owner, world.logs["acme"]["events"])) == 17
        again = await world.order()
        await world.go_on(again, 3)
        await owner.execute("update tallystick.offboardings set begun_at = asked_at")
        with pytest.raises(ConflictError, match="cannot be undone"):
            await world.door.services.offboardings.restore("acme")
