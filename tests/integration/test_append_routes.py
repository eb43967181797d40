"""`POST /logs` and `POST /logs/bulk` through the whole application."""

import asyncio
import gzip
import json
import re
import time
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import asyncpg
import httpx
import orjson
import pytest
import zstandard

from doors import Door, open_door, open_live_door
from factories import event
from pointers import at_pointer
from tallystick.settings import ApiSettings, RateSettings, Settings
from tallystick_tlog import verify_event

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

LOGS = "/api/v1/logs"
BULK = "/api/v1/logs/bulk"


async def post(
    door: Door, body: Any, path: str = LOGS, *, token: dict[str, str] | None = None, **headers: str
) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await send(door, path, content, {**(token or door.bearer()), **headers})


async def send(door: Door, path: str, content: bytes, headers: dict[str, str]) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    common = {"content-type": "application/json", **({} if "authorization" in headers else door.bearer())}
    return await door.client.post(path, content=content, headers={**common, **named})


async def bulk(door: Door, body: Any, *, skip: bool = False, **headers: Any) -> httpx.Response:
    return await post(door, body, f"{BULK}?on_error=skip" if skip else BULK, **headers)


async def stored(owner: Connection, tenant_id: str = "acme") -> list[dict[str, Any]]:
    """The bodies of a tenant's events."""
    rows = await owner.fetch(
        "select seq, body from tallystick.events join tallystick.logs on logs.id = log_id"
        " where tenant_id = $1 and name = 'events' order by seq",
        tenant_id,
    )
    assert [row["seq"] for row in rows] == list(range(len(rows)))
    return [orjson.loads(row["body"]) for row in rows]


def created(response: httpx.Response) -> dict[str, Any]:
    assert response.status_code == 201, response.text
    assert response.headers["content-type"] == "application/json"
    return orjson.loads(response.content)


def flaws_of(response: httpx.Response, status: int) -> list[dict[str, Any]]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    return response.json().get("errors", [])


def at(**ago: float) -> str:
    return (datetime.now(UTC) - timedelta(**ago)).isoformat()


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


@pytest.mark.parametrize("path", [LOGS, BULK])
async def test_a_tenant_that_the_token_does_not_name_is_refused(door: Door, owner: Connection, path: str) -> None:
    await door.make_tenant("globex")
    for tenant_id in ("globex", "no-such-tenant", "_platform", ""):
        item = event(tenant_id=tenant_id)
        flaws_of(await post(door, item if path == LOGS else [item], path), 403)
    assert await owner.fetchval("select count(*) from tallystick.events") == 0


async def test_an_auditor_writes_nothing(door: Door, owner: Connection) -> None:
    flaws_of(await post(door, event(), token=door.bearer("auditor")), 403)
    flaws_of(await bulk(door, [event()], token=door.bearer("auditor")), 403)
    assert await stored(owner) == []


async def test_a_request_key_is_answered_again_byte_for_byte(door: Door, owner: Connection, settings: Settings) -> None:
    one, many = event(), [event(action=""), event(), event()]
    first = await post(door, one, idempotency_key="k-1")
    first_many = await bulk(door, many, skip=True, idempotency_key='"k-2"')
    async with open_door(settings) as restarted:
        for again in (door, restarted):
            response = await post(again, one, idempotency_key="k-1", token=door.bearer())
            assert (response.status_code, response.content) == (201, first.content)
            assert response.headers["location"] == first.headers["location"]
            body = gzip.compress(json.dumps(many).encode())
            response = await bulk(
                again, body, skip=True, idempotency_key="k-2", content_encoding="gzip", token=door.bearer()
            )
            assert (response.status_code, response.content) == (201, first_many.content)
    assert len(await stored(owner)) == 3


async def test_twins_of_one_batch_are_counted_once(door: Door, owner: Connection) -> None:
    sent = event()
    responses = await asyncio.gather(*(post(door, sent, idempotency_key="k-1") for _ in range(8)))

    assert len({(response.status_code, response.content, response.headers["location"]) for response in responses}) == 1
    assert len(await stored(owner)) == 1
    assert door.services.registry.get_sample_value("tallystick_appended_events_total") == 1


