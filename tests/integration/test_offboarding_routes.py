"""`DELETE /tenants/{id}` as a platform admin meets it: over HTTP, with a worker, while days pass."""

import asyncio
import gzip
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from appending import append
from conftest import Connection
from doors import Door, open_door
from factories import event
from passing import pass_days
from sealed_events import append_sealed
from stored_events import partitions_back
from tallystick.privacy.queries import find_keys
from tallystick.settings import RetentionSettings, Settings
from working import hurried, working

DEADLINE = 60.0
TENANT = "/api/v1/tenants/acme"
EVENTS = 20


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """An installation in which requests are short, and so is the wait for them to end."""
    return hurried(
        settings.model_copy(
            update={
                "retention": RetentionSettings(
                    min_days=1, min_access_days=2, offboarding_days=2, offboarding_keep_days=2, load=1.0
                ),
                "auth": settings.auth.model_copy(update={"freshness": 3}),
                "api": settings.api.model_copy(update={"body_timeout": 0.5}),
                "database": settings.database.model_copy(update={"append_timeout": 3.0}),
            }
        )
    )


@asynccontextmanager
async def opened(settings: Settings, owner: Connection) -> AsyncGenerator[Door]:
    await partitions_back(owner, 40, width=10)
    async with open_door(settings) as door:
        for tenant in ("acme", "other"):
            await door.make_tenant(tenant)
            events = [event(message=f"{tenant} {n}") for n in range(EVENTS)]
            await append(door, *events, token=door.bearer("admin", tenant))
        await append_sealed(door)
        yield door


def platform(door: Door) -> dict[str, str]:
    return door.bearer("admin", platform=True, subject="root@example.com")


async def remove(door: Door, tenant: str = "acme", headers: dict[str, str] | None = None, /, **asked: str) -> Any:
    named = {"reason": "the contract ended", **asked}
    path = f"/api/v1/tenants/{tenant}"
    return await door.client.delete(path, params=named, headers=headers or platform(door))


async def get(door: Door, path: str, /, **query: str) -> Any:
    return await door.client.get(f"/api/v1{path}", params=query, headers=platform(door))


async def until(door: Door, path: str, condition: Callable[[Any], bool], /, **query: str) -> Any:
    """Look until something holds of an answer, again after each 503: it says to ask again, and waits are short here."""
    async with asyncio.timeout(DEADLINE):
        while True:
            answer = await get(door, path, **query)
            if answer.status_code != 503 and condition(answer):
                return answer
            await asyncio.sleep(0.05)


async def exported(door: Door) -> dict[str, list[dict[str, Any]]]:
    """What the exports hold that are made before a tenant goes, by log."""
    listed = await until(
        door,
        "/exports",
        lambda answer: sorted(each["state"] for each in answer.json()["items"])[-2:] == ["succeeded"] * 2,
        tenant_id="acme",
    )
    found: dict[str, list[dict[str, Any]]] = {}
    for export in [each for each in listed.json()["items"] if each["state"] == "succeeded"]:
        content = await door.client.get(export["content"], headers=platform(door))
        assert content.status_code == 200, content.text
        found[export["log"]] = [orjson.loads(line) for line in gzip.decompress(content.content).splitlines()]
    return found


async def told(door: Door, tenant: str, action: str) -> list[dict[str, Any]]:
    # In order of the log: an index would look for events where they were before time passed.
    answer = await get(door, "/access-logs", tenant_id=tenant, action=action, limit="1000", order="seq")
    return answer.json()["items"]


