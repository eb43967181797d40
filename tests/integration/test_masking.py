"""Masking over HTTP: what is stored, what a retry is known by, whose settings count, and the look beforehand."""

from typing import Any, TypeAlias

import asyncpg
import httpx
import orjson
import pytest
import structlog

from doors import Door, open_door
from factories import event
from tallystick.settings import Settings
from tallystick_tlog import verify_event

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

CARD = "4111" + "1" * 12
SECRETS = {"message": f"paid with {CARD}", "metadata": {"Db-Password": "hunter two", "token_count": 3}}
MASKED = {
    "message": "paid with [redacted:payment_card]",
    "metadata": {"Db-Password": "[redacted:password]", "token_count": 3},
}


async def post(door: Door, path: str, body: Any, role: str = "admin", **headers: str) -> httpx.Response:
    return await door.client.post(f"/api/v1{path}", json=body, headers={**door.bearer(role), **headers})


async def stored(door: Door) -> list[dict[str, Any]]:
    answer = await door.client.get("/api/v1/logs?order=seq&after_seq=-1", headers=door.bearer())
    return answer.json()["items"]


async def set_masking(door: Door, masking: Any) -> httpx.Response:
    patch = {"settings": {"masking": masking}}
    return await door.client.patch("/api/v1/tenants/acme", json=patch, headers=door.bearer())


def shown(item: dict[str, Any]) -> dict[str, Any]:
    return {name: item[name] for name in MASKED}


async def counted(door: Door) -> dict[tuple[str, str], float]:
    text = (await door.client.get("/metrics")).text
    found: dict[tuple[str, str], float] = {}
    for line in text.splitlines():
        if line.startswith("tallystick_masked_total{"):
            labels, value = line.removeprefix("tallystick_masked_total{").split("} ")
            named = dict(label.split("=") for label in labels.replace('"', "").split(","))
            found[named["rule"], named["action"]] = float(value)
    return found


async def test_what_is_masked_is_what_is_hashed_and_stored(door: Door) -> None:
    single = await post(door, "/logs", event(**SECRETS))
    bulk = await post(door, "/logs/bulk", [event(), event(**SECRETS)])
    lines = b"\n".join(orjson.dumps(event(**SECRETS)) for _ in range(2))
    headers = {**door.bearer(), "content-type": "application/x-ndjson"}
    ndjson = await door.client.post("/api/v1/logs/bulk", content=lines, headers=headers)
    assert [answer.status_code for answer in (single, bulk, ndjson)] == [201, 201, 201]

    items = await stored(door)
    assert [shown(item) for item in items if "message" in item] == [MASKED] * 4
    one = await door.client.get(f"/api/v1/logs/{single.json()['id']}", headers=door.bearer())
    assert verify_event(one.content)
    assert await counted(door) == {("payment_card", "redact"): 4, ("password", "redact"): 4}


async def test_a_retry_is_known_by_what_was_sent(door: Door) -> None:
    first = await post(door, "/logs", event(event_id="e1", resource_id="r", **SECRETS))
    again = await post(door, "/logs", event(event_id="e1", resource_id="r", **SECRETS))
    other = await post(
        door, "/logs", event(event_id="e1", resource_id="r", **{**SECRETS, "message": f"paid with {CARD}1"})
    )
    bulk = await post(door, "/logs/bulk", [event(event_id="e1", resource_id="r", **SECRETS)])
    assert (first.status_code, again.status_code, other.status_code) == (201, 201, 409)
    assert first.content == again.content
    assert bulk.json()["known"] == 1
    assert len(await stored(door)) == 1


async def test_a_secret_that_differs_makes_another_event(door: Door) -> None:
    """Masked, the two are the same; as they were sent, they are not."""
    secret = event(event_id="e1", resource_id="r", metadata={"password": "one"})
    assert (await post(door, "/logs", secret)).status_code == 201
    assert (await post(door, "/logs", {**secret, "metadata": {"password": "two"}})).status_code == 409


