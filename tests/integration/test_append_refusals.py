"""Requests that are refused: what is wrong is named, and nothing of them is stored."""

import asyncio
import gzip
import json
import re
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import zstandard

from appending import BULK, LOGS, Connection, bulk, created, flaws_of, post, send, stored
from doors import Door, open_door, open_live_door
from factories import event
from tallystick.settings import ApiSettings, RateSettings, Settings


@pytest.mark.parametrize("path", [LOGS, BULK])
async def test_a_tenant_that_the_token_does_not_name_is_refused(door: Door, owner: Connection, path: str) -> None:
    await door.make_tenant("globex")
    for tenant_id in ("globex", "no-such-tenant", "_platform", ""):
        item = event(tenant_id=tenant_id)
        flaws_of(await post(door, item if path == LOGS else [item], path), 403)
    assert await owner.fetchval("select count(*) from tallystick.events") == 0


async def test_a_tenant_whose_logs_are_missing_is_unavailable_until_they_are_there(
    door: Door, owner: Connection
) -> None:
    await owner.execute("insert into tallystick.tenants (id, name) values ('halved', 'Halved')")
    token = door.bearer(platform=True)
    for path in (LOGS, BULK):
        body = event(tenant_id="halved") if path == LOGS else [event(tenant_id="halved")]
        answer = await post(door, body, path, token=token)
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
    await owner.execute(
        "insert into tallystick.logs (tenant_id, name) values ('halved', 'events'), ('halved', 'access')"
    )
    assert (await post(door, event(tenant_id="halved"), token=token)).status_code == 201


async def test_an_auditor_writes_nothing(door: Door, owner: Connection) -> None:
    flaws_of(await post(door, event(), token=door.bearer("auditor")), 403)
    flaws_of(await bulk(door, [event()], token=door.bearer("auditor")), 403)
    assert await stored(owner) == []


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
    api = ApiSettings(max_body_bytes=size, body_timeout=3, keep_alive=1)
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
            assert all(b"connection: close" in answer.lower() for answer in answers[-2:])
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


async def test_thousands_of_bad_events_are_each_named_once_at_least(door: Door) -> None:
    bad = [{f"unknown{part}": 1 for part in range(10)} for _ in range(2_000)]

    answer = await bulk(door, bad)

    assert answer.status_code == 422
    errors = answer.json()["errors"]
    assert {error["index"] for error in errors} == set(range(2_000))
    assert len(errors) < 4_000