async def test_a_tenant_goes_and_nothing_of_it_stays_but_its_id(settings: Settings, owner: Connection) -> None:
    async with opened(settings, owner) as door, working(settings):
        ordered = await remove(door)
        assert ordered.status_code == 202, ordered.text
        job = ordered.json()
        assert ordered.headers["location"] == f"/api/v1/jobs/{job['id']}?tenant_id=acme"
        assert (job["kind"], job["created_by"]["subject"]) == ("offboard_tenant", "root@example.com")
        tenant = (await get(door, "/tenants/acme")).json()
        assert tenant["suspended"]
        assert (tenant["closing"]["reason"], tenant["closing"]["job_id"]) == ("the contract ended", job["id"])
        await assert_closed(door)
        assert (await remove(door)).json()["id"] == job["id"]
        early = await exported(door)
        assert [each["message"] for each in early["events"]][:EVENTS] == [f"acme {n}" for n in range(EVENTS)]
        waits = await until(door, f"/jobs/{job['id']}", lambda job: "restored" in str(job.json()), tenant_id="acme")
        assert waits.json()["state"] == "running"

        await pass_days(owner, 3)
        begun = await until(door, "/tenants/acme", lambda tenant: tenant.json()["closing"]["exports_until"] is not None)
        assert begun.json()["closing"]["begun_at"] is not None
        restored = await door.client.post(f"{TENANT}/restore", headers=platform(door))
        assert (restored.status_code, "cannot be undone" in restored.json()["detail"]) == (409, True)
        late = await exported(door)
        assert late["events"] == early["events"]
        assert len(late["access"]) > len(early["access"])
        removed = await until(door, f"/jobs/{job['id']}", lambda job: "expired" in str(job.json()), tenant_id="acme")
        assert removed.json()["progress"]["done"] > EVENTS

        await pass_days(owner, 5)
        done = await until(door, f"/jobs/{job['id']}", lambda job: job.json()["finished_at"], tenant_id="acme")
        assert (done.json()["state"], done.json()["error"]) == ("succeeded", None)
        await assert_gone(door)
        await assert_told(door, job["id"])
        assert (
            await owner.fetchval(
                "select count(*) from tallystick.events join tallystick.logs on logs.id = log_id"
                " where tenant_id = 'acme'"
            )
            == 0
        )
        theirs = await get(door, "/logs", tenant_id="other", order="seq", limit="1000")
        assert [each["message"] for each in theirs.json()["items"]] == [f"other {n}" for n in range(EVENTS)]


async def assert_closed(door: Door) -> None:
    """Nobody of the tenant's own does anything, and a platform admin does not let it in."""
    own = door.bearer("admin")
    assert (await door.client.get("/api/v1/logs", headers=own)).status_code == 403
    assert (await door.client.post("/api/v1/logs", json=event(), headers=own)).status_code == 403
    assert (await door.client.get(TENANT, headers=own)).status_code == 403
    resumed = await door.client.patch(TENANT, json={"suspended": False}, headers=platform(door))
    assert (resumed.status_code, "restore" in resumed.json()["detail"]) == (409, True)
    closing = (await get(door, "/tenants/acme")).json()["closing"]
    cancelled = await door.client.post(
        f"/api/v1/jobs/{closing['job_id']}/cancel", params={"tenant_id": "acme"}, headers=platform(door)
    )
    assert cancelled.status_code == 403  # of a suspended tenant nothing is changed but the tenant itself
    another = await get(door, "/exports", tenant_id="acme")
    stranger = door.bearer("admin", platform=True, subject="else@example.com")
    others = await door.client.get("/api/v1/exports", params={"tenant_id": "acme"}, headers=stranger)
    assert (another.status_code, others.json()["items"]) == (200, [])


async def assert_gone(door: Door) -> None:
    """All that is told of the tenant is that it was removed."""
    await door.services.directory.refresh()
    gone = await get(door, "/tenants/acme")
    assert "the contract ended" in gone.json()["detail"]
    for path in ("/logs", "/access-logs", "/exports"):
        assert (await get(door, path, tenant_id="acme")).status_code == 410
    made = await door.client.post("/api/v1/tenants", json={"id": "acme", "name": "New"}, headers=platform(door))
    assert (made.status_code, "given to nobody else" in made.json()["detail"]) == (409, True)
    assert (await remove(door)).status_code == 410
    assert (await door.client.post(f"{TENANT}/restore", headers=platform(door))).status_code == 410
    assert (await door.client.get("/api/v1/logs", headers=door.bearer("admin"))).status_code == 403
    listed = await get(door, "/tenants", limit="1000")
    assert "acme" not in [each["id"] for each in listed.json()["items"]]
    assert await find_keys(door.services.database, "acme") == []
    assert len(await find_keys(door.services.database, "other")) == 0
    home = door.services.settings.home / "objects" / "tenants" / "acme"
    assert {path.name for path in home.iterdir() if any(each.is_file() for each in path.rglob("*"))} == {"leaves"}


