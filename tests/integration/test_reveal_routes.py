"""Revealing: the named fields and nothing else, to who may, and never without its record."""

from typing import Any

import httpx
import orjson
import pytest

from conftest import Connection
from doors import Door
from sealed_events import append_sealed, stored_body
from stored_events import remove

CARD = "/metadata/card"
SECRET = "4111 1111 1111 1111"


async def reveal(
    door: Door, event_id: str, *fields: str, token: dict[str, str] | None = None, **params: str
) -> httpx.Response:
    return await door.client.post(
        f"/api/v1/logs/{event_id}/reveal",
        json={"reason": "case 4711", "fields": list(fields or (CARD,))},
        headers=token or door.bearer(),
        params=params,
    )


async def recorded(owner: Connection, tenant_id: str = "acme") -> list[dict[str, Any]]:
    rows = await owner.fetch(
        "select e.body from tallystick.events e join tallystick.logs l on l.id = e.log_id"
        " where l.tenant_id = $1 and l.name = 'access' order by e.seq",
        tenant_id,
    )
    return [each for row in rows if (each := orjson.loads(row["body"]))["action"] == "logs.reveal"]


async def test_the_named_fields_are_shown_and_nothing_else(door: Door) -> None:
    event_id = await append_sealed(door)
    answer = await reveal(door, event_id)
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"id": event_id, "fields": {CARD: SECRET}}
    assert answer.headers["cache-control"] == "no-store"
    both = await reveal(door, event_id, CARD, "/message")
    assert both.json()["fields"] == {CARD: SECRET, "/message": f"paid with {SECRET}"}


@pytest.mark.parametrize("value", [None, 0, [1, {"a": "b"}], {"number": SECRET}, True, ""])
async def test_any_json_value_comes_back_as_it_was(door: Door, value: Any) -> None:
    answer = await reveal(door, await append_sealed(door, value=value))
    assert answer.json()["fields"] == {CARD: value}


async def test_who_asked_for_what_and_why_is_recorded_before_and_never_a_value(door: Door, owner: Connection) -> None:
    event_id = await append_sealed(door)
    await reveal(door, event_id, CARD, "/message")
    intent = (await recorded(owner))[0]
    assert intent["resource_id"] == event_id
    assert intent["user_id"] == "admin@example.com"
    assert intent["metadata"]["phase"] == "intent"
    assert intent["metadata"]["asked"] == {"reason": "case 4711", "fields": [CARD, "/message"]}
    rows = await owner.fetch("select body from tallystick.events")
    assert rows
    assert not any("4111" in row["body"] for row in rows)


@pytest.mark.parametrize("role", ["auditor", "user"])
async def test_to_read_is_not_to_reveal(door: Door, role: str) -> None:
    event_id = await append_sealed(door, user_id=f"{role}@example.com")
    answer = await reveal(door, event_id, token=door.bearer(role))
    assert answer.status_code == 403
    assert "logs:reveal" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("scopes", "status"),
    [
        (("logs:read",), 403),
        (("logs:reveal",), 403),
        (("logs:read", "logs:reveal"), 200),
        (("logs:read:resource_type=order", "logs:reveal"), 404),
        (("logs:read:resource_type=invoice", "logs:reveal"), 200),
    ],
)
async def test_scopes_narrow_it(door: Door, scopes: tuple[str, ...], status: int) -> None:
    event_id = await append_sealed(door, resource_type="invoice")
    answer = await reveal(door, event_id, token=door.bearer(scopes=scopes))
    assert answer.status_code == status, answer.text


async def test_another_tenants_event_is_not_found(door: Door) -> None:
    await door.make_tenant("other")
    event_id = await append_sealed(door, "other")
    assert (await reveal(door, event_id)).status_code == 404
    assert (await reveal(door, event_id, tenant_id="other")).status_code == 403


async def test_what_is_not_sealed_is_said_so_at_its_place(door: Door, owner: Connection) -> None:
    event_id = await append_sealed(door)
    answer = await reveal(door, event_id, CARD, "/metadata/shop", "/metadata/nothing", "/metadata/card/$sealed")
    assert answer.status_code == 422
    assert [(flaw["pointer"], flaw["detail"].split(":")[0]) for flaw in answer.json()["errors"]] == [
        ("/fields/1", "leads to a value that is not sealed"),
        ("/fields/2", "leads to nothing in the event"),
        ("/fields/3", "leads to a value that is not sealed"),
    ]
    assert SECRET not in answer.text
    assert len(await recorded(owner)) >= 1


async def test_a_sealed_value_moved_to_another_event_stays_shut(door: Door) -> None:
    """A writer who copies what is sealed into an event of their own, and asks for that."""
    stolen = (await stored_body(door, await append_sealed(door)))["metadata"]["card"]
    answer = await door.client.post(
        "/api/v1/logs",
        json={"action": "a", "resource_type": "b", "metadata": {"card": stolen}},
        headers=door.bearer(),
    )
    answer = await reveal(door, answer.json()["id"])
    assert answer.status_code == 422
    assert "was not sealed here" in answer.json()["errors"][0]["detail"]


async def test_an_erased_key_is_gone_for_good(door: Door, owner: Connection) -> None:
    event_id = await append_sealed(door)
    await owner.execute("delete from tallystick.data_keys")
    door.services.keys.forget("acme")
    answer = await reveal(door, event_id)
    assert answer.status_code == 410
    assert "erased" in answer.json()["detail"]
    assert (await stored_body(door, event_id))["id"] == event_id


async def test_a_removed_event_is_gone(door: Door, owner: Connection) -> None:
    event_id = await append_sealed(door)
    log_id = await owner.fetchval("select id from tallystick.logs where tenant_id = 'acme' and name = 'events'")
    await remove(owner, log_id, 0, 0)
    assert (await reveal(door, event_id)).status_code == 410


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"fields": [CARD]}, "/reason"),
        ({"reason": "", "fields": [CARD]}, "/reason"),
        ({"reason": "x" * 501, "fields": [CARD]}, "/reason"),
        ({"reason": "x", "fields": []}, "/fields"),
        ({"reason": "x", "fields": [CARD, CARD]}, "/fields"),
        ({"reason": "x", "fields": ["metadata/card"]}, "/fields/0"),
        ({"reason": "x", "fields": [""]}, "/fields/0"),
        ({"reason": "x", "fields": [f"/{number:03}{'x' * 200}" for number in range(50)]}, "/fields"),
        ({"reason": "x", "fields": [f"/{number}" for number in range(51)]}, "/fields"),
        ({"reason": "x", "fields": [CARD], "more": 1}, "/more"),
    ],
)
async def test_a_request_that_is_not_valid_says_where(door: Door, body: Any, pointer: str) -> None:
    event_id = await append_sealed(door)
    answer = await door.client.post(f"/api/v1/logs/{event_id}/reveal", json=body, headers=door.bearer())
    assert answer.status_code == 422
    assert [flaw["pointer"] for flaw in answer.json()["errors"]] == [pointer]


async def test_what_cannot_be_recorded_is_not_revealed(door: Door, owner: Connection) -> None:
    event_id = await append_sealed(door)
    await owner.execute("revoke insert on tallystick.events from tallystick_writer")
    try:
        answer = await reveal(door, event_id)
    finally:
        await owner.execute("grant insert on tallystick.events to tallystick_writer")
    assert answer.status_code >= 500
    assert SECRET not in answer.text
