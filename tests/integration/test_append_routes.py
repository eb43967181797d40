"""`POST /logs` and `POST /logs/bulk` through the whole application."""

import gzip
import json
import time
from datetime import datetime

import pytest
import zstandard

from appending import LOGS, Connection, at, bulk, created, flaws_of, post, stored
from doors import Door
from factories import event
from pointers import at_pointer
from tallystick_tlog import verify_event


async def test_an_event_is_answered_with_where_it_is_read(door: Door, owner: Connection) -> None:
    sent = event(message="naïve ☂", after={"total": 129.95}, event_id="e-1", severity="ERROR")
    response = await post(door, sent)
    answer = created(response)

    assert answer.keys() == {"id", "seq", "leaf_hash", "received_at"}
    assert response.headers["location"] == f"{LOGS}/{answer['id']}"
    read = await door.client.get(response.headers["location"], headers=door.bearer("auditor"))
    assert read.status_code == 200
    assert verify_event(read.content)
    assert {name: read.json()[name] for name in sent} == sent
    assert {name: read.json()[name] for name in answer} == answer
    assert read.json()["written_by"] == {"issuer": "tallystick", "subject": "admin@example.com"}
    assert read.json()["tenant_id"] == "acme"
    assert len(await stored(owner)) == 1


async def test_the_location_of_an_event_of_another_than_the_default_tenant_is_readable(door: Door) -> None:
    await door.make_tenant("globex")
    token = door.bearer("admin", "acme", "globex", default_tenant="acme")
    for tenant_id in ("acme", "globex"):
        response = await post(door, event(tenant_id=tenant_id), token=token)
        created(response)
        read = await door.client.get(response.headers["location"], headers=token)
        assert read.json()["tenant_id"] == tenant_id


@pytest.mark.parametrize("encoding", ["identity", "gzip", "zstd"])
@pytest.mark.parametrize("form", ["array", "ndjson"])
async def test_many_events_in_every_form(door: Door, owner: Connection, form: str, encoding: str) -> None:
    sent = [event(message=f"{n}: é\u2028") for n in range(250)]
    if form == "array":
        body, content_type = json.dumps(sent, indent=1).encode(), "application/json"
    else:
        body = b"\r\n\n".join(json.dumps(item, ensure_ascii=False).encode() for item in sent)
        content_type = "application/x-ndjson"
    encode = {"identity": bytes, "gzip": gzip.compress, "zstd": zstandard.compress}[encoding]
    answer = created(await bulk(door, encode(body), content_type=content_type, content_encoding=encoding))

    assert (answer["stored"], answer["known"], answer["rejected"]) == (250, 0, [])
    bodies = await stored(owner)
    assert [body["id"] for body in bodies] == answer["ids"]
    assert [{name: body[name] for name in item} for body, item in zip(bodies, sent, strict=True)] == sent


@pytest.mark.parametrize("form", ["application/json", "application/x-ndjson"])
async def test_ten_thousand_events_and_not_one_more(door: Door, owner: Connection, form: str) -> None:
    line = json.dumps(event())

    def body(events: int) -> bytes:
        lines = [line] * events
        return (f"[{','.join(lines)}]" if form == "application/json" else "\n".join(lines)).encode()

    assert flaws_of(await bulk(door, body(10_001), content_type=form), 413) == []
    assert await stored(owner) == []
    answer = created(await bulk(door, body(10_000), content_type=form))
    assert answer["stored"] == len(set(answer["ids"])) == 10_000
    assert await owner.fetchval("select count(*) from tallystick.events") == 10_000


async def test_a_bulk_of_nothing_stores_nothing(door: Door, owner: Connection) -> None:
    for body, form in (
        (b"[]", "application/json"),
        (b"", "application/x-ndjson"),
        (b"\n \r\n", "application/x-ndjson"),
    ):
        response = await bulk(door, body, content_type=form)
        assert response.status_code == 200
        assert response.json() == {"stored": 0, "known": 0, "ids": [], "rejected": []}
    assert await stored(owner) == []


BAD = [
    (event(action=""), "/action"),
    (event(severity="LOW"), "/severity"),
    (event(nonesuch=1), "/nonesuch"),
    (event(metadata={"a/b": [2**64]}), "/metadata/a~1b/0"),
    ("no object", ""),
]