async def test_what_came_yesterday_is_known_today(door: Door, owner: Connection) -> None:
    sent = event(event_id="e-1")
    first = await post(door, sent, idempotency_key="k-1")
    assert await owner.execute("update tallystick.retry_keys set day = day - 1") == "UPDATE 2"

    for headers in ({}, {"idempotency_key": "k-1"}, {"idempotency_key": "k-2"}):
        response = await post(door, sent, token=door.bearer(), **headers)
        assert (response.status_code, response.content) == (201, first.content)
    assert len(await stored(owner)) == 1


async def test_a_request_key_with_another_request_is_a_conflict(door: Door, owner: Connection) -> None:
    one, many = event(), [event(), event()]
    created(await post(door, one, idempotency_key="k-1"))
    created(await bulk(door, many, idempotency_key="k-2"))
    conflicts = [
        await post(door, {**one, "message": "x"}, idempotency_key="k-1"),
        await post(door, json.dumps(one).encode() + b" ", idempotency_key="k-1"),
        await bulk(door, many, idempotency_key="k-1"),
        await bulk(door, many[:1], idempotency_key="k-2"),
    ]

    for response in conflicts:
        assert [flaw["parameter"] for flaw in flaws_of(response, 409)] == ["Idempotency-Key"]
    assert len(await stored(owner)) == 3


async def test_a_request_key_holds_whatever_was_to_be_done_on_error(door: Door, owner: Connection) -> None:
    created(await post(door, event(event_id="e-1", resource_id="r")))
    good, conflicting = [event(), event()], [event(), event(event_id="e-1", resource_id="other")]
    first = await bulk(door, good, idempotency_key="k-1")
    first_skipping = await bulk(door, conflicting, skip=True, idempotency_key="k-2")
    for response in (first, first_skipping):
        created(response)

    for skip in (False, True):
        assert (await bulk(door, good, skip=skip, idempotency_key="k-1")).content == first.content
        assert (await bulk(door, conflicting, skip=skip, idempotency_key="k-2")).content == first_skipping.content
    assert len(await stored(owner)) == 4


async def test_a_refused_request_does_not_use_up_its_key(door: Door, owner: Connection) -> None:
    flaws_of(await post(door, event(action=""), idempotency_key="k-1"), 422)
    flaws_of(await bulk(door, [event(action="")], idempotency_key="k-1"), 422)
    created(await post(door, event(), idempotency_key="k-1"))
    assert len(await stored(owner)) == 1


@pytest.mark.parametrize("key", ["", "a b", "é", '"open', "x" * 256, "a\tb", '""'])
async def test_what_is_no_request_key_is_refused(door: Door, owner: Connection, key: str) -> None:
    headers = {**door.bearer(), "idempotency-key": key.encode("latin-1")}
    response = await door.client.post(LOGS, json=event(), headers=headers)  # type: ignore[arg-type]

    assert [flaw["parameter"] for flaw in flaws_of(response, 422)] == ["Idempotency-Key"]
    assert await stored(owner) == []


async def test_an_event_id_is_answered_again_and_other_content_is_a_conflict(
    door: Door, owner: Connection, settings: Settings
) -> None:
    sent = event(event_id="e-1", after={"x": 1.5})
    first = await post(door, sent)
    created(first)
    reordered = json.dumps(dict(reversed(sent.items())), indent=2).replace("1.5", "15e-1").encode()
    async with open_door(settings) as restarted:
        for again in (door, restarted):
            response = await post(again, reordered, token=door.bearer("user", "acme"))
            assert (response.status_code, response.content) == (201, first.content)
            for other in ({**sent, "message": ""}, {**sent, "severity": "INFO"}, {**sent, "after": None}):
                flaws = flaws_of(await post(again, other, token=door.bearer()), 409)
                assert [flaw["pointer"] for flaw in flaws] == ["/event_id"]
    answer = created(await bulk(door, [event(), sent]))
    assert (answer["stored"], answer["known"]) == (1, 1)
    assert answer["ids"][1] == first.json()["id"]
    flaws = flaws_of(await bulk(door, [event(), {**sent, "message": ""}]), 409)
    assert [(flaw["index"], flaw["pointer"]) for flaw in flaws] == [(1, "/event_id")]
    assert len(await stored(owner)) == 2


