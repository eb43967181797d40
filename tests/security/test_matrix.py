"""Every route, knocked at by everyone who could: with no token, with each role in its own tenant and in another's.

The expectations are derived from the registry of operations and the table of permissions, so that a new route is
covered as soon as it is declared; the one list that is kept by hand here is how to ask for each operation.
"""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import httpx
import pytest
import pytest_asyncio
from fastapi.routing import APIRoute, APIWebSocketRoute

from doors import Door, open_door, upgrade
from factories import event, unique
from sealed_events import append_sealed
from tallystick.auth.model import Role
from tallystick.auth.operations import OPERATIONS, REVEAL_EVENT, Operation, Realm, Recorded
from tallystick.auth.permissions import GRANTS
from tallystick.auth.routing import operation_of
from tallystick.auth.tenancy import PLATFORM_TENANT
from tallystick.export.model import Finished
from tallystick.export.queries import finish_export
from tallystick.objects.store import Objects
from tallystick.settings import ExportSettings, Settings

UPGRADE = "UPGRADE"
"""In place of a method: a GET that asks to become a WebSocket."""

OWN, OTHER = "own", "other"
WHO = ("anonymous", "garbage", "user", "auditor", "admin", "everywhere-auditor", "platform")
PUBLIC_PATHS = {
    "/healthz",
    "/readyz",
    "/metrics",
    "/openapi.json",
    "/docs",
    "/docs/{name}",
    "/problems/{slug}",
}


@dataclass(frozen=True)
class Request:
    """How an operation is asked for in a tenant."""

    method: str
    path: str
    query: dict[str, str]
    body: Any = None


def ask(
    operation: Operation,
    tenant: str,
    event_id: str,
    job_id: str = "nobody's",
    export_id: str = "nobody's",
    access_id: str = "nobody's",
) -> Request:
    """How the operation is asked for. A new one needs a line here."""
    logs, tenants, jobs, exports = "/api/v1/logs", "/api/v1/tenants", "/api/v1/jobs", "/api/v1/exports"
    access, named = "/api/v1/access-logs", {"tenant_id": tenant}
    return {
        "append_event": Request("POST", logs, {}, event(tenant_id=tenant)),
        "append_events": Request("POST", f"{logs}/bulk", {}, [event(tenant_id=tenant)]),
        "preview_masking": Request("POST", f"{logs}/mask", {}, {"event": event(tenant_id=tenant)}),
        "list_events": Request("GET", logs, named),
        "search_events": Request("POST", f"{logs}/search", {}, named),
        "read_event": Request("GET", f"{logs}/{event_id}", named),
        "export_events": Request("GET", f"{logs}/export", named),
        "read_stats": Request("GET", f"{logs}/stats", named),
        "start_export": Request("POST", exports, {}, named),
        "list_exports": Request("GET", exports, named),
        "read_export": Request("GET", f"{exports}/{export_id}", named),
        "fetch_export": Request("GET", f"{exports}/{export_id}/content", named),
        "delete_export": Request("DELETE", f"{exports}/{export_id}", named),
        "stream_events": Request(UPGRADE, f"{logs}/stream", named),
        "correlate_events": Request("GET", f"{logs}/correlated/req-1", named),
        "reveal_event": Request(
            "POST", f"{logs}/{event_id}/reveal", named, {"reason": "a test", "fields": ["/metadata/card"]}
        ),
        "read_history": Request("GET", "/api/v1/resources/invoice/i-1/history", named),
        "list_access_events": Request("GET", access, named),
        "search_access_events": Request("POST", f"{access}/search", {}, named),
        "read_access_event": Request("GET", f"{access}/{access_id}", named),
        "export_access_events": Request("GET", f"{access}/export", named),
        "stream_access_events": Request(UPGRADE, f"{access}/stream", named),
        "clean_up": Request(
            "DELETE", f"{logs}/cleanup", {**named, "before": "2020-01-01T00:00:00Z", "reason": "x", "dry_run": "true"}
        ),
        "list_tenants": Request("GET", tenants, {}),
        "create_tenant": Request("POST", tenants, {}, {"id": unique("new"), "name": "New"}),
        "read_tenant": Request("GET", f"{tenants}/{tenant}", {}),
        "update_tenant": Request("PATCH", f"{tenants}/{tenant}", {}, {"name": "Renamed"}),
        "remove_tenant": Request("DELETE", f"{tenants}/{tenant}", {"reason": "x", "dry_run": "true"}),
        "restore_tenant": Request("POST", f"{tenants}/{tenant}/restore", {}),
        "list_jobs": Request("GET", jobs, named),
        "run_job": Request("POST", jobs, named, {"kind": "rebuild_index", "log": "events"}),
        "read_job": Request("GET", f"{jobs}/{job_id}", named),
        "cancel_job": Request("POST", f"{jobs}/{job_id}/cancel", named),
    }[operation.name]