@pytest.mark.parametrize("large", [False, True])
async def test_all_or_nothing_names_every_bad_event(door: Door, owner: Connection, large: bool) -> None:
    sent = [item for bad, _ in BAD for item in (event(message="x" * (8_000 if large else 1)), bad, event())]
    sent += [event(message="y" * 8_000)] * (15 if large else 0)
    assert (len(json.dumps(sent)) > 128 * 1024) is large
    flaws = flaws_of(await bulk(door, sent), 422)

    assert [(flaw["index"], flaw["pointer"]) for flaw in flaws] == [
        (3 * n + 1, pointer) for n, (_, pointer) in enumerate(BAD)
    ]
    for flaw in flaws:
        at_pointer(sent[flaw["index"]], flaw["pointer"])
    assert await stored(owner) == []


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("form", ["application/json", "application/x-ndjson"])
async def test_skipping_stores_the_good_and_reports_the_rest(
    door: Door, owner: Connection, form: str, large: bool
) -> None:
    await post(door, event(event_id="known", resource_id="r"))
    good = [json.dumps(event(message=str(n), metadata={"x": "x" * (7000 if large else 1)})).encode() for n in range(20)]
    raw = [
        good[0],
        b'{"action":"a","action":"b","resource_type":"c"}',
        json.dumps(event(event_id="known", resource_id="r")).encode(),
        b'{"action":"\\ud800","resource_type":"c"}',
        json.dumps(event(event_id="known", resource_id="other")).encode(),
        json.dumps(event(event_id="twice", resource_id="r")).encode(),
        json.dumps(event(event_id="twice", resource_id="r")).encode(),
        json.dumps(event(event_id="twice", resource_id="other")).encode(),
        b'{"action":"a\\u0000","resource_type":"c"}',
        *good[1:],
    ]
    body = b"[" + b",".join(raw) + b"]" if form == "application/json" else b"\n".join(raw)
    answer = created(await bulk(door, body, skip=True, content_type=form))

    assert [flaw["index"] for flaw in answer["rejected"]] == [1, 3, 4, 7, 8]
    assert [flaw["pointer"] for flaw in answer["rejected"]][2:4] == ["/event_id", "/event_id"]
    assert (answer["stored"], answer["known"]) == (21, 2)
    assert [index for index, id_ in enumerate(answer["ids"]) if id_ is None] == [1, 3, 4, 7, 8]
    assert answer["ids"][5] == answer["ids"][6]
    bodies = await stored(owner)
    assert len(bodies) == 22
    assert answer["ids"][2] == bodies[0]["id"]
    assert {body["id"] for body in bodies} == {id_ for id_ in answer["ids"] if id_}
    assert [body["message"] for body in bodies if "message" in body] == [str(n) for n in range(20)]


async def test_skipping_when_all_are_bad_stores_nothing(door: Door, owner: Connection) -> None:
    response = await bulk(door, [bad for bad, _ in BAD], skip=True)

    assert response.status_code == 200
    assert response.json()["ids"] == [None] * len(BAD)
    assert len(response.json()["rejected"]) == len(BAD)
    await post(door, event(event_id="e", resource_id="r"))
    response = await bulk(door, [event(event_id="e", resource_id="x")], skip=True)
    assert response.status_code == 200
    assert (response.json()["stored"], response.json()["ids"]) == (0, [None])
    assert len(await stored(owner)) == 1


@pytest.mark.parametrize("skip", [False, True])
async def test_a_bulk_is_one_tenants(door: Door, owner: Connection, skip: bool) -> None:
    await door.make_tenant("globex")
    token = door.bearer("admin", "acme", "globex", default_tenant="acme")
    sent = [event(tenant_id="globex"), event(tenant_id="acme"), event(), event(tenant_id="globex")]
    response = await bulk(door, sent, skip=skip, token=token)

    flaws = created(response)["rejected"] if skip else flaws_of(response, 422)
    assert [(flaw["index"], flaw["pointer"]) for flaw in flaws] == [(1, "/tenant_id"), (2, "/tenant_id")]
    assert len(await stored(owner, "globex")) == (2 if skip else 0)
    assert await stored(owner, "acme") == []


async def test_an_import_may_be_of_any_age_but_not_of_the_future(door: Door, owner: Connection) -> None:
    importer = door.bearer("admin", "acme", scopes=["logs:write", "logs:import"])
    writer = door.bearer("admin", "acme", scopes=["logs:write"])
    old, ahead = event(timestamp="1987-06-05T04:03:02+01:00"), event(timestamp=at(seconds=-310))

    for token in (writer, door.bearer("user")):
        for response in (await post(door, old, token=token), await bulk(door, [old], token=token)):
            (flaw,) = flaws_of(response, 422)
            assert flaw["pointer"] == "/timestamp"
            assert "logs:import" in flaw["detail"]
        created(await post(door, event(timestamp=at(days=6.99)), token=token))
        flaws_of(await post(door, event(timestamp=at(days=7.01)), token=token), 422)
    for token in (writer, importer):
        for response in (await post(door, ahead, token=token), await bulk(door, [ahead], token=token)):
            assert [flaw["pointer"] for flaw in flaws_of(response, 422)] == ["/timestamp"]
        created(await post(door, event(timestamp=at(seconds=-290)), token=token))
    created(await post(door, old, token=importer))
    created(await bulk(door, [old], token=importer))
    assert [body["timestamp"] for body in await stored(owner)][-2:] == [old["timestamp"]] * 2


async def test_an_event_without_timestamp_happened_when_it_arrived(door: Door, owner: Connection) -> None:
    before = time.time()
    answer = created(await post(door, event()))
    (body,) = await stored(owner)

    assert body["timestamp"] == body["received_at"] == answer["received_at"]
    received = datetime.fromisoformat(answer["received_at"]).timestamp()
    assert before - 1 <= received <= time.time() + 1