async def test_the_same_event_id_of_another_tenant_is_another_event(door: Door, owner: Connection) -> None:
    await door.make_tenant("globex")
    created(await post(door, event(event_id="e", message="a"), idempotency_key="k"))
    created(
        await post(door, event(event_id="e", message="b"), idempotency_key="k", token=door.bearer("admin", "globex"))
    )
    assert [len(await stored(owner, tenant_id)) for tenant_id in ("acme", "globex")] == [1, 1]


MALFORMED = [
    b"",
    b"{",
    b"null",
    b"1",
    b'"event"',
    b"\xff\xfe{\x00}\x00",
    b'{"action":"a","resource_type":"b"} x',
    b'{"action":"a","action":"b","resource_type":"c"}',
    b'{"action":"\\ud800","resource_type":"b"}',
    b'{"action":"\xff","resource_type":"b"}',
    b'{"action":"a\\u0000b","resource_type":"b"}',
    b'{"action":"a","resource_type":"b","metadata":{"n":1e-99999999999999999999}}',
    b'{"action":"a","resource_type":"b","metadata":{"n":' + b"9" * 5000 + b"}}",
    b'{"action":"a","resource_type":"b","metadata":{"n":NaN}}',
    b'{"action":"a","resource_type":"b","metadata":' + b'{"a":' * 17 + b"1" + b"}" * 18,
    b'{"action":"a","resource_type":"b","metadata":' + b"[" * 90_000,
    b'{"action":"a","resource_type":"b","timestamp":"2026-11-24T17:21:36"}',
    b'{"action":"a","resource_type":"b","unknown":{}}',
    b'{"action":null,"resource_type":"b"}',
]


@pytest.mark.parametrize("body", MALFORMED, ids=lambda body: repr(body[:60]))
async def test_a_malformed_event_is_refused_with_a_pointer(door: Door, owner: Connection, body: bytes) -> None:
    padding = b" " * (129 * 1024)
    responses = [
        await post(door, body),
        await bulk(door, b"[" + body + b"]"),
        await bulk(door, b"[" + body + padding + b"]"),
        await bulk(door, json.dumps(event()).encode() + b"\n" + body, content_type="application/x-ndjson"),
    ]
    if not body:  # an empty array, and an empty line
        assert [response.status_code for response in responses[1:]] == [200, 200, 201]
        responses = responses[:1]

    for response in responses:
        flaws = flaws_of(response, 422)
        assert flaws
        assert all("pointer" in flaw and flaw["detail"] for flaw in flaws)
    assert len(await stored(owner)) == (0 if body else 1)


@pytest.mark.parametrize("padding", [0, 129 * 1024])
@pytest.mark.parametrize(
    "body", [b"{}", b"null", b"", b"[", b'[{"action":', b"[{}}", b"[{},]", b"[] []", b'"[]"', b"[{} {}]"]
)
async def test_what_is_no_array_is_refused(door: Door, owner: Connection, body: bytes, padding: int) -> None:
    assert [flaw["pointer"] for flaw in flaws_of(await bulk(door, body + b" " * padding), 422)][-1] == ""
    assert await stored(owner) == []


