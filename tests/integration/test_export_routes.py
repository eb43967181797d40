"""Exports over HTTP: all that matches and nothing else, in order, up to an end that was settled when they began."""

import asyncio
import csv
import io
import json
from typing import Any

import httpx
import pytest

from appending import append
from doors import Door, open_door
from factories import event, scattered
from tallystick.errors import OverloadedError
from tallystick.export.columns import DEFAULT_COLUMNS
from tallystick.log.lines import Pace
from tallystick.settings import Settings
from working import hurried, working

EXPORT = "/api/v1/logs/export"
THROUGH = "tallystick-through-seq"


async def export(door: Door, token: dict[str, str] | None = None, /, **params: Any) -> httpx.Response:
    return await door.client.get(EXPORT, params=params, headers=token or door.bearer())


def lines_of(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.text == "" or answer.text.endswith("\n")
    return [json.loads(line) for line in answer.text.splitlines()]


def seqs_of(answer: httpx.Response) -> list[int]:
    return [line["seq"] for line in lines_of(answer)]


async def listed(door: Door, **params: Any) -> list[dict[str, Any]]:
    """What the only page of a listing holds."""
    answer = await door.client.get("/api/v1/logs", params={"limit": 1000, **params}, headers=door.bearer())
    assert answer.json()["next"] is None
    return answer.json()["items"]


@pytest.mark.parametrize(
    "selection", [{}, {"action": "a3"}, {"q": "odd"}, {"from": "2026-11-27T10:20:01Z", "to": "2026-11-27T10:40:00Z"}]
)
async def test_an_export_is_what_all_pages_of_a_listing_are(door: Door, selection: dict[str, str]) -> None:
    await append(door, *scattered(700))
    answer = await export(door, **selection)
    wanted = await listed(door, order="oldest", **selection)
    assert 0 < len(wanted) <= 700
    assert lines_of(answer) == wanted
    assert answer.headers[THROUGH] == "699"
    document = await export(door, format="json", **selection)
    assert document.headers["content-type"] == "application/json"
    assert document.json() == {"through_seq": 699, "items": lines_of(answer)}
    table = await export(door, format="csv", columns="seq,message,metadata.n", **selection)
    header, *rows = csv.reader(io.StringIO(table.text, newline=""))
    assert header == ["seq", "message", "metadata.n"]
    assert rows == [[str(each["seq"]), each["message"], str(each["metadata"]["n"])] for each in lines_of(answer)]


async def test_each_line_is_the_event_byte_for_byte(door: Door) -> None:
    await append(
        door, *scattered(3), event(message="ü" * 300, metadata={"big": 2**60, "float": 1.0, "text": "日本\u2028"})
    )
    for params in ({}, {"severity": "INFO"}):
        raw = (await export(door, **params)).content.split(b"\n")
        assert raw.pop() == b""
        for line in raw:
            one = await door.client.get(f"/api/v1/logs/{json.loads(line)['id']}", headers=door.bearer())
            assert one.content == line


async def test_an_empty_log_is_an_empty_export(door: Door) -> None:
    nothing = await export(door)
    assert (nothing.content, nothing.headers[THROUGH]) == (b"", "-1")
    assert (await export(door, format="json", q="x")).json() == {"through_seq": -1, "items": []}
    assert (await export(door, format="csv")).text == ",".join(DEFAULT_COLUMNS) + "\r\n"


@pytest.mark.parametrize("selection", [{}, {"action": "a1"}])
async def test_more_than_a_stretch_is_exported_whole(door: Door, selection: dict[str, str]) -> None:
    await append(door, *(event(action="a1", metadata={"n": n}) for n in range(Pace().first + 200)))
    answer = await export(door, **selection)
    assert seqs_of(answer) == list(range(Pace().first + 200))


@pytest.mark.parametrize("selection", [{}, {"min_severity": "INFO"}])
async def test_what_arrives_meanwhile_is_not_in_it(door: Door, selection: dict[str, str]) -> None:
    await append(door, *(event() for _ in range(5)))
    begun = await export(door, through_seq="3", **selection)
    assert (seqs_of(begun), begun.headers[THROUGH]) == ([0, 1, 2, 3], "3")
    await append(door, event(timestamp="2026-11-27T00:00:00Z"))
    late = await export(door, **selection)
    assert (seqs_of(late), late.headers[THROUGH]) == ([5, 0, 1, 2, 3, 4], "5")
    assert seqs_of(await export(door, through_seq="4", **selection)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("selection", [{}, {"q": "even OR odd"}])
async def test_an_export_is_gone_on_with_after_any_event(door: Door, selection: dict[str, str]) -> None:
    await append(door, *scattered(40))
    whole = await export(door, **selection)
    await append(door, *scattered(5))
    for line in (0, 17, 38):
        rest = await export(door, after_id=lines_of(whole)[line]["id"], through_seq=whole.headers[THROUGH], **selection)
        assert lines_of(rest) == lines_of(whole)[line + 1 :]
        table = await export(
            door,
            after_id=lines_of(whole)[line]["id"],
            through_seq=whole.headers[THROUGH],
            format="csv",
            columns="seq",
            **selection,
        )
        assert table.text.split() == [str(each["seq"]) for each in lines_of(rest)]
    end = await export(door, after_id=lines_of(whole)[39]["id"], through_seq=whole.headers[THROUGH], **selection)
    assert lines_of(end) == []


@pytest.mark.parametrize("selection", [{}, {"min_severity": "INFO"}])
async def test_going_on_keeps_the_time_range(door: Door, selection: dict[str, str]) -> None:
    hours = [f"2026-11-27T{hour:02}:00:00Z" for hour in range(6)]
    await append(door, *(event(timestamp=hour) for hour in hours))
    first = lines_of(await export(door))[0]["id"]
    rest = await export(door, after_id=first, through_seq="5", **{"from": hours[2], "to": hours[5]}, **selection)
    assert seqs_of(rest) == [2, 3, 4]


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
async def test_a_body_is_compressed_on_request(door: Door, coding: str) -> None:
    await append(door, *scattered(600))
    plain = await export(door, door.bearer() | {"accept-encoding": "identity"})
    packed = await export(door, door.bearer() | {"accept-encoding": coding})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == coding
    assert packed.headers["vary"] == "Accept-Encoding"
    assert packed.content == plain.content


async def test_nobody_exports_what_is_not_theirs(door: Door) -> None:
    await door.make_tenant("other")
    await append(door, *scattered(30))
    for params in ({}, {"severity": "INFO"}, {"format": "csv", "columns": "user_id"}):
        own = await export(door, door.bearer("user", subject="eve"), **params)
        assert own.status_code == 200
        assert own.text.count("eve") >= 15
        assert "nora" not in own.text
        other = await export(door, door.bearer("admin", "other"), **params)
        assert other.text.split() in ([], ["user_id"])
    assert (await export(door, door.bearer("admin", "other"), tenant_id="acme")).status_code == 403
    secret = lines_of(await export(door))[0]["id"]
    mine = await export(door, door.bearer("user", subject="eve"), after_id=secret, through_seq="3")
    assert mine.status_code == 422


@pytest.mark.parametrize(
    ("params", "parameter"),
    [
        ({"format": "xml"}, "format"),
        ({"columns": "id"}, "columns"),
        ({"format": "csv", "columns": "what"}, "columns"),
        ({"format": "csv", "columns": "id,,seq"}, "columns"),
        ({"format": "csv", "columns": "id,seq,id"}, "columns"),
        ({"format": "csv", "columns": "metadata" + ".a" * 65}, "columns"),
        ({"format": "csv", "columns": ",".join(["id"] * 101)}, "columns"),
        ({"through_seq": "7"}, "through_seq"),
        ({"through_seq": "x"}, "through_seq"),
        ({"after_id": "01a20e93-c97b-7000-8000-12d2d0a3f4b5"}, "through_seq"),
        ({"after_id": "01a20e93-c97b-7000-8000-12d2d0a3f4b5", "through_seq": "1"}, "after_id"),
        ({"after_id": "x", "through_seq": "1"}, "after_id"),
        ({"after_id": "x", "through_seq": "1", "format": "json"}, "after_id"),
        ({"limit": "10"}, "limit"),
        ({"cursor": "x"}, "cursor"),
        ({"order": "newest"}, "order"),
        ({"q": "("}, "q"),
    ],
)
async def test_what_is_wrong_is_named(door: Door, params: dict[str, str], parameter: str) -> None:
    await append(door, event(), event())
    answer = await export(door, **params)
    assert answer.status_code == 422, answer.text
    assert [flaw["parameter"] for flaw in answer.json()["errors"]] == [parameter]


async def test_only_so_many_exports_are_on_their_way(door: Door) -> None:
    exports = door.services.exports
    for _ in range(5):
        assert (await export(door)).status_code == 200  # each lets go of its place, refused ones too
        assert (await export(door, through_seq="99")).status_code == 422
    with exports.admitted("another"):
        assert (await export(door)).status_code == 200
        with exports.admitted("a third"):
            refused = await export(door)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
    assert (await export(door)).status_code == 200
    with exports.admitted("greedy"), pytest.raises(OverloadedError), exports.admitted("greedy"):
        pass


async def test_nothing_is_left_out_because_the_index_is_behind(settings: Settings) -> None:
    search = settings.search.model_copy(update={"tail_events": 100})
    async with open_door(settings.model_copy(update={"search": search})) as door:
        await door.make_tenant("acme")
        await append(door, *(event(message="lost") for _ in range(101)))
        refused = await export(door, q="lost")
        assert (refused.status_code, refused.json()["type"]) == (503, "/problems/search-down")
        assert refused.headers["retry-after"] == "30"
        assert len(lines_of(await export(door))) == 101  # what needs no index goes on
        async with working(hurried(settings)):
            async with asyncio.timeout(30):
                while (answer := await export(door, q="lost")).status_code != 200:  # noqa: ASYNC110  # another's work
                    await asyncio.sleep(0.05)
        assert len(lines_of(answer)) == 101


async def test_a_head_reads_no_events(door: Door) -> None:
    await append(door, *scattered(10))
    answer = await door.client.head(EXPORT, headers=door.bearer())
    assert (answer.status_code, answer.content, answer.headers[THROUGH]) == (200, b"", "9")


async def test_exports_beside_one_another_do_not_mix(door: Door) -> None:
    await append(door, *scattered(300))
    some, every = await asyncio.gather(export(door, action="a3"), export(door, door.bearer("auditor")))
    assert {line["action"] for line in lines_of(some)} == {"a3"}
    assert (len(lines_of(some)), len(lines_of(every))) == (60, 300)