async def test_each_tenant_has_its_own_settings_at_once(door: Door) -> None:
    await door.make_tenant("globex")
    settings = {"preset": "default", "names": {"badge_no": "drop"}, "detectors": {"payment_card": False}}
    changed = await set_masking(door, settings)
    assert (changed.status_code, changed.json()["settings"]) == (200, {"masking": settings})
    body = event(message=f"paid with {CARD}", metadata={"badgeNo": "b-1", "password": "x"})
    await post(door, "/logs", body)
    await door.client.post("/api/v1/logs", json=body, headers=door.bearer("admin", "globex"))
    (mine,) = await stored(door)
    assert (mine["message"], mine["metadata"]) == (body["message"], {"password": "[redacted:password]"})
    (theirs,) = (await door.client.get("/api/v1/logs", headers=door.bearer("admin", "globex"))).json()["items"]
    assert theirs["message"] == "paid with [redacted:payment_card]"
    assert theirs["metadata"]["badgeNo"] == "b-1"

    reset = await set_masking(door, {"names": {"badge_no": None}, "detectors": None})
    assert reset.json()["settings"] == {"masking": {"preset": "default", "names": {}}}
    off = await set_masking(door, {"preset": "none"})
    assert off.status_code == 200
    await post(door, "/logs", body)
    assert (await stored(door))[1]["metadata"] == body["metadata"]


@pytest.mark.parametrize(
    ("masking", "pointer", "mend"),
    [
        ({"preset": "strict"}, "/preset", "gdpr"),
        ({"detectors": {"no_such": True}}, "/detectors", "payment_card"),
        ({"detectors": {"email": 1}}, "/detectors/email", "boolean"),
        ({"actions": {"password": "shred"}}, "/actions/password", "encrypt"),
        ({"actions": {"no_such": "drop"}}, "/actions", "password"),
        ({"names": {"": "drop"}}, "/names", "letters"),
        ({"names": {"a": "keep", "b\n": "drop"}}, "/names", "letters"),
        ({"names": {"x" * 65: "drop"}}, "/names", "64"),
        ({"names": {f"n{n}": "drop" for n in range(201)}}, "/names", "200"),
        ({"colour": "red"}, "/colour", "leave it out"),
    ],
)
async def test_settings_that_make_no_sense_are_refused(door: Door, masking: Any, pointer: str, mend: str) -> None:
    answer = await set_masking(door, masking)
    assert answer.status_code == 422
    (flaw,) = answer.json()["errors"]
    assert flaw["pointer"] == f"/settings/masking{pointer}"
    assert mend in flaw["detail"]


async def test_a_look_beforehand_stores_counts_and_logs_nothing(door: Door) -> None:
    with structlog.testing.capture_logs() as lines:
        answer = await post(door, "/logs/mask", {"event": event(**SECRETS)}, role="user")
    assert answer.status_code == 200
    assert shown(answer.json()["event"]) == MASKED
    assert [
        (place["pointer"], place["rule"], place["action"], place["found_by"]) for place in answer.json()["masked"]
    ] == [
        ("/message", "payment_card", "redact", "value"),
        ("/metadata/Db-Password", "password", "redact", "name"),
    ]
    assert all(place["reason"] for place in answer.json()["masked"])
    assert await stored(door) == []
    assert await counted(door) == {}
    assert CARD not in str(lines)
    assert "hunter" not in str(lines)


