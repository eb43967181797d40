"""The history of a resource, and what belongs to one request or session, over HTTP."""

from typing import Any
from urllib.parse import quote

import httpx
import pytest

from appending import append
from doors import Door
from factories import event

CORRELATED = "/api/v1/logs/correlated"


async def ask(door: Door, path: str, token: dict[str, str] | None = None, /, **params: Any) -> httpx.Response:
    return await door.client.get(path, params=params, headers=token or door.bearer())


def history(kind: str, resource_id: str) -> str:
    return f"/api/v1/resources/{quote(kind, safe='')}/{quote(resource_id, safe='')}/history"


def seqs_of(answer: httpx.Response) -> list[int]:
    assert answer.status_code == 200, answer.text
    return [item["seq"] for item in answer.json()["items"]]


def invoice(number: str, **changes: Any) -> dict[str, Any]:
    return event(resource_type="invoice", resource_id=number, **changes)


async def test_a_history_tells_in_order_what_each_event_changed(door: Door) -> None:
    await append(
        door,
        invoice("i-1", action="create", after={"state": "open", "sum": 10}),
        invoice("i-2", action="create", after={"state": "open"}),
        invoice("i-1", action="approve", before={"state": "open", "sum": 10}, after={"state": "approved", "sum": 10}),
        event(resource_type="receipt", resource_id="i-1"),
        invoice("i-1", action="read"),
        invoice("i-1", action="delete", before={"state": "approved", "sum": 10}),
    )
    answer = await ask(door, history("invoice", "i-1"))
    assert seqs_of(answer) == [0, 2, 4, 5]
    assert answer.json()["complete"] is True
    assert answer.json()["changes"] == [
        [{"op": "replace", "path": "", "value": {"state": "open", "sum": 10}}],
        [{"op": "replace", "path": "/state", "value": "approved"}],
        None,
        [{"op": "replace", "path": "", "value": None}],
    ]
    assert "changes" not in answer.json()["items"][0]


async def test_a_history_goes_by_when_it_happened_not_by_when_it_was_told(door: Door) -> None:
    for minute in (3, 1, 2):
        await append(door, invoice("i-1", timestamp=f"2026-11-23T10:0{minute}:00Z", after={"minute": minute}))
    assert seqs_of(await ask(door, history("invoice", "i-1"), to="2026-11-24T00:00:00Z")) == [1, 2, 0]
    newest = await ask(door, history("invoice", "i-1"), order="newest", limit=2)
    assert seqs_of(newest) == [0, 2]
    assert [change[0]["value"]["minute"] for change in newest.json()["changes"]] == [3, 2]


async def test_pages_of_a_history_lead_on_and_back(door: Door) -> None:
    await append(door, *(invoice("i/1 ü", after={"n": n}) for n in range(7)))
    first = await ask(door, history("invoice", "i/1 ü"), limit=3)
    second = await door.client.get(first.links["next"]["url"], headers=door.bearer())
    third = await door.client.get(second.links["next"]["url"], headers=door.bearer())
    assert [*seqs_of(first), *seqs_of(second), *seqs_of(third)] == list(range(7))
    assert third.json()["next"] is None
    assert len(third.json()["changes"]) == 1
    back = await door.client.get(second.links["prev"]["url"], headers=door.bearer())
    assert (back.json()["items"], back.json()["changes"]) == (first.json()["items"], first.json()["changes"])
    other = await ask(door, history("invoice", "i-2"), cursor=first.json()["next"])
    assert other.status_code == 422


@pytest.mark.parametrize("kind", ["file", "a/b", "100%", "ordner ü"])
@pytest.mark.parametrize("resource_id", ["/etc/passwd", "a/history", "history", "x?y#z", "...", "%2F", "日本"])
async def test_types_and_ids_may_be_any_text(door: Door, kind: str, resource_id: str) -> None:
    await append(door, event(resource_type=kind, resource_id=resource_id), event(resource_type="a", resource_id="b"))
    assert seqs_of(await ask(door, history(kind, resource_id))) == [0]


