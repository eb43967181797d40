"""Who looked at what: each reading leaves its record in the tenant's access log, and none leaves without it."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from access_events import awaited, outcomes, recorded
from appending import append
from conftest import Connection
from doors import Door, open_door
from factories import event
from tallystick.access_log.backlog import AccessMetrics
from tallystick.access_log.model import Actor, Deed
from tallystick.access_log.service import AccessLog
from tallystick.auth.tenancy import PLATFORM_TENANT
from tallystick.database.pools import Database
from tallystick.errors import UnavailableError
from tallystick.settings import Settings
from tallystick.tenants.directory import TenantDirectory

LOGS, ACCESS = "/api/v1/logs", "/api/v1/access-logs"


async def test_a_listing_is_recorded_before_it_is_answered(door: Door, owner: Connection) -> None:
    await append(door, event())
    headers = {**door.bearer("auditor"), "x-request-id": "looking", "user-agent": "browser"}
    asked = {"action": "x", "severity": ["INFO", "ERROR"], "q": "card 4111"}
    answer = await door.client.get(LOGS, params=asked, headers=headers)
    assert answer.status_code == 200, answer.text
    (intent,) = await recorded(owner)
    assert intent["action"] == "logs.list"
    assert (intent["resource_type"], intent["resource_id"]) == ("log", "events")
    who = (intent["user_id"], intent["request_id"], intent["user_agent"], intent["ip_address"])
    assert who == ("auditor@example.com", "looking", "browser", "127.0.0.1")
    assert intent["written_by"] == {"issuer": "tallystick", "subject": "auditor@example.com"}
    assert intent["tenant_id"] == "acme"
    about = intent["metadata"]
    assert (about["phase"], about["operation"], about["role"]) == ("intent", "list_events", "auditor")
    assert about["asked"] == asked


async def test_the_outcome_says_how_much_was_shown_and_names_its_intent(door: Door, owner: Connection) -> None:
    await append(door, event(), event(), event())
    await door.client.get(LOGS, params={"order": "seq", "limit": "2"}, headers=door.bearer())
    (outcome,) = await outcomes(owner, 1)
    (intent,) = await recorded(owner, phase="intent")
    assert outcome["action"] == intent["action"]
    told = outcome["metadata"]
    assert (told["intent"], told["result"]) == (intent["id"], "completed")
    assert (told["count"], told["last_seq"]) == (2, 1)
    assert "asked" not in told


async def test_what_was_asked_in_vain_is_recorded_too(door: Door, owner: Connection) -> None:
    nobody = "019d0000-0000-7000-8000-000000000000"
    assert (await door.client.get(f"{LOGS}/{nobody}", headers=door.bearer())).status_code == 404
    assert (await door.client.get(LOGS, params={"limit": "0"}, headers=door.bearer())).status_code == 422
    read, listed = await recorded(owner, phase="intent")
    assert (read["action"], read["resource_id"]) == ("logs.read", nobody)
    assert listed["metadata"]["asked"] == {"limit": "0"}
    (failed,) = await outcomes(owner, 1)
    assert (failed["metadata"]["result"], failed["metadata"]["problem"]) == ("failed", "invalid")


async def test_an_append_is_its_own_record(door: Door, owner: Connection) -> None:
    await append(door, event())
    assert await recorded(owner) == []


@pytest.fixture
def impatient(settings: Settings) -> Settings:
    quick = settings.database.model_copy(update={"lock_timeout": 0.2})
    return settings.model_copy(update={"database": quick})


async def test_what_cannot_be_recorded_is_not_shown(impatient: Settings, owner: Connection) -> None:
    async with open_door(impatient) as door:
        await door.make_tenant("acme")
        await append(door, event(message="nobody sees this"))
        access = "select id from tallystick.logs where tenant_id = 'acme' and name = 'access' for update"
        async with owner.transaction():
            await owner.fetchval(access)
            asks = [
                door.client.get(path, headers=door.bearer())
                for path in (
                    LOGS,
                    f"{LOGS}/export",
                    f"{LOGS}/stats",
                    ACCESS,
                    f"{ACCESS}/export",
                    "/api/v1/tenants/acme",
                )
            ]
            for answer in await asyncio.gather(*asks):
                assert answer.status_code == 503, answer.text
                assert int(answer.headers["retry-after"]) > 0
                assert "nobody sees this" not in answer.text
                assert "Acme" not in answer.text
            renamed = await door.client.patch("/api/v1/tenants/acme", json={"name": "Other"}, headers=door.bearer())
            assert renamed.status_code == 503
        assert (await door.client.get("/api/v1/tenants/acme", headers=door.bearer())).json()["name"] == "Acme"
        assert (await door.client.get(LOGS, headers=door.bearer())).status_code == 200
        # An export that may not leave gives its place back: there are two of them.
        assert (await door.client.get(f"{LOGS}/export", headers=door.bearer())).status_code == 200


async def test_an_export_has_one_pair(door: Door, owner: Connection) -> None:
    await append(door, *(event() for _ in range(3)))
    answer = await door.client.get(f"{LOGS}/export", headers=door.bearer())
    assert len(answer.text.splitlines()) == 3
    (outcome,) = await outcomes(owner, 1)
    told = outcome["metadata"]
    assert (outcome["action"], told["result"], told["count"], told["last_seq"]) == ("logs.export", "completed", 3, 2)
    assert len(await recorded(owner, phase="intent")) == 1


async def test_a_tenants_changes_are_told_to_it_and_to_the_platform(door: Door, owner: Connection) -> None:
    platform = door.bearer(platform=True)
    made = await door.client.post("/api/v1/tenants", json={"id": "new", "name": "New"}, headers=platform)
    assert made.status_code == 201, made.text
    assert (await door.client.patch("/api/v1/tenants/new", json={"suspended": True}, headers=platform)).is_success
    for tenant_id, intents in (("new", ["tenants.update"]), (PLATFORM_TENANT, ["tenants.create", "tenants.update"])):
        create, update = await outcomes(owner, 2, tenant_id)
        assert (create["action"], update["action"]) == ("tenants.create", "tenants.update")
        assert update["before"] == {"name": "New", "settings": {}, "suspended": False}
        assert update["after"] == {**update["before"], "suspended": True}
        assert create["tenant_id"] == update["tenant_id"] == tenant_id
        assert [each["action"] for each in await recorded(owner, tenant_id, phase="intent")] == intents


async def test_a_page_of_the_access_log_never_shows_its_own_reading(door: Door, owner: Connection) -> None:
    await door.client.get(LOGS, headers=door.bearer("user"))
    await outcomes(owner, 1)
    for before in (2, 3, 4):
        page = (await door.client.get(ACCESS, params={"limit": "10"}, headers=door.bearer())).json()
        assert len(page["items"]) == before
        assert len(await recorded(owner)) == before + 1
    assert [each["action"] for each in page["items"]] == ["access_logs.list"] * 2 + ["logs.list"] * 2


async def test_reading_the_access_log_page_by_page_ends(door: Door, owner: Connection) -> None:
    for _ in range(4):
        await door.client.get(f"{LOGS}/stats", headers=door.bearer())
    for order in ("seq", "oldest", "newest"):
        there = len(await recorded(owner))
        seen, cursor = 0, None
        for _ in range(2 * there):
            asked = {"order": order, "limit": "2", **({} if cursor is None else {"cursor": cursor})}
            page = (await door.client.get(ACCESS, params=asked, headers=door.bearer())).json()
            seen, cursor = seen + len(page["items"]), page["next"]
            if cursor is None:
                break
        assert cursor is None
        assert seen >= there


async def test_the_access_log_has_the_filters_of_logs(door: Door, owner: Connection) -> None:
    await append(door, event())
    (listed,) = (await door.client.get(LOGS, headers=door.bearer())).json()["items"]
    await door.client.get(f"{LOGS}/{listed['id']}", headers=door.bearer("auditor", subject="grace"))
    await outcomes(owner, 1)
    headers = door.bearer()
    for asked in ({"user_id": "grace"}, {"action": "logs.read"}, {"resource_id": listed["id"]}, {"q": "user_id:grace"}):
        for answer in (
            await door.client.get(ACCESS, params=asked, headers=headers),
            await door.client.post(f"{ACCESS}/search", json=asked, headers=headers),
        ):
            (found,) = answer.json()["items"]
            assert found["metadata"]["operation"] == "read_event"
    one = await door.client.get(f"{ACCESS}/{found['id']}", headers=headers)
    assert one.json() == found
    exported = await door.client.get(f"{ACCESS}/export", params={"action": "logs.read"}, headers=headers)
    assert exported.text.strip().encode() == one.content
    assert (await door.client.get(f"{LOGS}/{found['id']}", headers=headers)).status_code == 404


async def test_the_platforms_log_is_for_platform_admins(door: Door) -> None:
    asked = {"tenant_id": PLATFORM_TENANT}
    platform = door.bearer(platform=True)
    await door.client.get("/api/v1/tenants", headers=platform)
    page = await door.client.get(ACCESS, params=asked, headers=platform)
    assert [each["action"] for each in page.json()["items"]] == ["tenants.list"]
    for headers in (door.bearer(), door.bearer("auditor", platform=True)):
        assert (await door.client.get(ACCESS, params=asked, headers=headers)).status_code == 403
    assert (await door.client.get(LOGS, params=asked, headers=platform)).status_code == 404


async def test_refusals_are_told_to_who_tried_and_to_the_platform_once_a_minute(door: Door, owner: Connection) -> None:
    await door.make_tenant("other")
    user = door.bearer("user", subject="mallory")
    for _ in range(5):
        for path in (f"{LOGS}?tenant_id=other", f"{LOGS}/stats?tenant_id=other", f"{LOGS}/export?tenant_id=other"):
            assert (await door.client.get(path, headers=user)).status_code == 403
    appended = await door.client.post(LOGS, json=event(tenant_id="nobody"), headers=user)
    assert appended.status_code == 403
    assert (await door.client.get(ACCESS, headers=user)).status_code == 403
    await awaited(owner, "refused", 3)
    assert await recorded(owner, "other") == []
    for tenant_id in ("acme", PLATFORM_TENANT):
        found = await awaited(owner, "refused", 3, tenant_id)
        assert [each["resource_id"] for each in found] == ["other", "nobody", "acme"]
        assert {each["user_id"] for each in found} == {"mallory"}
        assert {each["metadata"]["count"] for each in found} == {1}
        assert [each["metadata"]["operation"] for each in found] == [
            "list_events",
            "append_event",
            "list_access_events",
        ]


async def test_who_is_not_known_is_told_to_the_platform_alone(door: Door, owner: Connection) -> None:
    for _ in range(3):
        assert (await door.client.get(LOGS)).status_code == 401
    (found,) = await awaited(owner, "refused", 1, PLATFORM_TENANT)
    assert (found["user_id"], found["metadata"]["problem"]) == ("anonymous", "unauthenticated")
    assert found["ip_address"] == "127.0.0.1"
    assert await recorded(owner) == []


async def test_what_was_held_back_is_told_when_the_process_stops(settings: Settings, owner: Connection) -> None:
    async with open_door(settings) as door:
        await door.make_tenant("acme")
        await append(door, event())
        for _ in range(4):
            await door.client.get(f"{LOGS}?tenant_id=other", headers=door.bearer("user", subject="mallory"))
        await door.client.get(LOGS, headers=door.bearer())
    found = await recorded(owner, phase="refused")
    assert [each["metadata"]["count"] for each in found] == [1, 3]
    assert len(await recorded(owner, phase="outcome")) == 1


async def test_what_takes_longer_than_tenants_are_known_for_has_its_outcome(
    door: Door, database: Database, owner: Connection
) -> None:
    now = [0.0]
    directory = TenantDirectory(database, 5, lambda: now[0])
    await directory.refresh()
    log = AccessLog(door.services.writer, directory, AccessMetrics(CollectorRegistry()))
    actor, deed = Actor("tallystick:cli", "ada"), Deed("keys rotate", "keys.rotate", "tenant", "acme")
    async with log.running(), log.act(actor, deed, "acme"):
        now[0] = 60
    intent, outcome = await recorded(owner)
    assert outcome["metadata"]["intent"] == intent["id"]


async def test_what_has_no_log_is_not_done(door: Door) -> None:
    deed = Deed("worker", "logs.remove", "log", "events")
    with pytest.raises(UnavailableError):
        await door.services.access_log.intend(Actor("tallystick:worker", "x"), deed, []).durable()