async def test_a_look_beforehand_can_try_settings(door: Door) -> None:
    trial = {
        "event": event(**SECRETS),
        "masking": {"actions": {"password": "drop"}, "names": {"token_count": "redact"}},
    }
    answer = await post(door, "/logs/mask", trial)
    assert answer.json()["event"]["metadata"] == {"token_count": "[redacted:own_name]"}
    await post(door, "/logs", event(**SECRETS))
    assert (await stored(door))[0]["metadata"] == MASKED["metadata"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/event"),
        ({"event": {"action": "a"}}, "/event/resource_type"),
        ({"event": event(colour="red")}, "/event/colour"),
        ({"event": event(), "colour": "red"}, "/colour"),
        ({"event": event(), "masking": {"preset": "x"}}, "/masking/preset"),
        ({"event": [1]}, "/event"),
        ([], ""),
    ],
)
async def test_a_look_at_what_is_no_event_says_what_to_mend(door: Door, body: Any, pointer: str) -> None:
    answer = await post(door, "/logs/mask", body)
    assert answer.status_code == 422
    assert pointer in [flaw["pointer"] for flaw in answer.json()["errors"]]


async def test_settings_of_another_release_store_nothing_unmasked(door: Door, owner: Connection) -> None:
    newer = '{"masking": {"of_tomorrow": 1}}'
    await owner.execute("update tallystick.tenants set settings = $1::text::jsonb where id = 'acme'", newer)
    await door.services.directory.refresh()
    for path, body in (("/logs", event(**SECRETS)), ("/logs/bulk", [event(**SECRETS)])):
        answer = await post(door, path, body)
        assert answer.status_code == 503
        assert "masking settings" in answer.json()["detail"]
    assert (await set_masking(door, None)).status_code == 200
    assert (await post(door, "/logs", event(**SECRETS))).status_code == 201
    assert [shown(item) for item in await stored(door)] == [MASKED]


async def test_it_is_the_default_of_a_tenant_that_is_older(settings: Settings) -> None:
    async with open_door(settings) as door:
        await door.make_tenant("acme")
        assert (await door.client.get("/api/v1/tenants/acme", headers=door.bearer())).json()["settings"] == {}
        await post(door, "/logs", event(**SECRETS))
        assert shown((await stored(door))[0]) == MASKED


async def test_what_is_hashed_is_found_by_its_digest_and_not_by_itself(door: Door) -> None:
    await set_masking(door, {"detectors": {"email": True}, "actions": {"email": "hash"}})
    for action in ("a", "b"):
        body = event(action=action, message="mail to nora@mail.example bounced", metadata={"to": "nora@mail.example"})
        assert (await post(door, "/logs", body)).status_code == 201
    tried = await post(door, "/logs/mask", {"event": event(metadata={"to": "nora@mail.example"})})
    digest = tried.json()["event"]["metadata"]["to"]
    assert [item["metadata"]["to"] for item in await stored(door)] == [digest, digest]
    assert (await stored(door))[0]["message"] == f"mail to {digest} bounced"
    for words, found in ((f'metadata.to:"{digest}"', 2), (f'"{digest}"', 2), ('"nora@mail.example"', 0)):
        answer = await door.client.get("/api/v1/logs", params={"q": words}, headers=door.bearer())
        assert len(answer.json()["items"]) == found, words


async def test_what_is_encrypted_is_revealed_where_it_stands(door: Door) -> None:
    await set_masking(door, {"actions": {"payment_card": "encrypt", "password": "encrypt"}})
    body = event(
        message=SECRETS["message"], after={"l": [{"password": {"old": "x", "n": 1}}]}, metadata={"n": int(CARD)}
    )
    single = await post(door, "/logs", body)
    bulk = await post(door, "/logs/bulk", [body])
    wanted = {"/message": body["message"], "/after/l/0/password": {"old": "x", "n": 1}, "/metadata/n": int(CARD)}
    for event_id in (single.json()["id"], bulk.json()["ids"][0]):
        item = await door.client.get(f"/api/v1/logs/{event_id}", headers=door.bearer())
        assert CARD not in item.text
        assert item.json()["message"].startswith("$sealed:")
        asked = {"reason": "a test", "fields": list(wanted)}
        revealed = await post(door, f"/logs/{event_id}/reveal", asked)
        assert (revealed.status_code, revealed.json()["fields"]) == (200, wanted)