async def test_types_and_encodings_that_are_not_understood(door: Door, owner: Connection) -> None:
    line = json.dumps(event()).encode()
    assert (await post(door, line, content_type="application/x-ndjson")).headers["accept-post"] == "application/json"
    refused: list[dict[str, str]] = [
        {"content_type": "text/plain"},
        {"content_type": "application/json; charset=latin1"},
        {"content_encoding": "br"},
        {"content_encoding": "gzip, gzip"},
    ]
    for headers in refused:
        flaws_of(await send(door, LOGS, line, headers), 415)
        flaws_of(await send(door, BULK, b"[%s]" % line, headers), 415)
    for damaged in (line, gzip.compress(line)[:-1], gzip.compress(line) + b"x"):
        flaws_of(await post(door, damaged, content_encoding="gzip"), 400)
    for damaged in (line, zstandard.compress(line)[:-1], zstandard.compress(line) + b"x"):
        flaws_of(await bulk(door, damaged, content_encoding="zstd"), 400)
    assert await stored(owner) == []


def sized(size: int) -> dict[str, Any]:
    """An event of so many bytes."""
    empty = event(metadata={"x": ""})
    return {**empty, "metadata": {"x": "x" * (size - len(json.dumps(empty)))}}


async def test_sizes_are_bounded(settings: Settings, owner: Connection) -> None:
    small = settings.model_copy(update={"api": ApiSettings(max_body_bytes=20_000, max_event_bytes=2_000)})
    async with open_door(small) as door:
        await door.make_tenant("acme")
        created(await post(door, sized(1_990)))
        flaws_of(await post(door, sized(2_010)), 413)
        flaws_of(await post(door, gzip.compress(json.dumps(sized(2_010)).encode()), content_encoding="gzip"), 413)
        for body in (json.dumps([event(), sized(2_010)]), json.dumps([event(), sized(2_010)]).ljust(19_000)):
            flaws = flaws_of(await bulk(door, body.encode()), 422)
            assert [(flaw["index"], flaw["pointer"]) for flaw in flaws] == [(1, "")]
        flaws_of(await bulk(door, b"[%s]" % (b" " * 20_000)), 413)
        flaws_of(await bulk(door, gzip.compress(b"[%s]" % (b" " * 200_000)), content_encoding="gzip"), 413)
        flaws_of(await bulk(door, zstandard.compress(b"[%s]" % (b" " * 200_000)), content_encoding="zstd"), 413)
    assert len(await stored(owner)) == 1


async def stall(url: str, token: dict[str, str], path: str, size: int, sent: bytes) -> tuple[Any, Any]:
    """A client that announces a body, sends a part of it and then waits."""
    server = urlsplit(url)
    reader, writer = await asyncio.open_connection(server.hostname, server.port)
    headers = {"host": "x", "content-type": "application/json", "content-length": str(size), **token}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    writer.write(f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + sent)
    await writer.drain()
    return reader, writer


async def test_clients_that_stall_keep_nobody_out_and_are_given_up(settings: Settings) -> None:
    size = 64 * 1024
    api = ApiSettings(max_body_bytes=size, body_timeout=3)
    with open_live_door(settings.model_copy(update={"api": api})) as (url, door):
        stalling, other = door.bearer("admin", "fuzz"), door.bearer("admin", "fuzz", subject="other@example.com")
        stalled = [await stall(url, stalling, BULK, size, b" " * (size - 1)) for _ in range(12)]
        stalled += [await stall(url, stalling, LOGS, size, b" " * 1000) for _ in range(2)]
        async with httpx.AsyncClient(base_url=url, timeout=10) as client:
            for token in (stalling, other):
                created(await client.post(LOGS, json=event(), headers=token))
            created(await client.post(BULK, json=[event()], headers=other))
            async with asyncio.timeout(20):
                answers = [await reader.read() for reader, _ in stalled]  # to the end: the server closes
            assert {answer.split()[1] for answer in answers} == {b"408", b"503"}
            assert all(b"request-timeout" in answer for answer in answers[-2:])
            created(await client.post(BULK, json=[event()], headers=stalling))
        for _, writer in stalled:
            writer.close()


