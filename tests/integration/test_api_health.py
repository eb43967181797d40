import asyncio
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias, cast

import asyncpg
import httpx
import pytest
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from doors import Door, open_door
from factories import event, make_log
from stored_events import Row, now_us, put
from tallystick.api.app import create_app
from tallystick.api.backlog import REMEMBERED, Backlog
from tallystick.api.health import Readiness
from tallystick.bootstrap.adapters import FOLLOWERS
from tallystick.bootstrap.services import Services, services
from tallystick.log.writer import Writer
from tallystick.settings import DatabaseSettings, Settings

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


class Hour:
    """A clock on which every look is an hour after the last: nothing is remembered."""

    now = 0.0

    def __call__(self) -> float:
        self.now += 3600
        return self.now


class Looks:
    """A clock that is asked twice a look: that takes no time, and the next comes an hour later."""

    asked = 0

    def __call__(self) -> float:
        self.asked += 1
        return (self.asked + 1) // 2 * 3600


def readiness_of(door: Door, changed: Services | None = None) -> Readiness:
    """One that looks whenever it is asked."""
    services = changed or door.services
    return Readiness(services, Backlog(services.database, FOLLOWERS, Looks()), Hour())


async def failing(readiness: Readiness) -> dict[str, str]:
    return {check.name: check.detail for check in await readiness.look() if not check.ok}


async def test_a_process_that_can_serve_says_so(door: Door) -> None:
    assert (await door.client.get("/healthz")).json() == {"status": "alive"}
    ready = await door.client.get("/readyz")
    assert ready.status_code == 200
    names = [check["name"] for check in ready.json()["checks"]]
    assert names == [
        "database",
        "log reader",
        "schema",
        "partitions",
        "tenants",
        "revocations",
        "writer",
        "rates",
        "followers",
        "lifecycle",
    ]


async def test_readiness_ends_when_the_process_is_told_to_stop(door: Door) -> None:
    assert (await door.client.get("/readyz")).status_code == 200
    door.services.lifecycle.drain()
    answer = await door.client.get("/readyz")
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["checks"][-1] == {"name": "lifecycle", "ok": False, "detail": "shutting down"}
    assert (await door.client.get("/healthz")).status_code == 200


async def drop_partitions(owner: Connection, table: str, after: datetime) -> None:
    """Drop those that begin later than a time."""
    rows = await owner.fetch(
        """select inhrelid::regclass::text as name from pg_inherits
            where inhparent = $1::text::regclass and right(inhrelid::regclass::text, 8) > $2""",
        f"tallystick.{table}",
        f"{after:%Y%m%d}",
    )
    assert rows
    for row in rows:
        await owner.execute(f"drop table {row['name']}")


@pytest.mark.parametrize("table", ["events", "retry_keys"])
async def test_partitions_that_run_out_are_told_in_time(door: Door, owner: Connection, table: str) -> None:
    readiness = readiness_of(door)
    assert await failing(readiness) == {}
    assert "warning" not in {check.name: check.detail for check in await readiness.look()}["partitions"]

    await drop_partitions(owner, table, datetime(2000, 1, 1, tzinfo=UTC))
    assert set(await failing(readiness)) == {"partitions"}


@pytest.mark.parametrize(("table", "days"), [("events", 40), ("retry_keys", 4)])
async def test_partitions_that_nobody_makes_any_more_are_told_early(
    door: Door, owner: Connection, table: str, days: int
) -> None:
    readiness = readiness_of(door)
    await drop_partitions(owner, table, datetime.now(UTC) + timedelta(days=days))

    assert await failing(readiness) == {}
    told = {check.name: check.detail for check in await readiness.look()}["partitions"]
    assert told.startswith("warning")
    assert "tallystick worker" in told


@pytest.mark.parametrize(("days", "ready"), [(1, False), (4, True)])
async def test_retry_keys_are_needed_for_two_days(door: Door, owner: Connection, days: int, ready: bool) -> None:
    await drop_partitions(owner, "retry_keys", datetime.now(UTC) + timedelta(days=days - 1))
    assert (set(await failing(readiness_of(door))) == set()) is ready


async def test_an_older_schema_is_not_served(door: Door, owner: Connection) -> None:
    readiness = readiness_of(door)
    await owner.execute("update tallystick.migrations set version = -version")
    assert "tallystick migrate" in (await failing(readiness))["schema"]
    await owner.execute("update tallystick.migrations set version = 1000 - version")
    assert await failing(readiness) == {}, "a newer one is"


async def test_a_full_writer_is_told(door: Door) -> None:
    class Full:
        fill = 0.97

    crowded = replace(door.services, writer=cast("Writer", Full()))
    assert await failing(readiness_of(door, crowded)) == {"writer": "its queue is 97% full"}


async def test_a_follower_that_is_behind_is_told_and_no_reason_to_go_elsewhere(door: Door, owner: Connection) -> None:
    readiness = readiness_of(door)

    async def told() -> str:
        assert await failing(readiness) == {}
        return {check.name: check.detail for check in await readiness.look()}["followers"]

    assert await told() == "rollups: nothing behind; search: nothing behind"
    await put(owner, await make_log(owner), [Row(now_us() - 3_000_000, now_us())] * 2)
    behind = r"{0}: 2 events behind in 1 log, [3-9] s"
    assert re.fullmatch("; ".join(map(behind.format, ("rollups", "search"))), await told())
    await put(owner, await make_log(owner), [Row(now_us() - 90_000_000, now_us())])
    late = r"warning: {0}: 3 events behind in 2 logs, 9\d s: is `tallystick worker` running\?"
    assert re.fullmatch("; ".join(map(late.format, ("rollups", "search"))), await told())
    await owner.execute("drop function tallystick.arrival_after")
    assert "not known" in await told()