async def assert_told(door: Door, job_id: str) -> None:
    """The platform's access log tells who ordered it, why, and all that could not be undone."""
    items = await told(door, "_platform", "tenants.remove")
    asked = [each["metadata"]["asked"] for each in items if each["metadata"]["phase"] == "intent"]
    assert {each["reason"] for each in asked} == {"the contract ended"}
    assert {each["step"] for each in asked if "step" in each} == {"removal begun", "keys erased", "tenant removed"}
    assert {each["user_id"] for each in items} == {"root@example.com"}
    removals = await told(door, "_platform", "logs.remove")
    counts = {
        each["resource_id"]: each["metadata"]["count"] for each in removals if each["metadata"]["phase"] == "outcome"
    }
    assert counts["events"] == EVENTS + 1
    assert counts["access"] > 0
    asked_for = {"tenant_id": "_platform", "action": "jobs.end", "limit": "1000", "order": "seq"}
    await until(door, "/access-logs", lambda answer: job_id in answer.text, **asked_for)  # told once the job has ended
    ends = await told(door, "_platform", "jobs.end")
    assert [each["metadata"]["state"] for each in ends if each["resource_id"] == job_id] == ["succeeded"]


async def test_restored_in_time_it_is_as_it_was(settings: Settings, owner: Connection) -> None:
    async with opened(settings, owner) as door, working(settings):
        job = (await remove(door, wait_days="30")).json()
        await exported(door)
        put_off = await remove(door, wait_days="60")
        assert (put_off.status_code, "restore it first" in put_off.json()["detail"]) == (409, True)
        await pass_days(owner, 20)
        for _ in range(2):  # to restore what is there changes nothing
            restored = await door.client.post(f"{TENANT}/restore", headers=platform(door))
            assert (restored.status_code, restored.json()["closing"]) == (200, None)
        ended = await until(door, f"/jobs/{job['id']}", lambda job: job.json()["finished_at"], tenant_id="acme")
        assert ended.json()["state"] == "cancelled"
        listed = await until(
            door,
            "/exports",
            lambda answer: {each["state"] for each in answer.json()["items"]} <= {"deleted"},
            tenant_id="acme",
        )
        assert listed.status_code == 200
        mine = await door.client.get("/api/v1/logs", params={"limit": "1000"}, headers=door.bearer("admin"))
        assert len(mine.json()["items"]) == EVENTS + 1
        assert (await door.client.post("/api/v1/logs", json=event(), headers=door.bearer("admin"))).status_code == 201
        for tenant in ("acme", "_platform"):
            assert [each["metadata"]["phase"] for each in await told(door, tenant, "tenants.restore")][:2]


async def test_one_that_was_suspended_before_stays_so(settings: Settings, owner: Connection) -> None:
    async with opened(settings, owner) as door:
        await door.client.patch(TENANT, json={"suspended": True}, headers=platform(door))
        assert (await remove(door)).status_code == 202
        restored = await door.client.post(f"{TENANT}/restore", headers=platform(door))
        assert (restored.json()["suspended"], restored.json()["closing"]) == (True, None)


@pytest.mark.parametrize(
    ("asked", "parameter"),
    [
        ({"reason": " "}, "reason"),
        ({"wait_days": "1"}, "wait_days"),
        ({"wait_days": "soon"}, "wait_days"),
        ({"wait_days": "3651"}, "wait_days"),
        ({"dry_run": "perhaps"}, "dry_run"),
        ({"force": "true"}, "force"),
    ],
)
async def test_what_is_not_valid_is_named_and_changes_nothing(
    settings: Settings, owner: Connection, asked: dict[str, str], parameter: str
) -> None:
    async with opened(settings, owner) as door:
        refused = await remove(door, **asked)
        assert (refused.status_code, [each["parameter"] for each in refused.json()["errors"]]) == (422, [parameter])
        assert not (await get(door, "/tenants/acme")).json()["suspended"]


async def test_the_reserved_one_and_the_last_one_stay(settings: Settings, owner: Connection) -> None:
    async with opened(settings, owner) as door:
        reserved = await remove(door, "_platform")
        assert (reserved.status_code, "never removed" in reserved.json()["detail"]) == (403, True)
        assert (await remove(door, "nobody")).status_code == 404
        looked = (await remove(door, dry_run="true")).json()
        assert {each["log"] for each in looked["logs"]} == {"events", "access"}
        assert (await remove(door, "acme", door.bearer("admin"))).status_code == 403
        assert (await remove(door, "other")).status_code == 202
        last = await remove(door)
        assert (last.status_code, "make another first" in last.json()["detail"]) == (409, True)
        assert (await remove(door, dry_run="true")).status_code == 409
        await door.client.post("/api/v1/tenants/other/restore", headers=platform(door))
        assert (await remove(door)).status_code == 202
