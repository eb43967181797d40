import asyncio
from typing import Any

import pytest

from doors import Door
from factories import unique


async def listed(door: Door, query: str = "") -> dict[str, Any]:
    answer = await door.client.get(f"/api/v1/tenants{query}", headers=door.bearer(platform=True))
    assert answer.status_code == 200, answer.text
    return answer.json()


async def patch(door: Door, tenant_id: str, body: object, **kwargs: Any) -> Any:
    return await door.client.patch(
        f"/api/v1/tenants/{tenant_id}", json=body, headers=door.bearer(**(kwargs or {"platform": True}))
    )


async def test_a_new_tenant_can_be_used_at_once(door: Door) -> None:
    headers = door.bearer(platform=True)
    made = await door.client.post("/api/v1/tenants", json={"id": "globex", "name": "Globex"}, headers=headers)
    assert made.status_code == 201
    assert made.headers["location"] == "/api/v1/tenants/globex"
    assert made.json() | {"created_at": ""} == {
        "id": "globex",
        "name": "Globex",
        "settings": {},
        "suspended": False,
        "created_at": "",
        "closing": None,
    }
    assert (await door.client.get(made.headers["location"], headers=headers)).json() == made.json()
    appended = await door.client.post(
        "/api/v1/logs",
        json={"action": "a", "resource_type": "b", "tenant_id": "globex"},
        headers=door.bearer("user", "globex"),
    )
    assert appended.status_code == 201, appended.text


async def test_an_id_that_is_taken_is_a_conflict_and_changes_nothing(door: Door) -> None:
    again = await door.client.post(
        "/api/v1/tenants", json={"id": "acme", "name": "Other"}, headers=door.bearer(platform=True)
    )
    assert again.status_code == 409
    assert again.json()["type"] == "/problems/conflict"
    read = await door.client.get("/api/v1/tenants/acme", headers=door.bearer("auditor"))
    assert read.json()["name"] == "Acme"


async def test_one_of_many_who_race_for_an_id_gets_it(door: Door) -> None:
    headers = door.bearer(platform=True)
    answers = await asyncio.gather(
        *(
            door.client.post("/api/v1/tenants", json={"id": "prize", "name": f"N{number}"}, headers=headers)
            for number in range(12)
        )
    )
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 11


async def test_the_reserved_tenant_can_be_neither_made_nor_changed_nor_written_to(door: Door) -> None:
    headers = door.bearer(platform=True)
    made = await door.client.post("/api/v1/tenants", json={"id": "_platform", "name": "P"}, headers=headers)
    assert made.status_code == 422
    assert (await patch(door, "_platform", {"suspended": True})).status_code == 404
    event = {"action": "a", "resource_type": "b", "tenant_id": "_platform"}
    assert (await door.client.post("/api/v1/logs", json=event, headers=headers)).status_code == 404
    assert "_platform" not in {item["id"] for item in (await listed(door))["items"]}


async def test_a_patch_changes_what_it_names(door: Door) -> None:
    renamed = await patch(door, "acme", {"name": "Acme Holding"}, role="admin")
    assert renamed.status_code == 200
    assert renamed.json()["name"] == "Acme Holding"
    assert (await patch(door, "acme", {}, role="admin")).json() == renamed.json()
    merge = await door.client.patch(
        "/api/v1/tenants/acme",
        content=b'{"settings": null}',
        headers={**door.bearer(platform=True), "content-type": "application/merge-patch+json"},
    )
    assert merge.status_code == 200


async def test_an_unknown_setting_is_refused_at_its_place(door: Door) -> None:
    answer = await patch(door, "acme", {"settings": {"colour": "red"}})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/settings/colour"


