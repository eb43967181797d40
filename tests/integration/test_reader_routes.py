"""`GET /logs` and `GET /logs/{id}` through the whole application."""

from typing import Any

import httpx
import orjson
import pytest

from doors import Door
from stored_events import Connection, Put, Row, now_us, put, remove

LOGS = "/api/v1/logs"


@pytest.fixture
async def door(door: Door) -> Door:
    """The whole API, with the tenants `acme` and `globex`."""
    await door.make_tenant("globex")
    return door


async def log_of(owner: Connection, tenant_id: str) -> int:
    return await owner.fetchval("select id from tallystick.logs where tenant_id = $1 and name = 'events'", tenant_id)


@pytest.fixture
async def events(door: Door, owner: Connection) -> list[Put]:
    """Six events of acme; every second one is ada's."""
    assert door
    now = now_us()
    rows = [
        Row(
            now,
            now - n,
            {
                "tenant_id": "acme",
                "action": "invoice.approve",
                "resource_type": "invoice" if n < 4 else "user",
                "user_id": "bob" if n % 2 else "ada",
                "ip_address": f"10.0.0.{n}",
                "severity": "ERROR" if n == 3 else "INFO",
                "message": 'a "quoted" Zo\u00eb',
            },
        )
        for n in range(6)
    ]
    return await put(owner, await log_of(owner, "acme"), rows)


async def get(door: Door, path: str = "", /, *, token: dict[str, str] | None = None, **params: Any) -> httpx.Response:
    named = {name.rstrip("_"): value for name, value in params.items()}
    return await door.client.get(LOGS + path, params=named, headers=token or door.bearer("auditor"))


def body_of(response: httpx.Response) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    return orjson.loads(response.content)


def flaws_of(response: httpx.Response) -> dict[str, str]:
    assert response.status_code == 422, response.text
    return {flaw["parameter"]: flaw["detail"] for flaw in response.json()["errors"]}


def seqs_of(response: httpx.Response) -> list[int]:
    return [item["seq"] for item in body_of(response)["items"]]


async def test_a_page_is_the_stored_bytes_joined(door: Door, events: list[Put]) -> None:
    response = await get(door)
    assert body_of(response).keys() == {"items", "next", "prev"}
    assert response.content == b'{"items":[%s],"next":null,"prev":null}' % b",".join(event.item for event in events)
    assert response.headers["cache-control"] == "no-store"
    assert "link" not in response.headers


async def test_links_lead_through_the_pages_and_back(door: Door, events: list[Put]) -> None:
    response = await get(door, limit=2, user_id=["ada", "bob"])
    seen = seqs_of(response)
    while "next" in response.links:
        response = await door.client.get(response.links["next"]["url"], headers=door.bearer("auditor"))
        seen += seqs_of(response)
    assert seen == [event.seq for event in events]
    back = await door.client.get(response.links["prev"]["url"], headers=door.bearer("auditor"))
    assert seqs_of(back) == [2, 3]


@pytest.mark.parametrize(
    ("params", "seqs"),
    [
        ({"user_id": "ada"}, [0, 2, 4]),
        ({"user_id": ["ada", "bob"], "resource_type": "user"}, [4, 5]),
        ({"min_severity": "WARNING"}, [3]),
        ({"ip": "10.0.0.4/31"}, [4, 5]),
        ({"ip": ["10.0.0.1", "::ffff:10.0.0.2"]}, [1, 2]),
        ({"order": "oldest", "limit": 2}, [5, 4]),
        ({"order": "seq", "after_seq": 3}, [4, 5]),
        ({"event_id": "none"}, []),
    ],
)
async def test_filters_and_orders(door: Door, events: list[Put], params: dict[str, Any], seqs: list[int]) -> None:
    assert len(events) == 6
    assert seqs_of(await get(door, **params)) == seqs


async def test_a_stretch_by_seq_tells_what_was_removed(door: Door, owner: Connection, events: list[Put]) -> None:
    await remove(owner, await log_of(owner, "acme"), 0, 1)
    body = body_of(await get(door, order="seq", limit=3))
    assert [item["seq"] for item in body["items"]] == [event.seq for event in events[2:5]]
    assert body["removed"] == [{"first_seq": 0, "last_seq": 1, "reason": "retention"}]
    assert body["after_seq"] == 4
    assert body["prev"] is None
    own = body_of(await get(door, order="seq", token=door.bearer("user", subject="ada")))
    assert [item["seq"] for item in own["items"]] == [2, 4]
    assert own.keys() == {"items", "next", "prev", "after_seq"}


@pytest.mark.parametrize(
    ("params", "parameter"),
    [
        ({"q": "(x"}, "q"),
        ({"query": "x"}, "query"),
        ({"limit": ["1", "2"]}, "limit"),
        ({"limit": 0}, "limit"),
        ({"from_": "yesterday"}, "from"),
        ({"to": "2026-11-24T00:00:00"}, "to"),
        ({"tenant_id": ["acme", "acme"]}, "tenant_id"),
        ({"cursor": "x"}, "cursor"),
        ({"severity": "LOW"}, "severity"),
    ],
)
async def test_what_is_wrong_with_the_query_string_is_named(door: Door, params: dict[str, Any], parameter: str) -> None:
    assert list(flaws_of(await get(door, **params))) == [parameter]


