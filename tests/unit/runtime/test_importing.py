"""Importing files: read in any compression, sorted in blocks, resumed where they stopped."""

import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import zstandard

from tallystick.errors import ConfigurationError, UnavailableError
from tallystick.runtime.importing import (
    Importer,
    ImportFailedError,
    Line,
    Position,
    chunks,
    load_position,
    progress_file,
    read_lines,
    rejects_file,
    sort_block,
)


def event(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "timestamp": f"2020-01-{number % 28 + 1:02d}T00:00:00Z",
        "action": "doc.read",
        "resource_type": "doc",
        "resource_id": str(number),
        **changes,
    }


def ndjson(events: Sequence[dict[str, Any]]) -> bytes:
    return b"".join(orjson.dumps(one) + b"\n" for one in events)


class Server:
    """What the API promises an import: one answer per retry key, and flaws by index."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.answers: dict[str, httpx.Response] = {}
        self.requests: int = 0
        self.before_answer: Callable[[int], None] = lambda _: None

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        key = request.headers["idempotency-key"]
        if key not in self.answers:
            lines = zstandard.decompress(request.content).split(b"\n")
            events = [json.loads(line) for line in lines]
            bad = [index for index, one in enumerate(events) if "action" not in one]
            flaws = [{"index": index, "pointer": "/action", "detail": "is required"} for index in bad]
            if bad and request.url.params["on_error"] == "fail":
                problem = {"title": "The request is not valid", "detail": "some are bad", "errors": flaws}
                return httpx.Response(422, json=problem)
            self.events += [one for index, one in enumerate(events) if index not in bad]
            answer = {"stored": len(events) - len(bad), "known": 0, "ids": [], "rejected": flaws}
            self.answers[key] = httpx.Response(201, json=answer)
        self.before_answer(self.requests)
        return self.answers[key]

    def client(self) -> httpx.Client:
        return httpx.Client(base_url="http://server/api/v1", transport=httpx.MockTransport(self))


def run(server: Server, file: Path, **options: Any) -> Position:
    with server.client() as client:
        return Importer(client, **options).run(file, lambda _: None, lambda _: None)


def plain(data: bytes) -> bytes:
    return data


def two_members(data: bytes) -> bytes:
    return gzip.compress(data[:70]) + gzip.compress(data[70:])


def two_frames(data: bytes) -> bytes:
    return zstandard.compress(data[:70]) + zstandard.compress(data[70:])


@pytest.mark.parametrize("compress", [plain, gzip.compress, zstandard.compress, two_members, two_frames])
def test_files_are_read_in_any_compression(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    file = tmp_path / "history"
    data = b'{"a":1}\n\n  {"a":2}  \r\n' + b'{"a":"' + b"x" * 100 + b'"}'
    file.write_bytes(compress(data))
    read = 0

    def advance(count: int) -> None:
        nonlocal read
        read += count

    lines = list(read_lines(file, advance))

    assert lines == [Line(1, b'{"a":1}'), Line(3, b'{"a":2}'), Line(4, data.rpartition(b"\n")[2])]
    assert read == file.stat().st_size


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "history.gz"
    file.write_bytes(gzip.compress(b"x" * 1000)[:20])

    with pytest.raises(ConfigurationError, match=r"history\.gz"):
        list(read_lines(file))
    with pytest.raises(ConfigurationError, match="absent"):
        list(read_lines(tmp_path / "absent"))


def test_a_block_is_sorted_by_moment_and_keeps_what_has_none_in_place() -> None:
    raws = [
        b'{"timestamp":"2020-01-01T00:00:00+02:00"}',
        b"not json",
        b'{"timestamp":"2019-12-31T21:59:00Z"}',
        b'{"timestamp":7}',
    ]
    lines = [Line(number, raw) for number, raw in enumerate(raws, start=1)]

    assert [line.number for line in sort_block(lines)] == [3, 4, 1, 2]


def test_chunks_keep_order_and_bounds() -> None:
    lines = [Line(number, b"x" * (3_000_000 if number == 6_000 else 10)) for number in range(12_000)]

    cut = list(chunks(lines))

    assert [line for chunk in cut for line in chunk] == lines
    assert max(len(chunk) for chunk in cut) == 5_000
    assert list(chunks([Line(1, b"x" * 9_000_000), Line(2, b"x")])) == [[Line(1, b"x" * 9_000_000)], [Line(2, b"x")]]
    assert list(chunks([])) == []


def test_an_import_is_done_once(tmp_path: Path) -> None:
    server, file = Server(), tmp_path / "history.ndjson"
    file.write_bytes(ndjson([event(number) for number in range(12_000)]))

    done = run(server, file)
    again = run(server, file)

    assert done == again
    assert done.complete
    assert done.stored == 12_000
    assert server.requests == 3
    assert [one["timestamp"] for one in server.events] == sorted(one["timestamp"] for one in server.events)


@pytest.mark.parametrize("dies_at", [1, 2, 3])
def test_an_import_that_dies_after_the_server_stored_a_chunk_doubles_nothing(tmp_path: Path, dies_at: int) -> None:
    server, file = Server(), tmp_path / "history.ndjson"
    file.write_bytes(ndjson([event(number) for number in range(12_000)]))

    def die(request: int) -> None:
        if request == dies_at:
            raise KeyboardInterrupt

    server.before_answer = die
    with pytest.raises(KeyboardInterrupt):
        run(server, file)
    done = run(server, file)

    assert done.stored == 12_000
    assert sorted(int(one["resource_id"]) for one in server.events) == list(range(12_000))
    assert server.requests == 4


def test_blocks_that_are_done_are_not_sent_again(tmp_path: Path) -> None:
    server, file = Server(), tmp_path / "history.ndjson"
    file.write_bytes(ndjson([event(number) for number in range(100_010)]))
    whole = run(server, file)
    requests = server.requests
    position = load_position(file)
    progress_file(file).write_bytes(
        orjson.dumps({**orjson.loads(progress_file(file).read_bytes()), "complete": False, "block": 1, "chunk": 0})
    )

    run(server, file)

    assert position == whole
    assert (requests, server.requests) == (21, 22)
    assert len(server.events) == 100_010


def test_a_bad_line_stops_the_import_and_is_named(tmp_path: Path) -> None:
    server, file = Server(), tmp_path / "history.ndjson"
    events = [event(number) for number in range(10)]
    del events[6]["action"]
    file.write_bytes(ndjson(events))

    with pytest.raises(ImportFailedError, match="line 7: /action is required"):
        run(server, file)
    assert server.events == []
    assert not load_position(file).complete


def test_bad_lines_can_be_skipped_and_are_kept(tmp_path: Path) -> None:
    server, file = Server(), tmp_path / "history.ndjson"
    events = [event(number) for number in range(10)]
    del events[6]["action"]
    file.write_bytes(ndjson(events))

    done = run(server, file, skip=True)

    assert (done.stored, done.rejected, len(server.events)) == (9, 1, 9)
    (kept,) = [orjson.loads(line) for line in rejects_file(file).read_bytes().splitlines()]
    assert kept["line"] == 7
    assert kept["errors"] == [{"pointer": "/action", "detail": "is required"}]
    assert json.loads(kept["event"]) == events[6]


def test_a_changed_file_is_not_gone_on_with(tmp_path: Path) -> None:
    server, file = Server(), tmp_path / "history.ndjson"
    file.write_bytes(ndjson([event(1)]))
    run(server, file)
    file.write_bytes(ndjson([event(2), event(3)]))

    with pytest.raises(ConfigurationError, match="has changed"):
        run(server, file)
    progress_file(file).write_text("nonsense")
    with pytest.raises(ConfigurationError, match="mend it, or remove it"):
        load_position(file)


def test_events_that_name_no_tenant_get_the_one_asked_for(tmp_path: Path) -> None:
    server, file = Server(), tmp_path / "history.ndjson"
    events = [event(1), event(2, tenant_id="own"), event(3, metadata={"tenant_id": "not this one"})]
    file.write_bytes(ndjson(events))

    run(server, file, tenant_id="asked")

    assert [one["tenant_id"] for one in server.events] == ["asked", "own", "asked"]


def test_a_server_that_is_away_for_too_long_ends_the_import(tmp_path: Path) -> None:
    file = tmp_path / "history.ndjson"
    file.write_bytes(ndjson([event(1)]))

    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with (
        httpx.Client(base_url="http://server", transport=httpx.MockTransport(refuse)) as client,
        pytest.raises(UnavailableError, match="does not answer"),
    ):
        Importer(client, patience=0.1).run(file, lambda _: None, lambda _: None)
