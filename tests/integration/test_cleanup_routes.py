"""`DELETE /logs/cleanup` and retention as their users meet them: over HTTP, with a worker."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from conftest import Connection
from doors import Door, open_door
from stored_events import DAY_US, Put, Row, now_us, partitions_back, put
from tallystick.settings import DatabaseSettings, RetentionSettings, Settings
from working import hurried, working

DEADLINE = 60.0
OLD, KEPT = 12, 5
ASKED: list[dict[str, str]] = [{}, {"action": "user.login"}, {"q": "login"}]
BEFORE = "2100-01-01T00:00:00Z"


@asynccontextmanager
async def opened(settings: Settings, owner: Connection) -> AsyncGenerator[tuple[Door, list[Put]]]:
    """A tenant with events of five days ago, half of them debug output, and some of yesterday."""
    begin = await partitions_back(owner, 8)
    async with open_door(settings) as door:
        tenant = await door.services.tenants.create("acme", "Acme", {})
        found = await door.services.directory.find(tenant.id)
        assert found is not None
        fields = [
            {"action": ("debug.trace", "user.login")[n % 2], "resource_type": "session"} for n in range(OLD + KEPT)
        ]
        times = [begin + 3 * DAY_US] * OLD + [now_us() // 1000 * 1000 - DAY_US] * KEPT
        rows = [Row(us, us, each) for us, each in zip(times, fields, strict=True)]
        yield door, await put(owner, found.logs["events"], rows)


@pytest.fixture
def settings(database_settings: DatabaseSettings, tmp_path: Path) -> Settings:
    return hurried(Settings(home=tmp_path, database=database_settings, retention=RetentionSettings(min_days=2)))


async def clean_up(door: Door, role: str = "admin", scopes: Sequence[str] = (), **asked: str) -> Any:
    named = {"before": BEFORE, "reason": "Ticket 4711", "tenant_id": "acme", **asked}
    return await door.client.delete("/api/v1/logs/cleanup", params=named, headers=door.bearer(role, scopes=scopes))


async def actions(door: Door) -> list[str]:
    answer = await door.client.get(
        "/api/v1/logs", params={"tenant_id": "acme", "order": "seq", "limit": 1000}, headers=door.bearer("admin")
    )
    return [item["action"] for item in answer.json()["items"]]


async def ended(door: Door, job_id: str) -> dict[str, Any]:
    async with asyncio.timeout(DEADLINE):
        while True:
            answer = await door.client.get(
                f"/api/v1/jobs/{job_id}", params={"tenant_id": "acme"}, headers=door.bearer("admin")
            )
            if answer.json()["finished_at"] is not None:
                return answer.json()
            await asyncio.sleep(0.05)


async def test_what_matches_goes_and_what_is_protected_stays(settings: Settings, owner: Connection) -> None:
    async with opened(settings, owner) as (door, events):
        looked = await clean_up(door, action="debug.trace", dry_run="true")
        assert (looked.status_code, looked.json()["events"]) == (200, OLD // 2)
        assert len(await actions(door)) == OLD + KEPT
        async with working(settings):
            started = await clean_up(door, action="debug.trace")
            assert started.status_code == 202, started.text
            job = await ended(door, started.json()["id"])
        assert (job["state"], job["error"]) == ("succeeded", None)
        assert (await actions(door)).count("debug.trace") == (KEPT + 1) // 2
        assert len(await actions(door)) == OLD // 2 + KEPT
        gone = await door.client.get(
            f"/api/v1/logs/{events[0].id}", params={"tenant_id": "acme"}, headers=door.bearer("admin")
        )
        assert (gone.status_code, "Ticket 4711" in gone.json()["detail"]) == (410, True)
        told = await door.client.get(
            "/api/v1/access-logs", params={"tenant_id": "acme", "action": "logs.remove"}, headers=door.bearer("admin")
        )
        outcome = next(each["metadata"] for each in told.json()["items"] if each["metadata"]["phase"] == "outcome")
        assert (outcome["count"], outcome["result"]) == (OLD // 2, "completed")
        leaves = settings.home / "objects" / outcome["leaves"][0]
        assert events[0].leaf_hash in leaves.read_bytes()


@pytest.mark.parametrize(
    ("asked", "parameter"),
    [({"reason": " "}, "reason"), ({"before": "long ago"}, "before"), ({"dry_run": "perhaps"}, "dry_run")],
)
async def test_what_is_not_valid_is_named_and_removes_nothing(
    settings: Settings, owner: Connection, asked: dict[str, str], parameter: str
) -> None:
    async with opened(settings, owner) as (door, _):
        refused = await clean_up(door, **asked)
        assert (refused.status_code, [each["parameter"] for each in refused.json()["errors"]]) == (422, [parameter])
        assert [(await clean_up(door, role)).status_code for role in ("user", "auditor")] == [403, 403]
        assert len(await actions(door)) == OLD + KEPT


async def test_a_dry_run_tells_nothing_of_contents_to_who_may_not_read_them(
    settings: Settings, owner: Connection
) -> None:
    async with opened(settings, owner) as (door, _):
        answers = [
            await clean_up(door, scopes=scopes, dry_run="true", **asked)
            for scopes in (["logs:delete"], ["logs:delete", "logs:read"])
            for asked in ASKED
        ]
        assert [answer.status_code for answer in answers] == [200, 403, 403, 200, 200, 200]
        assert [len(answer.json().get("sample", ())) for answer in answers] == [0, 0, 0, 10, OLD // 2, OLD // 2]


async def test_no_policy_undercuts_the_minimum(settings: Settings, owner: Connection) -> None:
    async with opened(settings, owner) as (door, _):

        async def ask(days: int) -> Any:
            return await door.client.patch(
                "/api/v1/tenants/acme",
                json={"settings": {"retention": {"events_days": days}}},
                headers={**door.bearer("admin"), "content-type": "application/merge-patch+json"},
            )

        refused = await ask(1)
        assert refused.status_code == 422
        assert [each["pointer"] for each in refused.json()["errors"]] == ["/settings/retention/events_days"]
        assert (await ask(2)).status_code == 200