async def test_a_costly_look_at_followers_is_remembered_for_longer(door: Door, owner: Connection) -> None:
    asked_at = iter([0, 3, 3 + REMEMBERED, 62, 64, 65])  # the first look takes three seconds
    backlog = Backlog(door.services.database, FOLLOWERS, lambda: next(asked_at))
    first = await backlog.look()
    assert first is not None
    assert first.standings[0].events == 0
    await put(owner, await make_log(owner), [Row(now_us(), now_us())])
    assert await backlog.look() is first
    assert await backlog.look() is first
    later = await backlog.look()
    assert later is not None
    assert later.standings[0].events == 1


async def test_those_who_ask_together_cost_the_database_one_look(door: Door) -> None:
    class Counting(Readiness):
        looks = 0

        async def _schema(self) -> str:
            self.looks += 1
            return "counted"

    readiness = Counting(door.services, Backlog(door.services.database, FOLLOWERS))
    await asyncio.gather(*(readiness.look() for _ in range(50)))
    assert readiness.looks == 1


async def test_it_starts_while_the_database_is_down_and_says_what_is_missing(settings: Settings) -> None:
    nowhere = DatabaseSettings(url=SecretStr("postgresql://nobody@127.0.0.1:1/nothing"))
    async with open_door(settings.model_copy(update={"database": nowhere})) as door:
        assert (await door.client.get("/healthz")).status_code == 200
        ready = await door.client.get("/readyz")
        assert ready.status_code == 503
        assert {check["name"] for check in ready.json()["checks"] if not check["ok"]} >= {"database", "tenants"}
        answer = await door.client.post(
            "/api/v1/logs", json=event(), headers=door.bearer("admin", platform=True, default_tenant="acme")
        )
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.json()["type"].startswith("/problems/")
        for asked in (answer, ready):
            assert "127.0.0.1" not in asked.text
            assert "nobody" not in asked.text


async def test_what_was_accepted_is_stored_before_the_end(settings: Settings) -> None:
    async with open_door(settings) as door:
        await door.make_tenant("acme")
        headers = door.bearer("admin")
        waiting = [
            asyncio.create_task(door.client.post("/api/v1/logs", json=event(), headers=headers)) for _ in range(50)
        ]
        await waiting[0]
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    stored = [answer for answer in answers if isinstance(answer, httpx.Response) and answer.status_code == 201]
    assert stored
    async with open_door(settings) as door:
        page = await door.client.get("/api/v1/logs?limit=1000", headers=door.bearer("auditor"))
        ids = {item["id"] for item in page.json()["items"]}
    assert {answer.json()["id"] for answer in stored} <= ids
    assert len(ids) == len(stored)


async def test_metrics_show_what_the_worker_has_left(door: Door, owner: Connection) -> None:
    await put(owner, await make_log(owner), [Row(now_us() - 90_000_000, now_us())] * 3)
    answer = await door.client.post("/api/v1/jobs", json={"kind": "rebuild_index"}, headers=door.bearer())
    assert answer.status_code == 202
    shown = (await door.client.get("/metrics")).text
    # Beside the three, what asking for the job left in the access log.
    lag = re.search(r'^tallystick_follower_lag_events\{follower="search"\} ([\d.]+)$', shown, re.MULTILINE)
    assert lag is not None
    assert 3 < float(lag[1]) < 10
    assert re.search(r'^tallystick_follower_lag_seconds\{follower="search"\} 9\d\.', shown, re.MULTILINE)
    assert 'tallystick_follower_logs_behind{follower="search"} 2.0' in shown
    assert 'tallystick_follower_quarantined_events{follower="search"} 0.0' in shown
    assert 'tallystick_jobs{state="queued"} 1.0' in shown
    assert 'tallystick_jobs{state="failed"} 0.0' in shown


async def test_metrics_go_on_without_the_database(settings: Settings) -> None:
    nowhere = DatabaseSettings(url=SecretStr("postgresql://nobody@127.0.0.1:1/nothing"))
    async with open_door(settings.model_copy(update={"database": nowhere})) as door:
        shown = await door.client.get("/metrics")
    assert shown.status_code == 200
    assert "tallystick_appended_events_total" in shown.text
    assert "tallystick_follower" not in shown.text


async def test_metrics_show_what_was_served(settings: Settings) -> None:
    registry = CollectorRegistry()
    async with services(settings, registry) as made:
        transport: Any = httpx.ASGITransport(create_app(made))
        async with httpx.AsyncClient(transport=transport, base_url="http://tallystick.test") as client:
            await client.get("/api/v1/tenants/acme")
            shown = await client.get("/metrics")
    assert shown.headers["content-type"].startswith("text/plain")
    route = 'method="GET",route="/api/v1/tenants/{tenant_id}",status="401"'
    assert f"tallystick_http_request_seconds_count{{{route}}} 1.0" in shown.text
    assert "acme" not in shown.text