async def test_a_cursor_of_another_tenant_is_refused(door: Door, owner: Connection, events: list[Put]) -> None:
    now = now_us()
    await put(owner, await log_of(owner, "globex"), [Row(now, now) for _ in events])
    token = door.bearer("auditor", "acme", "globex")
    cursor = body_of(await get(door, token=token, tenant_id="acme", limit=1))["next"]
    assert seqs_of(await get(door, token=token, tenant_id="acme", limit=1, cursor=cursor)) == [1]
    assert "cursor" in flaws_of(await get(door, token=token, tenant_id="globex", limit=1, cursor=cursor))


async def test_a_user_reads_its_own_events_alone(door: Door, events: list[Put]) -> None:
    ada = door.bearer("user", subject="ada")
    assert seqs_of(await get(door, token=ada)) == [0, 2, 4]
    assert seqs_of(await get(door, token=ada, user_id="bob")) == []
    assert (await get(door, f"/{events[0].id}", token=ada)).content == events[0].item
    assert (await get(door, f"/{events[1].id}", token=ada)).status_code == 404


async def test_a_scope_narrows_to_resource_types(door: Door, events: list[Put]) -> None:
    assert len(events) == 6
    token = door.bearer("auditor", scopes=["logs:read:resource_type=user"])
    assert seqs_of(await get(door, token=token)) == [4, 5]


async def test_an_event_is_answered_byte_for_byte(door: Door, events: list[Put]) -> None:
    response = await get(door, f"/{events[3].id}")
    assert body_of(response)["seq"] == 3
    assert response.content == events[3].item
    assert response.headers["etag"] == f'"{events[3].leaf_hash.hex()}"'
    assert response.headers["cache-control"] == "private, no-cache"


@pytest.mark.parametrize("form", ["{}", "W/{}", '"other", {}', "*"])
async def test_a_current_copy_is_not_sent_again(door: Door, events: list[Put], form: str) -> None:
    etag = f'"{events[0].leaf_hash.hex()}"'
    headers = {**door.bearer("auditor"), "if-none-match": form.format(etag)}
    response = await door.client.get(f"{LOGS}/{events[0].id}", headers=headers)
    assert (response.status_code, response.content) == (304, b"")
    assert response.headers["etag"] == etag
    assert response.headers["cache-control"] == "private, no-cache"


async def test_a_copy_of_something_else_is_replaced(door: Door, events: list[Put]) -> None:
    headers = {**door.bearer("auditor"), "if-none-match": f'"{events[1].leaf_hash.hex()}"'}
    response = await door.client.get(f"{LOGS}/{events[0].id}", headers=headers)
    assert response.content == events[0].item


async def test_a_copy_does_not_excuse_from_being_allowed(door: Door, events: list[Put]) -> None:
    etag = f'"{events[1].leaf_hash.hex()}"'
    headers = {**door.bearer("user", subject="ada"), "if-none-match": etag}
    assert (await door.client.get(f"{LOGS}/{events[1].id}", headers=headers)).status_code == 404


async def test_a_removed_event_is_gone(door: Door, owner: Connection, events: list[Put]) -> None:
    await remove(owner, await log_of(owner, "acme"), 0, 0)
    assert (await get(door, f"/{events[0].id}")).status_code == 410
    assert (await get(door, f"/{events[0].id}", token=door.bearer("user", subject="ada"))).status_code == 404


async def test_an_event_of_another_tenant_is_not_found(door: Door, events: list[Put]) -> None:
    token = door.bearer("auditor", "globex")
    assert (await get(door, f"/{events[0].id}", token=token)).status_code == 404
    assert (await get(door, f"/{events[0].id}", token=token, tenant_id="acme")).status_code == 403
    assert (await get(door, token=token, tenant_id="acme")).status_code == 403


@pytest.mark.parametrize("path", ["/x", "/019ab6f4-1c2b-4000-8000-12d0a3f4b5c6", "/%00"])
async def test_what_is_no_id_is_not_found(door: Door, path: str) -> None:
    assert (await get(door, path)).status_code == 404


async def test_an_event_takes_no_filters(door: Door, events: list[Put]) -> None:
    assert "user_id" in flaws_of(await get(door, f"/{events[0].id}", user_id="ada"))


async def test_who_is_nobody_is_told_so_before_anything_else(door: Door) -> None:
    response = await door.client.get(LOGS, params={"unknown": "1"})
    assert response.status_code == 401


async def test_the_document_describes_every_parameter(door: Door) -> None:
    document = (await door.client.get("/openapi.json")).json()
    listing = document["paths"][LOGS]["get"]
    names = {parameter["name"] for parameter in listing["parameters"]}
    assert {"tenant_id", "from", "to", "order", "after_seq", "limit", "cursor", "ip", "min_severity"} <= names
    single = document["paths"][f"{LOGS}/{{event_id}}"]["get"]
    assert {parameter["name"] for parameter in single["parameters"]} == {"event_id", "tenant_id"}
    assert {"Event", "EventList", "RemovedRange"} <= document["components"]["schemas"].keys()
    assert all(field["description"] for field in document["components"]["schemas"]["Event"]["properties"].values())