def expected(operation: Operation, who: str, where: str) -> set[int]:
    """The statuses that the registry and the table of permissions allow."""
    good = {101, 200, 201, 202, 204}
    if who in ("anonymous", "garbage"):
        return {401}
    if who == "platform":
        return good
    if operation.realm is Realm.PLATFORM:
        return {403}
    role = Role.AUDITOR if who == "everywhere-auditor" else Role(who)
    if where == OTHER and who != "everywhere-auditor":
        return {403}
    return good if operation.permission in GRANTS[role] else {403}


@pytest_asyncio.fixture(scope="module")
async def doors(template: Any, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Door]:
    many = ExportSettings(per_principal=1_000, per_tenant=10_000)
    async with template.copied() as database:
        settings = Settings(home=tmp_path_factory.mktemp("home"), database=database, exports=many)
        async with open_door(settings) as door:
            await door.make_tenant(OWN)
            await door.make_tenant(OTHER)
            yield door


def credentials(door: Door, who: str) -> dict[str, str]:
    match who:
        case "anonymous":
            return {}
        case "garbage":
            return {"authorization": "Bearer " + door.token("admin", OWN)[:-8] + "AAAAAAAA"}
        case "platform":
            return door.bearer("admin", platform=True)
        case "everywhere-auditor":
            return door.bearer("auditor", platform=True)
        case _:
            return door.bearer(who, OWN, subject="ada@example.com")


async def append(door: Door, tenant: str, **changes: Any) -> str:
    answer = await door.client.post(
        "/api/v1/logs", json=event(tenant_id=tenant, **changes), headers=door.bearer("admin", platform=True)
    )
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


async def start(door: Door, tenant: str) -> str:
    answer = await door.client.post(
        "/api/v1/jobs",
        params={"tenant_id": tenant},
        json={"kind": "rebuild_index"},
        headers=door.bearer("admin", platform=True),
    )
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


async def looked(door: Door, tenant: str) -> str:
    """The newest event of a tenant's access log."""
    asked = ask(OPERATIONS["list_access_events"], tenant, "")
    assert (await send(door, ask(OPERATIONS["list_events"], tenant, ""), "platform")).status_code == 200
    return (await send(door, asked, "platform")).json()["items"][0]["id"]


async def export(door: Door, tenant: str, headers: dict[str, str]) -> str:
    """An export that can be fetched, of whoever may have one, else of a platform admin: without a worker."""
    answer = await door.client.post("/api/v1/exports", json={"tenant_id": tenant}, headers=headers)
    if answer.status_code != 202:
        headers = door.bearer("admin", platform=True)
        answer = await door.client.post("/api/v1/exports", json={"tenant_id": tenant}, headers=headers)
    export_id: str = answer.json()["id"]

    async def content() -> AsyncGenerator[bytes]:
        yield b"secret"

    settings = door.services.settings
    key = f"tenants/{tenant}/exports/{export_id}/x"
    await Objects.from_settings(settings.objects, settings.home).put(key, content())
    async with door.services.database.worker_session() as connection:
        await connection.execute("update tallystick.jobs set state = 'running' where id = $1::text::uuid", export_id)
        assert await finish_export(connection, export_id, Finished(key, 1, 6, sha256(b"secret").digest(), None), 3600)
        await connection.execute("update tallystick.jobs set state = 'succeeded' where id = $1::text::uuid", export_id)
    return export_id


async def send(door: Door, asked: Request, who: str) -> httpx.Response:
    return await request(door, asked, credentials(door, who))


async def request(door: Door, asked: Request, headers: dict[str, str]) -> httpx.Response:
    if asked.method == UPGRADE:
        # A client that sends no header is let in to send its token; here nobody comes without.
        answer = await upgrade(door.app, asked.path, asked.query, {"authorization": "Bearer x", **headers})
    else:
        answer = await door.client.request(
            asked.method, asked.path, params=asked.query, json=asked.body, headers=headers
        )
    assert_nobody_elses(asked, answer)
    return answer


def assert_nobody_elses(asked: Request, answer: httpx.Response) -> None:
    """No cache that several share may keep an answer, whatever it says (RFC 9111 §3.5)."""
    kept = answer.headers.get_list("cache-control")
    assert kept in (["no-store"], ["private, no-cache"]), f"{asked.path} {answer.status_code}: {kept}"
    if kept != ["no-store"]:
        assert "Authorization" in answer.headers["vary"]
        assert answer.headers["etag"]