async def test_a_suspended_tenant_refuses_everybody_until_it_is_resumed(door: Door) -> None:
    event = {"action": "a", "resource_type": "b"}

    async def knock() -> int:
        return (await door.client.post("/api/v1/logs", json=event, headers=door.bearer("user"))).status_code

    assert await knock() == 201
    suspended = await patch(door, "acme", {"suspended": True})
    assert suspended.json()["suspended"] is True
    assert await knock() == 403
    assert (await patch(door, "acme", {"name": "Mine"}, role="admin")).status_code == 403
    assert (await patch(door, "acme", {"suspended": True})).json() == suspended.json()
    assert (await patch(door, "acme", {"suspended": False})).status_code == 200
    assert await knock() == 201


async def test_a_tenants_own_admin_cannot_suspend_it(door: Door) -> None:
    answer = await patch(door, "acme", {"suspended": True}, role="admin")
    assert answer.status_code == 403
    assert "tenants:suspend" in answer.json()["detail"]


async def test_pages_lead_forth_and_back_over_every_tenant_once(door: Door) -> None:
    made = ["acme"]
    for _ in range(6):
        made.append(unique("t"))
        await door.make_tenant(made[-1])
    seen: list[str] = []
    pages: list[dict[str, Any]] = []
    page = await listed(door, "?limit=3")
    assert page["prev"] is None
    while True:
        pages.append(page)
        seen += [item["id"] for item in page["items"]]
        if page["next"] is None:
            break
        page = await listed(door, f"?limit=3&cursor={page['next']}")
    assert seen == made
    assert [len(page["items"]) for page in pages] == [3, 3, 1]
    back = await listed(door, f"?limit=3&cursor={pages[-1]['prev']}")
    assert back["items"] == pages[1]["items"]
    first = await listed(door, f"?limit=3&cursor={back['prev']}")
    assert first["items"] == pages[0]["items"]
    assert first["prev"] is None
    assert (await listed(door, f"?limit=3&cursor={first['next']}"))["items"] == pages[1]["items"]


@pytest.mark.parametrize(
    "query", ["?limit=0", "?limit=1001", "?limit=x", "?cursor=AAAA", "?cursor=%00", "?cursor=", "?limit=1&limit=2"]
)
async def test_a_listing_that_cannot_be_is_refused_by_name(door: Door, query: str) -> None:
    answer = await door.client.get(f"/api/v1/tenants{query}", headers=door.bearer(platform=True))
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["parameter"] in query


async def test_two_who_change_one_tenant_at_once_lose_nothing(door: Door) -> None:
    await asyncio.gather(patch(door, "acme", {"name": "Both"}), patch(door, "acme", {"suspended": True}))
    read = await door.client.get("/api/v1/tenants/acme", headers=door.bearer(platform=True))
    assert (read.json()["name"], read.json()["suspended"]) == ("Both", True)


@pytest.mark.parametrize(
    ("method", "path"), [("GET", ""), ("POST", ""), ("GET", "/acme"), ("PATCH", "/acme"), ("PATCH", "/" + "x" * 64)]
)
async def test_who_is_calling_comes_first_and_then_the_query_string(door: Door, method: str, path: str) -> None:
    async def ask(query: str, **headers: str) -> Any:
        return await door.client.request(method, f"/api/v1/tenants{path}?{query}", content=b"{", headers=headers)

    assert (await ask("tenant_id=t1&limit=x")).status_code == 401
    answer = await ask("tenant_id=t1", **door.bearer(platform=True))
    assert answer.status_code == 422
    assert [flaw["parameter"] for flaw in answer.json()["errors"]] == ["tenant_id"]
    assert (await listed(door))["items"][0]["name"] == "Acme"


async def test_a_body_that_is_no_json_is_refused_by_its_type(door: Door) -> None:
    for method, path, header, types in (
        ("POST", "", "accept-post", "application/json"),
        ("PATCH", "/acme", "accept-patch", "application/json, application/merge-patch+json"),
    ):
        for content_type in ("text/plain", "application/x-ndjson", "application/json; charset=latin1"):
            headers = {**door.bearer(platform=True), "content-type": content_type}
            answer = await door.client.request(method, f"/api/v1/tenants{path}", content=b"{}", headers=headers)
            assert answer.status_code == 415
            if "charset" not in content_type:
                assert answer.headers[header] == types
