"""Retention and cleanup over a real log, index and rollups: what is left is what policy and question say."""

import random
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from factories import make_log
from removals import (
    Traces,
    all_of,
    assert_counted,
    found_seqs,
    index_all,
    left,
    make_job,
    make_remover,
    pass_all,
    removed_seqs,
    roll_up,
    stored_leaves,
)
from stored_events import DAY_US, HOUR_US, Connection, Put, Row, now_us, partitions_back, put
from tallystick.adapters.tantivy.index import TantivyIndex
from tallystick.database.pools import Database
from tallystick.errors import UnavailableError
from tallystick.jobs.model import Job, JobFailedError
from tallystick.log.source import LogSource
from tallystick.objects.store import Objects
from tallystick.query.ast import Everything
from tallystick.query.predicate import compile_predicate
from tallystick.query.timestamps import moment
from tallystick.retention.applying import ApplyRetention
from tallystick.retention.cleanup import Cleanup
from tallystick.retention.forgetting import IndexForgetting
from tallystick.retention.model import MinimumRetention, Plan, RemovalRefusedError, cutoff
from tallystick.retention.tidying import remove_stray_leaves
from tallystick.search.parameters import search_query
from tallystick.settings import ObjectSettings, SearchSettings

TODAY = datetime.now(UTC).date()


@dataclass
class Installation:
    """Logs with an index and rollups that follow them, and what removes from them."""

    database: Database
    owner: Connection
    index: TantivyIndex
    home: Path
    traces: Traces
    damaged: list[int]

    def retention(self, minimum: MinimumRetention = MinimumRetention(0, 0), *guards: Any) -> ApplyRetention:  # noqa: B008  # frozen
        return ApplyRetention(
            self.database, make_remover(self.database, self.home), minimum, guards, self.traces, platform_days=1
        )

    def cleanup(self, minimum: MinimumRetention = MinimumRetention(0, 0), *guards: Any) -> Cleanup:  # noqa: B008  # frozen
        remover = make_remover(self.database, self.home)
        return Cleanup(self.database, LogSource(self.database), remover, minimum, guards, self.traces)

    def forgetting(self) -> IndexForgetting:
        async def report(log_id: int) -> None:
            self.damaged.append(log_id)

        return IndexForgetting(self.database, self.index, report)

    async def follow(self, *log_ids: int) -> None:
        for log_id in log_ids:
            await roll_up(self.database, log_id)
            await index_all(self.database, self.index, self.owner, log_id)

    async def retention_job(self, day: date) -> Job:
        return await make_job(self.owner, "_platform", kind="apply_retention", arguments={"day": day.isoformat()})

    async def assert_holds(self, log_id: int, events: list[Put], kept: list[Put]) -> None:
        """Log, index and rollups hold what is kept; all else is told to be removed, and its leaves are stored."""
        seqs = [event.seq for event in kept]
        gone = [event for event in events if event.seq not in set(seqs)]
        assert await left(self.owner, log_id) == seqs
        assert await removed_seqs(self.owner, log_id) == [event.seq for event in gone]
        leaves = await stored_leaves(self.owner, self.home, log_id)
        assert {event.seq: leaves[event.seq] for event in gone} == {event.seq: event.leaf_hash for event in gone}
        await self.forgetting().forget_all()
        assert await found_seqs(self.index, log_id) == seqs
        assert (await self.index.state(log_id)).through == len(events) - 1
        await assert_counted(self.owner, log_id, kept)


@asynccontextmanager
async def _installed(database: Database, owner: Connection, home: Path) -> AsyncGenerator[Installation]:
    async with TantivyIndex(home / "search", SearchSettings(roll_events=1_000)) as index:
        yield Installation(database, owner, index, home, Traces(), [])


async def policy(owner: Connection, log_id: int, days: int | None) -> None:
    settings = {} if days is None else {"retention": {"events_days": days, "access_days": days}}
    await owner.execute(
        "update tallystick.tenants set settings = $2::text::jsonb"
        " where id = (select tenant_id from tallystick.logs where id = $1)",
        log_id,
        orjson.dumps(settings).decode(),
    )


