"""Every route, knocked at by everyone who could: with no token, with each role in its own tenant and in another's.

The expectations are derived from the registry of operations and the table of permissions, so that a new route is
covered as soon as it is declared; the one list that is kept by hand here is how to ask for each operation.
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from fastapi.routing import APIRoute

from doors import Door, open_door
from factories import event, unique
from tallystick.auth.model import Role
from tallystick.auth.operations import OPERATIONS, Operation, Realm
from tallystick.auth.permissions import GRANTS
from tallystick.auth.routing import operation_of
from tallystick.settings import Settings

OWN, OTHER = "own", "other"
WHO = ("anonymous", "garbage", "user", "auditor", "admin", "everywhere-auditor", "platform")
PUBLIC_PATHS = {
    "/healthz",
    "/readyz",
    "/metrics",
    "/openapi.json",
    "/docs",
    "/docs/start.js",
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


def ask(operation: Operation, tenant: str, event_id: str, job_id: str = "nobody's") -> Request:
    """How the operation is asked for. A new one needs a line here."""
    logs, tenants, jobs = "/api/v1/logs", "/api/v1/tenants", "/api/v1/jobs"
    named = {"tenant_id": tenant}
    return {
        "append_event": Request("POST", logs, {}, event(tenant_id=tenant)),
        "append_events": Request("POST", f"{logs}/bulk", {}, [event(tenant_id=tenant)]),
        "list_events": Request("GET", logs, named),
        "search_events": Request("POST", f"{logs}/search", {}, named),
        "read_event": Request("GET", f"{logs}/{event_id}", named),
        "export_events": Request("GET", f"{logs}/export", named),
        "correlate_events": Request("GET", f"{logs}/correlated/req-1", named),
        "read_history": Request("GET", "/api/v1/resources/invoice/i-1/history", named),
        "list_tenants": Request("GET", tenants, {}),
        "create_tenant": Request("POST", tenants, {}, {"id": unique("new"), "name": "New"}),
        "read_tenant": Request("GET", f"{tenants}/{tenant}", {}),
        "update_tenant": Request("PATCH", f"{tenants}/{tenant}", {}, {"name": "Renamed"}),
        "list_jobs": Request("GET", jobs, named),
        "run_job": Request("POST", jobs, named, {"kind": "rebuild_index", "log": "events"}),
        "read_job": Request("GET", f"{jobs}/{job_id}", named),
        "cancel_job": Request("POST", f"{jobs}/{job_id}/cancel", named),
    }[operation.name]


def expected(operation: Operation, who: str, where: str) -> set[int]:
    """The statuses that the registry and the table of permissions allow."""
    good = {200, 201, 202}
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
    settings = Settings(home=tmp_path_factory.mktemp("home"), database=await template.copy())
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


async def send(door: Door, asked: Request, who: str) -> Any:
    return await door.client.request(
        asked.method, asked.path, params=asked.query, json=asked.body, headers=credentials(door, who)
    )


@pytest.mark.parametrize("where", [OWN, OTHER])
@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("name", sorted(OPERATIONS))
async def test_each_may_do_what_the_table_says_and_nothing_else(doors: Door, name: str, who: str, where: str) -> None:
    operation = OPERATIONS[name]
    event_id = await append(doors, where, user_id="ada@example.com")
    job_id = await start(doors, where)
    answer = await send(doors, ask(operation, where, event_id, job_id), who)
    assert answer.status_code in expected(operation, who, where), answer.text
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        assert event_id not in answer.text
        assert job_id not in answer.text


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
    event_id = await append(doors, OWN)
    job_id = await start(doors, OWN)
    asked = ask(operation, OWN, event_id, job_id)
    headers = doors.bearer("admin", platform=True, scopes=[keeps])
    answer = await doors.client.request(asked.method, asked.path, params=asked.query, json=asked.body, headers=headers)
    assert answer.status_code == 403
    kept = doors.bearer("admin", platform=True, scopes=[str(operation.permission)])
    again = ask(operation, OWN, event_id, job_id)
    answer = await doors.client.request(again.method, again.path, params=again.query, json=again.body, headers=kept)
    assert answer.status_code in (200, 201, 202), answer.text


async def test_nothing_is_open_that_is_not_meant_to_be(doors: Door) -> None:
    seen = set[str]()
    for route in doors.app.routes:
        assert isinstance(route, APIRoute), route
        operation = operation_of(route)
        assert operation is not None, route.path
        if operation.realm is Realm.PUBLIC:
            assert route.path in PUBLIC_PATHS, f"{route.path} needs no token: is that meant?"
        else:
            seen.add(operation.name)
            assert route.path.startswith("/api/v1/")
    assert seen == set(OPERATIONS)


async def test_a_reserved_tenants_log_is_out_of_reach(doors: Door) -> None:
    for operation in OPERATIONS.values():
        if operation.realm is Realm.TENANT:
            for who in ("user", "admin", "everywhere-auditor", "platform"):
                answer = await send(doors, ask(operation, "_platform", "x"), who)
                assert answer.status_code in (403, 404), f"{operation.name} {who}"
