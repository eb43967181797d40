"""Removal: leaf hashes first, then the events, in batches, and only what everybody has passed."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from factories import make_log
from removals import all_of, left, make_job, make_remover, pass_all, stored_leaves
from stored_events import DAY_US, Connection, Put, Row, fill_log, now_us, partitions_back, put
from tallystick.database.pools import Connection as Pooled
from tallystick.database.pools import Database
from tallystick.log.removal import Doomed, FollowersBehindError, OthersRemovedError, gone_through
from tallystick.log.removal_queries import Leaf, Orders, Partition, find_partitions, logs_in
from tallystick.log.source import LogSource
from tallystick.query.timestamps import microseconds, moment
from tallystick.stats.removal_queries import hold_cursor


async def scene(owner: Connection, days: int = 3, a_day: int = 20) -> tuple[Doomed, list[Put], datetime]:
    """A log with some events on each of several days; when the first day begins."""
    begin = await partitions_back(owner, days)
    log_id = await make_log(owner)
    tenant_id: str = await owner.fetchval("select tenant_id from tallystick.logs where id = $1", log_id)
    rows = [Row(begin + day * DAY_US + n * 1_000, begin + day * DAY_US) for day in range(days) for n in range(a_day)]
    events = await put(owner, log_id, rows)
    await pass_all(owner, log_id)
    return Doomed(tenant_id, log_id), events, moment(begin)


async def test_a_prefix_goes_and_its_leaves_stay(database: Database, owner: Connection, tmp_path: Path) -> None:
    log, events, begin = await scene(owner)
    orders = Orders((await make_job(owner, log.tenant_id)).id, "retention")
    steps = await all_of(make_remover(database, tmp_path).remove_before(log, begin + timedelta(days=2), orders))
    assert sum(step.events for step in steps) == 40
    assert steps[0].name == "leaves stored"
    assert await left(owner, log.log_id) == list(range(40, 60))
    assert await stored_leaves(owner, tmp_path, log.log_id) == {each.seq: each.leaf_hash for each in events[:40]}
    (removed,) = await LogSource(database).removed(log.log_id, -1, 59)
    assert (removed.first_seq, removed.last_seq, removed.reason) == (0, 39, "retention")
    assert await all_of(make_remover(database, tmp_path).remove_before(log, begin + timedelta(days=2), orders)) == []


@pytest.mark.parametrize("steps", range(7))
async def test_killed_after_any_step_it_comes_to_the_same_end(
    database: Database, owner: Connection, tmp_path: Path, steps: int
) -> None:
    log, events, begin = await scene(owner)
    orders, before = Orders((await make_job(owner, log.tenant_id)).id, "retention"), begin + timedelta(days=2)
    killed = make_remover(database, tmp_path).remove_before(log, before, orders)
    for _ in range(steps):
        await anext(killed)
    await killed.aclose()
    await all_of(make_remover(database, tmp_path).remove_before(log, before, orders))
    assert await left(owner, log.log_id) == list(range(40, 60))
    leaves = await stored_leaves(owner, tmp_path, log.log_id)
    assert {seq: leaves[seq] for seq in range(40)} == {each.seq: each.leaf_hash for each in events[:40]}
    counted = await owner.fetchval(
        "select sum(upper(part) - lower(part)) from tallystick.removed cross join unnest(seqs) as part"
        " where log_id = $1",
        log.log_id,
    )
    assert counted == 40


async def entries_read(database: Database, owner: Connection) -> int:
    """How many entries of the indexes of events were looked at so far, those of dead rows included."""
    for session in (database.log_session(0), database.worker_session()):
        async with session as connection:
            await connection.execute("select pg_stat_force_next_flush()")
    return await owner.fetchval(
        "select sum(idx_tup_read)::bigint from pg_stat_user_indexes where relname like 'events\\_%'"
    )


async def test_whoever_looks_for_what_is_left_passes_what_is_gone(
    database: Database, owner: Connection, tmp_path: Path
) -> None:
    log, _, begin = await scene(owner, days=1, a_day=2_000)
    other = await make_log(owner)
    await put(owner, other, [Row(microseconds(begin) + n * 1_000, microseconds(begin)) for n in range(2_000)])
    partition = Partition("", begin, begin + timedelta(days=1))
    orders = Orders((await make_job(owner, log.tenant_id)).id, "retention")
    remover = make_remover(database, tmp_path, batch=500)
    assert await gone_through(database, log.log_id) + 1 == 0
    await all_of(remover.remove_before(log, partition.ends, orders))
    assert await gone_through(database, log.log_id) + 1 == 2_000
    before = await entries_read(database, owner)
    async with database.worker_session() as connection:
        assert await logs_in(connection, partition) == [other]
    assert await all_of(remover.remove_before(log, partition.ends, orders)) == []
    await all_of(remover.prepare_drop(partition, log, orders))
    assert await entries_read(database, owner) - before < 100


async def test_what_was_removed_amid_a_log_is_not_its_beginning(
    database: Database, owner: Connection, tmp_path: Path
) -> None:
    log, events, begin = await scene(owner)
    orders = Orders((await make_job(owner, log.tenant_id)).id, "retention")
    remover = make_remover(database, tmp_path)
    leaves = [Leaf(each.seq, moment(each.received_us), each.leaf_hash) for each in events]
    await all_of(remover.remove(log, [*leaves[:3], leaves[5]], orders))
    assert await gone_through(database, log.log_id) + 1 == 0  # nobody says that it was a prefix
    await all_of(remover.remove_before(log, begin + timedelta(days=1), orders))
    assert await gone_through(database, log.log_id) + 1 == 20
    await all_of(remover.remove_before(log, begin + timedelta(hours=1), orders))
    assert await gone_through(database, log.log_id) + 1 == 20
    assert await left(owner, log.log_id) == list(range(20, 60))


async def test_what_waits_for_a_follower_is_left(database: Database, owner: Connection, tmp_path: Path) -> None:
    log, _, begin = await scene(owner)
    orders = Orders((await make_job(owner, log.tenant_id)).id, "retention")
    remover = make_remover(database, tmp_path)
    await pass_all(owner, log.log_id, 12)
    with pytest.raises(FollowersBehindError):
        await all_of(remover.remove_before(log, begin + timedelta(days=1), orders))
    assert await gone_through(database, log.log_id) + 1 == (await left(owner, log.log_id))[0] > 0
    await pass_all(owner, log.log_id)
    await all_of(remover.remove_before(log, begin + timedelta(days=1), orders))
    assert await left(owner, log.log_id) == list(range(20, 60))


async def test_nothing_goes_before_every_follower_has_passed_it(
    database: Database, owner: Connection, tmp_path: Path
) -> None:
    log, _, begin = await scene(owner)
    orders = Orders((await make_job(owner, log.tenant_id)).id, "retention")
    remover = make_remover(database, tmp_path)
    await owner.execute("update tallystick.cursors set seq = 12 where follower = 'rollups' and log_id = $1", log.log_id)
    with pytest.raises(FollowersBehindError):
        await all_of(remover.remove_before(log, begin + timedelta(days=2), orders))
    assert await left(owner, log.log_id) == list(range(13, 60))
    await owner.execute("delete from tallystick.cursors where follower = 'search' and log_id = $1", log.log_id)
    with pytest.raises(FollowersBehindError):
        await all_of(remover.remove_before(log, begin + timedelta(days=2), orders))
    leaves = [Leaf(13, begin, b"")]
    with pytest.raises(FollowersBehindError):
        await all_of(remover.remove(log, leaves, orders))


async def test_who_removes_beside_another_begins_anew(database: Database, owner: Connection, tmp_path: Path) -> None:
    log, events, _ = await scene(owner)
    orders = Orders((await make_job(owner, log.tenant_id)).id, "on order")
    remover = make_remover(database, tmp_path)
    leaves = [Leaf(each.seq, moment(each.received_us), each.leaf_hash) for each in events[:5]]

    async def beside(connection: Pooled, batch: Sequence[Leaf]) -> None:
        assert batch
        await connection.execute("select 1")

    await all_of(remover.remove(log, leaves[:2], orders))
    with pytest.raises(OthersRemovedError):
        await all_of(remover.remove(log, leaves, orders, beside))
    assert await left(owner, log.log_id) == list(range(2, 60))


async def test_two_who_remove_from_a_log_do_not_wait_for_each_other(
    database: Database, owner: Connection, tmp_path: Path
) -> None:
    log, events, _ = await scene(owner)
    orders = Orders((await make_job(owner, log.tenant_id)).id, "debug")
    leaves = [Leaf(each.seq, moment(each.received_us), each.leaf_hash) for each in events[:5]]

    async def beside(connection: Pooled, _: Sequence[Leaf]) -> None:
        await hold_cursor(connection, "rollups", log.log_id)

    async with owner.transaction():
        await owner.execute("select pg_advisory_xact_lock(hashtext('tallystick.removal'), $1)", log.log_id)
        removing = asyncio.create_task(all_of(make_remover(database, tmp_path).remove(log, leaves, orders, beside)))
        async with asyncio.timeout(20):
            while not await owner.fetchval(  # noqa: ASYNC110  # a lock gives no signal
                "select count(*) from pg_locks join pg_database on pg_database.oid = database"
                " where datname = current_database() and locktype = 'advisory' and not granted"
            ):
                await asyncio.sleep(0.01)
        # What whoever has the log takes next.
        await owner.execute("set local lock_timeout = '100ms'")
        await owner.execute("select from tallystick.cursors where log_id = $1 for share", log.log_id)
    assert sum(step.events for step in await removing) == 5


@pytest.mark.parametrize("state", ["succeeded", "queued"])
async def test_nothing_goes_on_behalf_of_a_job_that_does_not_run(
    database: Database, owner: Connection, tmp_path: Path, state: str
) -> None:
    log, _, begin = await scene(owner)
    orders = Orders((await make_job(owner, log.tenant_id, state)).id, "retention")
    with pytest.raises(FollowersBehindError):
        await all_of(make_remover(database, tmp_path).remove_before(log, begin + timedelta(days=2), orders))
    assert len(await left(owner, log.log_id)) == 60


async def test_a_worker_has_no_other_way(database: Database, owner: Connection) -> None:
    log_id = await make_log(owner)
    await fill_log(owner, log_id, 3)
    for statement in (
        "delete from tallystick.events",
        "select * from tallystick.events",
        "insert into tallystick.removed (log_id, first_seq, last_seq, seqs, reason) values (1, 0, 0, '{}', 'x')",
        "update tallystick.removed set reason = 'x'",
        "delete from tallystick.removed",
        "drop table tallystick.events",
        "select tallystick.record_leaving(now(), now(), '{search}', gen_random_uuid(), 'x', null)",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with database.worker_session() as connection:
                await connection.execute(statement)


async def test_a_partition_goes_whole(database: Database, owner: Connection, tmp_path: Path) -> None:
    log, events, begin = await scene(owner)
    await owner.execute(
        """update tallystick.tenants set settings = '{"retention": {"events_days": 1}}' where id = $1""", log.tenant_id
    )
    orders = Orders((await make_job(owner, log.tenant_id)).id, "retention")
    remover = make_remover(database, tmp_path)
    async with database.worker_session() as connection:
        partition = (await find_partitions(connection, datetime.now(UTC)))[0]
    assert partition.begins == begin
    assert await remover.drop(partition, orders, None) is None  # its leaf hashes are not stored
    await all_of(remover.prepare_drop(partition, log, orders))
    leaves = [Leaf(each.seq, moment(each.received_us), each.leaf_hash) for each in events[5:8]]
    await all_of(remover.remove(log, leaves, orders))
    assert await remover.drop(partition, orders, None) == 17
    assert await left(owner, log.log_id) == list(range(20, 60))
    assert await owner.fetchval("select to_regclass('tallystick.' || $1)", partition.name) is None
    leaves_there = await stored_leaves(owner, tmp_path, log.log_id)
    assert leaves_there == {each.seq: each.leaf_hash for each in events[:20]}
    (removed,) = await LogSource(database).removed(log.log_id, -1, 59)
    assert (removed.first_seq, removed.last_seq) == (0, 19)


async def test_a_partition_stays_where_something_of_it_lives_on(
    database: Database, owner: Connection, tmp_path: Path
) -> None:
    log, _, _ = await scene(owner)
    orders = Orders((await make_job(owner, log.tenant_id)).id, "retention")
    remover = make_remover(database, tmp_path)
    async with database.worker_session() as connection:
        partition, *_, last = await find_partitions(connection, datetime.now(UTC))
    await all_of(remover.prepare_drop(partition, log, orders))
    assert await remover.drop(partition, orders, None) is None  # no policy
    settings = """update tallystick.tenants set settings = '{"retention": {"events_days": 400}}' where id = $1"""
    await owner.execute(settings, log.tenant_id)
    await all_of(remover.prepare_drop(partition, log, orders))
    assert await remover.drop(partition, orders, None) is None  # not over yet
    await owner.execute(settings.replace("400", "1"), log.tenant_id)
    await pass_all(owner, log.log_id, 10)
    await all_of(remover.prepare_drop(partition, log, orders))
    assert await remover.drop(partition, orders, None) is None  # not followed
    await pass_all(owner, log.log_id)
    await fill_log(owner, log.log_id, 1)
    assert last.ends <= datetime.now(UTC)
    assert len(await left(owner, log.log_id)) == 61


async def test_what_was_stored_for_a_job_that_ended_is_not_relied_upon(
    database: Database, owner: Connection, tmp_path: Path
) -> None:
    log, _, _ = await scene(owner)
    orders = Orders((await make_job(owner, log.tenant_id)).id, "retention")
    remover = make_remover(database, tmp_path)
    async with database.worker_session() as connection:
        partition = (await find_partitions(connection, datetime.now(UTC)))[0]
    prepared = "select count(*) from tallystick.leaving"
    one, other, late = (remover.prepare_drop(partition, log, orders) for _ in range(3))
    for each in (one, other, late):
        assert (await anext(each)).name == "leaves stored"
    for each in (one, other):  # two workers that both have the job
        assert [step.name for step in await all_of(each)] == ["partition prepared"]
    assert await owner.fetchval(prepared) == 1
    await owner.execute("delete from tallystick.leaving")
    await owner.execute("update tallystick.jobs set state = 'failed' where id::text = $1", orders.job_id)
    with pytest.raises(OthersRemovedError):  # its object is tidied up as nobody's
        await all_of(late)
    assert await owner.fetchval(prepared) == 0


async def test_a_log_that_was_emptied_meanwhile_is_not_prepared(
    database: Database, owner: Connection, tmp_path: Path
) -> None:
    log, _, begin = await scene(owner)
    orders = Orders((await make_job(owner, log.tenant_id)).id, "retention")
    remover = make_remover(database, tmp_path)
    async with database.worker_session() as connection:
        partition = (await find_partitions(connection, datetime.now(UTC)))[0]
    await all_of(remover.remove_before(log, begin + timedelta(days=1), orders))
    await all_of(remover.prepare_drop(partition, log, orders))
    assert await owner.fetchval("select count(*) from tallystick.leaving") == 0
    assert await remover.drop(partition, orders, None) == 0


async def test_who_holds_the_table_is_not_waited_for(database: Database, owner: Connection) -> None:
    begin = await partitions_back(owner, 1)
    log_id = await make_log(owner)
    tenant_id = await owner.fetchval("select tenant_id from tallystick.logs where id = $1", log_id)
    job_id = (await make_job(owner, tenant_id)).id
    async with owner.transaction():
        await owner.execute("select count(*) from tallystick.events")
        async with database.worker_session() as connection:
            partition = (await find_partitions(connection, moment(begin + DAY_US)))[0]
            asked = now_us()
            with pytest.raises(asyncpg.LockNotAvailableError):
                await connection.execute(
                    "select tallystick.drop_event_partition($1, '{search}', $2::text::uuid, 'retention', null)",
                    partition.name,
                    job_id,
                )
            assert now_us() - asked < 2_000_000  # 30 ms of it is the wait for a lock


async def test_the_default_partition_is_never_dropped(database: Database, owner: Connection) -> None:
    log_id = await make_log(owner)
    tenant_id = await owner.fetchval("select tenant_id from tallystick.logs where id = $1", log_id)
    job_id = (await make_job(owner, tenant_id)).id
    await owner.execute("create table tallystick.events_rest partition of tallystick.events default")
    try:
        async with database.worker_session() as connection:
            with pytest.raises(asyncpg.UndefinedTableError):
                await connection.execute(
                    "select tallystick.drop_event_partition('events_rest', '{search}', $1::text::uuid, 'retention', 1)",
                    job_id,
                )
    finally:
        await owner.execute("drop table tallystick.events_rest")