@pytest.mark.parametrize("where", [OWN, OTHER])
@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("name", sorted(OPERATIONS))
async def test_each_may_do_what_the_table_says_and_nothing_else(doors: Door, name: str, who: str, where: str) -> None:
    operation = OPERATIONS[name]
    put = append_sealed if operation is REVEAL_EVENT else append
    event_id = await put(doors, where, user_id="ada@example.com")
    job_id = await start(doors, where)
    export_id = await export(doors, where, credentials(doors, who)) if "export" in name else ""
    access_id = await looked(doors, where) if "access_event" in name else ""
    answer = await send(doors, ask(operation, where, event_id, job_id, export_id, access_id), who)
    assert answer.status_code in expected(operation, who, where), answer.text
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        assert event_id not in answer.text
        assert job_id not in answer.text
        assert "secret" not in answer.text


async def told(door: Door, tenant: str, action: str) -> list[dict[str, Any]]:
    """What a tenant's access log says of an action, the newest first."""
    asked = {"tenant_id": tenant, "action": action, "limit": "20"}
    answer = await door.client.get("/api/v1/access-logs", params=asked, headers=credentials(door, "platform"))
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def outcomes_of(intent: dict[str, Any], items: list[dict[str, Any]]) -> list[str]:
    """What came of an intent, as far as it is told."""
    return [each["metadata"]["result"] for each in items if each["metadata"].get("intent") == intent["id"]]


@pytest.mark.parametrize("name", sorted(name for name, each in OPERATIONS.items() if each.recording is not None))
async def test_each_leaves_its_record(doors: Door, name: str) -> None:
    operation, recording = OPERATIONS[name], OPERATIONS[name].recording
    assert recording is not None
    put = append_sealed if operation is REVEAL_EVENT else append
    event_id, job_id = await put(doors, OTHER), await start(doors, OTHER)
    export_id = await export(doors, OTHER, credentials(doors, "platform")) if "export" in name else ""
    access_id = await looked(doors, OTHER) if "access_event" in name else ""
    where = PLATFORM_TENANT if operation.realm is Realm.PLATFORM else OTHER
    before = {each["id"] for each in await told(doors, where, recording.action)}
    answer = await send(doors, ask(operation, OTHER, event_id, job_id, export_id, access_id), "platform")
    assert answer.status_code < 400, answer.text
    asked = [each for each in await told(doors, where, recording.action) if each["id"] not in before]
    # Outcomes of what was asked before may come late.
    intent = next(each for each in asked if each["metadata"]["phase"] == "intent")
    about = intent["metadata"]
    assert (about["phase"], about["operation"], about["role"]) == ("intent", name, "platform")
    assert (intent["user_id"], intent["resource_type"]) == ("admin@example.com", recording.resource_type)
    if recording.how is not Recorded.READ:
        async with asyncio.timeout(20):
            while not (results := outcomes_of(intent, await told(doors, where, recording.action))):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert results == ["completed"]


@pytest.mark.parametrize("name", ["read_event", "read_access_event", "fetch_export"])
async def test_what_a_client_keeps_for_itself_is_shown_to_nobody_else(doors: Door, name: str) -> None:
    access_id = await looked(doors, OWN)
    export_id = await export(doors, OWN, credentials(doors, "admin"))
    asked = ask(OPERATIONS[name], OWN, await append(doors, OWN), "", export_id, access_id)
    tag = {"if-none-match": (await send(doors, asked, "admin")).headers["etag"]}
    assert (await request(doors, asked, {**credentials(doors, "admin"), **tag})).status_code == 304
    # Who knows the tag must still be let in.
    assert (await request(doors, asked, {**credentials(doors, "anonymous"), **tag})).status_code == 401
    others = doors.bearer("admin", OTHER)
    assert (await request(doors, asked, {**others, **tag})).status_code == 403


@pytest.mark.parametrize("name", sorted(name for name, each in OPERATIONS.items() if each.realm is Realm.TENANT))
async def test_a_tenant_that_is_not_there_looks_like_one_that_is_not_yours(doors: Door, name: str) -> None:
    operation, event_id = OPERATIONS[name], await append(doors, OWN)
    for who in ("user", "auditor", "admin"):
        missing = await send(doors, ask(operation, "nobody", event_id), who)
        foreign = await send(doors, ask(operation, OTHER, event_id), who)
        assert (missing.status_code, foreign.status_code) == (403, 403)
        assert missing.json()["detail"] == foreign.json()["detail"]
    assert (await send(doors, ask(operation, "nobody", event_id), "everywhere-auditor")).status_code == 403
    assert (await send(doors, ask(operation, "nobody", event_id), "platform")).status_code == 404


@pytest.mark.parametrize("who", ["auditor", "admin", "platform"])
async def test_anothers_event_is_not_found_in_ones_own_tenant(doors: Door, who: str) -> None:
    foreign = await append(doors, OTHER)
    answer = await send(doors, ask(OPERATIONS["read_event"], OWN, foreign), who)
    assert answer.status_code == 404
    assert (await send(doors, ask(OPERATIONS["read_event"], OTHER, foreign), "platform")).status_code == 200