async def test_a_bulk_is_charged_once_and_the_principal_before_it_is_read(
    settings: Settings, owner: Connection
) -> None:
    rates = RateSettings(principal_per_minute=10, tenant_per_minute=12)
    async with open_door(settings.model_copy(update={"rates": rates})) as door:
        await door.make_tenant("acme")

        async def sent(events: int, **headers: Any) -> tuple[int, list[str], httpx.Response]:
            response = await bulk(door, [event() for _ in range(events)], **headers)
            return response.status_code, states_of(response), response

        def states_of(response: httpx.Response) -> list[str]:
            return [re.sub(";t=[0-9]+", "", state) for state in response.headers.get_list("ratelimit")]

        def left(principal: int, tenant: int) -> list[str]:
            return [f'"principal";r={principal}, "tenant";r={tenant}']

        assert (await sent(1))[:2] == (201, left(9, 11))
        assert (await sent(3))[:2] == (201, left(6, 8))
        status, states, response = await sent(7)
        assert (status, states) == (429, ['"principal";r=5'])
        assert "costs 7, and of the 10 a minute that a principal may use 5 are left" in response.json()["detail"]
        assert 50 <= int(response.headers["retry-after"]) <= 60
        status, states, response = await sent(11)
        assert (status, states) == (429, ['"principal";r=4'])
        assert "split it" in response.json()["detail"]
        assert (await sent(4))[:2] == (201, left(0, 4))
        unread = await post(door, b"never parsed", BULK)
        assert (unread.status_code, states_of(unread)) == (429, ['"principal";r=0'])
        other = door.bearer("admin", subject="other@example.com")
        assert (await sent(5, token=other))[:2] == (429, ['"tenant";r=4'])
        assert (await sent(4, token=other))[:2] == (201, left(5, 0))
    assert len(await stored(owner)) == 12


@pytest.mark.parametrize("path", [LOGS, BULK])
async def test_an_unknown_query_parameter_is_refused(door: Door, owner: Connection, path: str) -> None:
    body = event() if path == LOGS else [event()]
    for query in ("tenant_id=globex", "x=", "On_Error=skip"):
        name = query.partition("=")[0]
        assert [flaw["parameter"] for flaw in flaws_of(await post(door, body, f"{path}?{query}"), 422)] == [name]
    assert await stored(owner) == []


async def test_what_to_do_on_error_is_fail_or_skip(door: Door, owner: Connection) -> None:
    flaws = flaws_of(await post(door, [event()], f"{BULK}?on_error=ignore"), 422)
    assert [flaw["parameter"] for flaw in flaws] == ["on_error"]
    assert [flaw["parameter"] for flaw in flaws_of(await post(door, event(), f"{LOGS}?on_error=skip"), 422)] == [
        "on_error"
    ]
    created(await post(door, [event()], f"{BULK}?on_error=fail"))
    assert len(await stored(owner)) == 1


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


async def test_a_bulk_of_one_that_conflicts_names_its_index(door: Door) -> None:
    first = event(event_id="only", resource_id="a")
    await bulk(door, [first])
    answer = await bulk(door, [{**first, "resource_id": "b"}])

    assert answer.status_code == 409
    assert [error["index"] for error in answer.json()["errors"]] == [0]


async def test_thousands_of_bad_events_are_each_named_once_at_least(door: Door) -> None:
    bad = [{f"unknown{part}": 1 for part in range(10)} for _ in range(2_000)]

    answer = await bulk(door, bad)

    assert answer.status_code == 422
    errors = answer.json()["errors"]
    assert {error["index"] for error in errors} == set(range(2_000))
    assert len(errors) < 4_000


async def test_two_principals_may_use_the_same_request_key(door: Door, owner: Connection) -> None:
    ada, bob = door.bearer("user", subject="ada"), door.bearer("user", subject="bob")
    body = [event(resource_id="a")]

    first = await bulk(door, body, token=ada, idempotency_key="1")
    other = await bulk(door, [event(resource_id="b")], token=bob, idempotency_key="1")
    again = await bulk(door, body, token=ada, idempotency_key="1")

    assert (first.status_code, other.status_code) == (201, 201)
    assert again.content == first.content
    assert len(await stored(owner)) == 2