def varied(begin_us: int, days: int, number: int, draw: random.Random) -> list[Row]:
    """Events that arrive over some days, some of them late."""
    arrivals = sorted(begin_us + draw.randrange(days * DAY_US) // 1_000 * 1_000 for _ in range(number))
    rows: list[Row] = []
    for arrival in arrivals:
        fields: dict[str, object] = {
            "action": draw.choice(["login", "view", "edit"]),
            "resource_type": draw.choice(["invoice", "user"]),
            "severity": draw.choice(["INFO", "ERROR"]),
            "user_id": draw.choice(["ada", "bob", "#eve", "東" * 350]),
            "message": draw.choice(["wrote a line", "read a page"]),
        }
        fields |= {"resource_id": draw.choice(["1", "2"])} if draw.random() < 0.5 else {}
        occurred = arrival - draw.choice([0, 1_000, HOUR_US, 2 * DAY_US])
        rows.append(Row(arrival, occurred, fields))
    return rows


async def test_a_year_leaves_what_the_policies_say(database: Database, owner: Connection, tmp_path: Path) -> None:
    draw = random.Random(7)  # noqa: S311  # test data
    begin = await partitions_back(owner, 370, width=10)
    days = (now_us() - begin) // DAY_US
    policies = [30, 90, 364, None]
    logs: dict[int, list[Put]] = {}
    for kept_days in policies:
        log_id = await make_log(owner)
        await policy(owner, log_id, kept_days)
        logs[log_id] = await put(owner, log_id, varied(begin, days, 250, draw))
    async with _installed(database, owner, tmp_path) as installed:
        await installed.follow(*logs)
        for ago in (330, 329, 200, 91, 31, 1, 0):
            day = TODAY - timedelta(days=ago)
            await all_of(installed.retention().steps(await installed.retention_job(day)))
            for kept_days, (log_id, events) in zip(policies, logs.items(), strict=True):
                since = 0 if kept_days is None else int(cutoff(day, kept_days).timestamp()) * 1_000_000
                kept = [event for event in events if event.received_us >= since]
                await installed.assert_holds(log_id, events, kept)
        assert not installed.damaged


async def _two_logs(owner: Connection, installed: Installation) -> dict[int, list[Put]]:
    begin = await partitions_back(owner, 6)
    draw = random.Random(3)  # noqa: S311  # test data
    logs: dict[int, list[Put]] = {}
    for kept_days in (2, 4):
        log_id = await make_log(owner)
        await policy(owner, log_id, kept_days)
        logs[log_id] = await put(owner, log_id, varied(begin, 6, 60, draw))
    await installed.follow(*logs)
    return logs


@pytest.mark.parametrize("killed_after", [*range(12), 16, 20, 23, 27])
async def test_retention_killed_between_any_two_steps_converges(
    database: Database, owner: Connection, tmp_path: Path, killed_after: int
) -> None:
    async with _installed(database, owner, tmp_path) as installed:
        logs = await _two_logs(owner, installed)
        job = await installed.retention_job(TODAY)
        killed = installed.retention().steps(job)
        async with aclosing(killed):
            for _ in range(killed_after):
                if await anext(killed, None) is None:
                    break
        await all_of(installed.retention().steps(job))
        for kept_days, (log_id, events) in zip((2, 4), logs.items(), strict=True):
            since = int(cutoff(TODAY, kept_days).timestamp()) * 1_000_000
            await installed.assert_holds(log_id, events, [each for each in events if each.received_us >= since])
        await owner.execute("update tallystick.jobs set state = 'succeeded'")
        objects = Objects.from_settings(ObjectSettings(), tmp_path)
        await remove_stray_leaves(database, objects)
        named = {row[0] for row in await owner.fetch("select leaves from tallystick.removed")}
        assert {key async for key in objects.keys("tenants")} == named


async def test_partitions_in_which_nothing_lives_on_are_dropped(
    database: Database, owner: Connection, tmp_path: Path
) -> None:
    async with _installed(database, owner, tmp_path) as installed:
        await _two_logs(owner, installed)
        count = "select count(*) from tallystick.event_partitions() where ends <= date_trunc('day', now())"
        before = await owner.fetchval(count)
        steps = await all_of(installed.retention().steps(await installed.retention_job(TODAY)))
        dropped = [step for step in steps if step.name == "partition dropped"]
        assert len(dropped) == before - await owner.fetchval(count) >= 2
        assert sum(step.events for step in dropped) > 0
        assert len(installed.traces.told) == len(installed.traces.plans)


async def test_the_minimum_holds_over_a_policy(database: Database, owner: Connection, tmp_path: Path) -> None:
    async with _installed(database, owner, tmp_path) as installed:
        logs = await _two_logs(owner, installed)
        await all_of(installed.retention(MinimumRetention(5, 5)).steps(await installed.retention_job(TODAY)))
        since = int(cutoff(TODAY, 5).timestamp()) * 1_000_000
        for log_id, events in logs.items():
            await installed.assert_holds(log_id, events, [each for each in events if each.received_us >= since])


@dataclass
class Hold:
    """A guard that holds a log."""

    log_id: int

    async def check(self, plan: Plan) -> None:
        if plan.log_id == self.log_id:
            raise RemovalRefusedError("it is held")


async def test_a_guard_keeps_what_it_holds_and_no_more(database: Database, owner: Connection, tmp_path: Path) -> None:
    async with _installed(database, owner, tmp_path) as installed:
        (held, events), (other, _) = (await _two_logs(owner, installed)).items()
        retention = installed.retention(MinimumRetention(0, 0), Hold(held))
        await all_of(retention.steps(await installed.retention_job(TODAY)))
        await installed.assert_holds(held, events, events)
        assert await removed_seqs(owner, other)
        job = await _cleanup_job(owner, held, {"before": [_text(now_us())]})
        with pytest.raises(JobFailedError, match="it is held"):
            await all_of(installed.cleanup(MinimumRetention(0, 0), Hold(held)).steps(job))


async def test_a_log_whose_follower_is_behind_keeps_no_other_waiting(
    database: Database, owner: Connection, tmp_path: Path
) -> None:
    async with _installed(database, owner, tmp_path) as installed:
        (behind, _), (other, events) = (await _two_logs(owner, installed)).items()
        await pass_all(owner, behind, -1)
        with pytest.raises(UnavailableError):
            await all_of(installed.retention().steps(await installed.retention_job(TODAY)))
        assert await removed_seqs(owner, behind) == []
        since = int(cutoff(TODAY, 4).timestamp()) * 1_000_000
        await installed.assert_holds(other, events, [each for each in events if each.received_us >= since])


async def test_a_policy_that_is_lengthened_meanwhile_saves_what_is_left(
    database: Database, owner: Connection, tmp_path: Path
) -> None:
    async with _installed(database, owner, tmp_path) as installed:
        (log_id, events), (other, _) = (await _two_logs(owner, installed)).items()
        await policy(owner, log_id, 1)
        await policy(owner, other, None)
        first_day = events[0].received_us // DAY_US
        async with aclosing(installed.retention().steps(await installed.retention_job(TODAY))) as steps:
            async for step in steps:
                if step.name == "batch removed":
                    await policy(owner, log_id, None)
        kept = [each for each in events if each.received_us // DAY_US > first_day]
        assert kept
        await installed.assert_holds(log_id, events, kept)


def _text(us: int) -> str:
    return moment(us).isoformat().replace("+00:00", "Z")


async def _cleanup_job(
    owner: Connection, log_id: int, asked: dict[str, list[str]], received_before_us: int | None = None
) -> Job:
    tenant_id = await owner.fetchval("select tenant_id from tallystick.logs where id = $1", log_id)
    size = await owner.fetchval("select size from tallystick.logs where id = $1", log_id)
    arguments = {
        "asked": asked,
        "received_before_us": received_before_us or now_us() // DAY_US * DAY_US,
        "through_seq": size - 1,
        "reason": "on order",
    }
    return await make_job(owner, tenant_id, log_id=log_id, arguments=arguments)


QUESTIONS: list[dict[str, list[str]]] = [
    {},
    {"action": ["login", "edit"]},
    {"q": ["line -ada"]},
    {"user_id": ["東" * 350]},
    {"user_id": ["#eve"], "q": ["severity:ERROR OR read"]},
    {"action": ["nothing-does-this"]},
]


@pytest.mark.parametrize("asked", QUESTIONS)
@pytest.mark.parametrize("killed_after", [0, 1, 4])
async def test_a_cleanup_takes_what_the_predicate_says(
    database: Database, owner: Connection, tmp_path: Path, asked: dict[str, list[str]], killed_after: int
) -> None:
    draw = random.Random(11)  # noqa: S311  # test data
    begin = await partitions_back(owner, 4)
    log_id = await make_log(owner)
    events = await put(owner, log_id, varied(begin, 4, 120, draw))
    async with _installed(database, owner, tmp_path) as installed:
        await installed.follow(log_id)
        before = begin + 3 * DAY_US
        bound = begin + 2 * DAY_US + 5 * HOUR_US
        job = await _cleanup_job(owner, log_id, {"before": [_text(before)], **asked}, bound)
        killed = installed.cleanup().steps(job)
        async with aclosing(killed):
            for _ in range(killed_after):
                await anext(killed, None)
        await all_of(installed.cleanup().steps(job))
        query = search_query(asked)
        filters, text = compile_predicate(query.listing.filters), compile_predicate(query.text)
        kept = [
            each
            for each in events
            if not (
                each.occurred_us < before
                and each.received_us < bound
                and filters(orjson.loads(each.body))
                and text(orjson.loads(each.body))
            )
        ]
        assert (query.listing.filters, query.text) == (Everything(), Everything()) or asked
        await installed.assert_holds(log_id, events, kept)
        assert installed.traces.told[-1] == len(events) - len(kept)


async def test_a_cleanup_that_is_broken_off_tells_what_it_took(
    database: Database, owner: Connection, tmp_path: Path
) -> None:
    async with _installed(database, owner, tmp_path) as installed:
        ((log_id, _), _) = (await _two_logs(owner, installed)).items()
        job = await _cleanup_job(owner, log_id, {"before": [_text(now_us())]})
        removed = 0
        async with aclosing(installed.cleanup().steps(job)) as steps:
            async for step in steps:
                removed += step.events
                if removed:
                    break
        assert (installed.traces.told, installed.traces.results) == ([removed], ["aborted"])
        await all_of(installed.cleanup().steps(job))
        assert installed.traces.told[1] == len(await removed_seqs(owner, log_id)) > removed
        assert installed.traces.results[1] == "completed"


async def test_a_cleanup_takes_nothing_that_the_minimum_keeps(
    database: Database, owner: Connection, tmp_path: Path
) -> None:
    async with _installed(database, owner, tmp_path) as installed:
        ((log_id, events), _) = (await _two_logs(owner, installed)).items()
        job = await _cleanup_job(owner, log_id, {"before": [_text(now_us())]})
        with pytest.raises(JobFailedError, match="at least"):
            await all_of(installed.cleanup(MinimumRetention(3, 3)).steps(job))
        await installed.assert_holds(log_id, events, events)


async def test_rollups_that_disagree_are_counted_anew(database: Database, owner: Connection, tmp_path: Path) -> None:
    async with _installed(database, owner, tmp_path) as installed:
        ((log_id, events), _) = (await _two_logs(owner, installed)).items()
        await owner.execute("delete from tallystick.rollups where log_id = $1 and minutes = 60", log_id)
        job = await _cleanup_job(owner, log_id, {"before": [_text(now_us())], "action": ["login"]})
        with pytest.raises(UnavailableError):
            await all_of(installed.cleanup().steps(job))
        await roll_up(database, log_id)
        await all_of(installed.cleanup().steps(job))
        bound = now_us() // DAY_US * DAY_US
        kept = [each for each in events if each.received_us >= bound or orjson.loads(each.body)["action"] != "login"]
        await installed.assert_holds(log_id, events, kept)


async def test_an_index_forgets_once_more_after_a_crash(database: Database, owner: Connection, tmp_path: Path) -> None:
    async with _installed(database, owner, tmp_path) as installed:
        ((log_id, _), _) = (await _two_logs(owner, installed)).items()
        job = await _cleanup_job(owner, log_id, {"before": [_text(now_us())], "action": ["login"]})
        await all_of(installed.cleanup().steps(job))
        assert await installed.forgetting().forget(log_id)
        assert not await installed.forgetting().forget(log_id)
        await owner.execute("delete from tallystick.removal_cursors")
        assert await installed.forgetting().forget_all() == 1
        assert await found_seqs(installed.index, log_id) == await left(owner, log_id)
        assert await installed.forgetting().purge_all(7) == 0
        assert installed.damaged == []
        assert await installed.forgetting().purge_all(0) == 0
        assert installed.damaged == [log_id]  # it is to be made anew