@pytest.mark.parametrize("path", ["/api/v1/%72esources/a/b/histor%79", "/api/v1/resources/%61/%62/history"])
async def test_a_path_may_be_escaped_where_it_need_not_be(door: Door, path: str) -> None:
    await append(door, event(resource_type="a", resource_id="b"))
    assert seqs_of(await ask(door, path)) == [0]


async def test_a_slash_in_an_id_may_stand_as_it_is(door: Door) -> None:
    await append(door, event(resource_type="file", resource_id="srv/data/x"))
    assert seqs_of(await ask(door, "/api/v1/resources/file/srv/data/x/history")) == [0]


async def test_what_belongs_to_one_request_or_session_is_listed(door: Door) -> None:
    await append(
        door,
        event(request_id="r/1", session_id="s-1", message="begun"),
        event(request_id="r/2", session_id="s-1"),
        event(request_id="r/1", session_id="s-2", severity="ERROR"),
        event(message="r/1"),
    )
    by_request = f"{CORRELATED}/{quote('r/1', safe='')}"
    assert seqs_of(await ask(door, by_request)) == [0, 2]
    assert seqs_of(await ask(door, f"{CORRELATED}/r/1")) == [0, 2]
    assert seqs_of(await ask(door, by_request, order="newest")) == [2, 0]
    assert seqs_of(await ask(door, f"{CORRELATED}/s-1", by="session_id")) == [0, 1]
    assert seqs_of(await ask(door, f"{CORRELATED}/s-1")) == []
    assert seqs_of(await ask(door, by_request, session_id="s-2")) == [2]
    assert seqs_of(await ask(door, by_request, min_severity="WARNING")) == [2]
    found = await ask(door, by_request, q="begun", highlight="true")
    assert found.json()["highlights"] == [[{"pointer": "/message", "ranges": [[0, 5]]}]]


@pytest.mark.parametrize(
    ("path", "params", "parameter"),
    [
        (f"{CORRELATED}/r-1", {"by": "user_id"}, "by"),
        (f"{CORRELATED}/r-1", {"request_id": "r-2"}, "request_id"),
        (f"{CORRELATED}/r-1", {"by": "session_id", "session_id": "r-2"}, "session_id"),
        (f"{CORRELATED}/r-1", {"order": "seq"}, "order"),
        (f"{CORRELATED}/r-1", {"after_seq": "3"}, "after_seq"),
        (history("invoice", "i-1"), {"resource_id": "i-2"}, "resource_id"),
        (history("invoice", "i-1"), {"resource_type": "bill"}, "resource_type"),
        (history("invoice", "i-1"), {"order": "seq"}, "order"),
        (history("invoice", "i-1"), {"limit": "0"}, "limit"),
        (history("invoice", "i-1"), {"q": "("}, "q"),
    ],
)
async def test_what_is_wrong_is_named(door: Door, path: str, params: dict[str, str], parameter: str) -> None:
    answer = await ask(door, path, **params)
    assert answer.status_code == 422, answer.text
    assert [flaw["parameter"] for flaw in answer.json()["errors"]] == [parameter]


@pytest.mark.parametrize("path", [f"{CORRELATED}/r-1", history("invoice", "i-1")])
async def test_nobody_sees_what_is_not_theirs(door: Door, path: str) -> None:
    await door.make_tenant("other")
    await append(
        door,
        invoice("i-1", request_id="r-1", user_id="ada@example.com"),
        invoice("i-1", request_id="r-1", user_id="eve@example.com"),
    )
    assert seqs_of(await ask(door, path)) == [0, 1]
    assert seqs_of(await ask(door, path, door.bearer("user", subject="ada@example.com"))) == [0]
    assert seqs_of(await ask(door, path, door.bearer("admin", "other"))) == []
    assert (await ask(door, path, door.bearer("admin", "other"), tenant_id="acme")).status_code == 403