@pytest.mark.parametrize("name", ["read_job", "cancel_job"])
@pytest.mark.parametrize("who", ["admin", "platform"])
async def test_anothers_job_is_not_found_in_ones_own_tenant(doors: Door, who: str, name: str) -> None:
    foreign = await start(doors, OTHER)
    before = (await send(doors, ask(OPERATIONS["read_job"], OTHER, "", foreign), "platform")).json()
    answer = await send(doors, ask(OPERATIONS[name], OWN, "", foreign), who)
    assert answer.status_code == 404
    after = await send(doors, ask(OPERATIONS["read_job"], OTHER, "", foreign), "platform")
    assert (after.status_code, after.json()) == (200, before)
    listed = (await send(doors, ask(OPERATIONS["list_jobs"], OWN, ""), who)).json()
    assert foreign not in [job["id"] for job in listed["items"]]


@pytest.mark.parametrize("name", ["read_export", "fetch_export", "delete_export"])
@pytest.mark.parametrize("who", ["user", "auditor", "admin", "everywhere-auditor", "platform"])
async def test_anothers_export_is_not_found(doors: Door, who: str, name: str) -> None:
    colleague = doors.bearer("admin", OWN, subject="colleague@example.com")
    theirs = await export(doors, OWN, colleague)
    foreign = await export(doors, OTHER, credentials(doors, "platform"))
    for export_id in (theirs, foreign):
        answer = await send(doors, ask(OPERATIONS[name], OWN, "", "", export_id), who)
        assert answer.status_code == 404
        assert "secret" not in answer.text
    content = ask(OPERATIONS["fetch_export"], OWN, "", "", theirs)
    still = await doors.client.get(content.path, params=content.query, headers=colleague)
    assert (still.status_code, still.text) == (200, "secret")


async def test_a_user_finds_the_events_of_their_own_alone(doors: Door) -> None:
    mine, theirs = await append(doors, OWN, user_id="ada@example.com"), await append(doors, OWN, user_id="bob")
    read = OPERATIONS["read_event"]
    assert (await send(doors, ask(read, OWN, mine), "user")).status_code == 200
    assert (await send(doors, ask(read, OWN, theirs), "user")).status_code == 404
    assert (await send(doors, ask(read, OWN, theirs), "auditor")).status_code == 200
    listed = (await send(doors, ask(OPERATIONS["list_events"], OWN, mine), "user")).json()
    assert {item["user_id"] for item in listed["items"]} == {"ada@example.com"}


@pytest.mark.parametrize("name", sorted(OPERATIONS))
async def test_a_scope_takes_away_what_it_does_not_name(doors: Door, name: str) -> None:
    operation = OPERATIONS[name]
    keeps = "logs:read" if operation.permission != "logs:read" else "logs:write"
    put = append_sealed if operation is REVEAL_EVENT else append
    event_id = await put(doors, OWN)
    job_id = await start(doors, OWN)
    export_id = await export(doors, OWN, credentials(doors, "platform")) if "export" in name else ""
    access_id = await looked(doors, OWN) if "access_event" in name else ""
    asked = ask(operation, OWN, event_id, job_id, export_id, access_id)
    headers = doors.bearer("admin", platform=True, scopes=[keeps])
    answer = await request(doors, asked, headers)
    assert answer.status_code == 403
    beside = ["logs:read"] if operation is REVEAL_EVENT else []  # what is revealed is read, too
    kept = doors.bearer("admin", platform=True, scopes=[str(operation.permission), *beside])
    again = ask(operation, OWN, event_id, job_id, export_id, access_id)
    answer = await request(doors, again, kept)
    assert answer.status_code in (101, 200, 201, 202, 204), answer.text


async def test_nothing_is_open_that_is_not_meant_to_be(doors: Door) -> None:
    seen = set[str]()
    for route in doors.app.routes:
        assert isinstance(route, APIRoute | APIWebSocketRoute), route
        operation = operation_of(route)
        assert operation is not None, route.path
        if operation.realm is Realm.PUBLIC:
            assert route.path in PUBLIC_PATHS, f"{route.path} needs no token: is that meant?"
        else:
            seen.add(operation.name)
            assert route.path.startswith("/api/v1/")
    assert seen == set(OPERATIONS)


async def test_of_the_reserved_tenant_only_its_access_log_is_read_by_platform_admins_alone(doors: Door) -> None:
    for operation in OPERATIONS.values():
        if operation.realm is Realm.TENANT:
            for who in ("user", "admin", "everywhere-auditor", "platform"):
                answer = await send(doors, ask(operation, "_platform", "x"), who)
                may = who == "platform" and operation.log == "access"
                expected = (101, 200, 404) if may else (403, 404)  # 404: the event `x`, which is not there
                assert answer.status_code in expected, f"{operation.name} {who} {answer.text}"
